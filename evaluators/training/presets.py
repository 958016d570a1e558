"""The papers' training recipes by name, and our own. Imports no torch.

What a paper does not state is said beside the value.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from evaluators.training.recipes import Recipe
from search_space.base.checks import unknown


@dataclass(frozen=True)
class Preset:
    """A recipe, and the paper and section it comes from, or what it is for."""

    source: str
    recipe: Recipe

    @property
    def summary(self) -> str:
        """One line: length, optimizer, learning rate and its schedule, and the source."""
        own = self.recipe
        schedule: str = own.schedule
        if schedule == "step":
            at = ", ".join(f"{epoch:g}" for epoch in own.milestone_epochs)
            schedule += f" (x {own.decay_factor:g} at epochs {at})"
        elif schedule == "exponential":
            schedule += f" (x {own.decay_factor:g} every {own.decay_epochs:g} epochs)"
        warmup = f", warm-up {own.warmup_epochs:g}" if own.warmup_epochs else ""
        return (
            f"{own.epochs} epochs, batch {own.batch_size}, {own.optimizer}, learning rate {own.learning_rate:g},"
            f" {schedule}{warmup} [{self.source}]"
        )


# XSepConv section 4.1; it says "momentum", not Nesterov. Nothing there exempts a parameter from weight decay.
_XSEPCONV = Recipe(
    epochs=400,
    batch_size=128,
    learning_rate=0.35,
    nesterov=False,
    weight_decay=6e-5,
    schedule="cosine",
    warmup_epochs=5,
    orthonormal_weight=0.01,  # of BSConv, which XSepConv does not train; acts only on networks with its bases
)

# BSConv section 5.1. Batch size and momentum's form are not stated: 128 and plain, as in Wide ResNets, whose protocol
# it follows. Milestones are epochs 100, 150 and 180 of 200, here as shares, so that a shorter training keeps them.
_BSCONV_CIFAR = Recipe(
    epochs=200,
    batch_size=128,
    learning_rate=0.1,
    nesterov=False,
    weight_decay=1e-4,
    schedule="step",
    milestones=[0.5, 0.75, 0.9],
    decay_factor=0.1,
    warmup_epochs=0,
    crop_padding=4,
    flip=True,
    orthonormal_weight=0.01,
)

# Convolution with even-sized kernels, section 4.5: no weight decay on depthwise weights, mixup with alpha 1,
# Lee et al.'s crops of images padded by 4 and flips. Momentum is not stated: 0.9; nor is a warm-up: none.
_EVEN_KERNEL = Recipe(
    epochs=300,
    batch_size=64,
    learning_rate=0.1,
    nesterov=False,
    weight_decay=1e-4,
    decay_depthwise=False,
    schedule="cosine",
    warmup_epochs=0,
    crop_padding=4,
    flip=True,
    mixup=1.0,
)

#: Every preset: to add one, add it here.
PRESETS: dict[str, Preset] = {
    "xsepconv-cifar": Preset("XSepConv section 4.1", replace(_XSEPCONV, crop_padding=4, flip=True)),
    # train and extra images together, no augmentation
    "xsepconv-svhn": Preset("XSepConv section 4.1", replace(_XSEPCONV, epochs=20)),
    # crops of 56 x 56 from 64 x 64 images
    "xsepconv-tiny-imagenet": Preset(
        "XSepConv section 4.1",
        replace(
            _XSEPCONV, epochs=200, learning_rate=0.15, resized_crop_area=[0.08, 1.0], aspect=[3 / 4, 4 / 3], flip=True
        ),
    ),
    "bsconv-cifar": Preset("BSConv section 5.1", _BSCONV_CIFAR),
    # section 5.2: milestones 30, 60 and 90 of 100 epochs, alpha 0.1, Inception's crops, flips, colour jitter. Not
    # stated: batch size (256, the usual one with this rate) and the strength of the jitter (0.4, the usual one).
    "bsconv-imagenet": Preset(
        "BSConv section 5.2",
        replace(
            _BSCONV_CIFAR,
            epochs=100,
            batch_size=256,
            milestones=[0.3, 0.6, 0.9],
            crop_padding=0,
            resized_crop_area=[0.08, 1.0],
            color_jitter=0.4,
            orthonormal_weight=0.1,
        ),
    ),
    "even-kernel-cifar": Preset("Convolution with even-sized kernels section 4.5", _EVEN_KERNEL),
    # Xception sections 4.2 and 4.3. Not stated: epochs (100), batch size (256), the decay of the averaging (0.9999),
    # and the augmentation (Inception's crops and flips, from where its configuration comes).
    "xception-imagenet": Preset(
        "Xception sections 4.2 and 4.3",
        Recipe(
            epochs=100,
            batch_size=256,
            learning_rate=0.045,
            nesterov=False,
            weight_decay=1e-5,
            schedule="exponential",
            decay_factor=0.94,
            decay_epochs=2,
            warmup_epochs=0,
            dropout=0.5,
            ema_decay=0.9999,
            resized_crop_area=[0.08, 1.0],
            flip=True,
        ),
    ),
    # section 5.3, images of dogs, cars and flowers: crops and flips, alpha 0.1 (fig. 7). Not stated: batch size (128)
    # and the size of the crops (half of the image at least); its random gamma is a jitter of the brightness here.
    "bsconv-fine-grained": Preset(
        "BSConv section 5.3",
        replace(
            _BSCONV_CIFAR,
            epochs=100,
            schedule="linear",
            milestones=[],
            crop_padding=0,
            resized_crop_area=[0.5, 1.0],
            color_jitter=[0.4, 0.0, 0.0],
            orthonormal_weight=0.1,
        ),
    ),
    # the trainings of table 2, by cutout too; its size is not stated: 16, as in DeVries & Taylor on CIFAR-10
    "even-kernel-cifar-long": Preset(
        "Convolution with even-sized kernels section 4.5, table 2", replace(_EVEN_KERNEL, epochs=600, cutout=16)
    ),
    # "the piecewise constant decay performs better" for DenseNets; where it falls is not stated: at Huang et al.'s
    # half and three quarters
    "even-kernel-densenet": Preset(
        "Convolution with even-sized kernels section 4.5",
        replace(_EVEN_KERNEL, schedule="step", milestones=[0.5, 0.75], mixup=0.0),
    ),
    # of ResNet-50 and DenseNet-121; compact networks decay by 4e-5. Inception's crops and flips
    "even-kernel-imagenet": Preset(
        "Convolution with even-sized kernels section 4.5",
        replace(_EVEN_KERNEL, epochs=100, batch_size=256, crop_padding=0, resized_crop_area=[0.08, 1.0], mixup=0.0),
    ),
    # section 4 states 190 epochs; all else is that of the Wide ResNets of the time
    "hybrid-cifar": Preset(
        "Hybrid hypothesis section 4",
        replace(_BSCONV_CIFAR, epochs=190, weight_decay=5e-4, milestones=[0.3, 0.6, 0.8], decay_factor=0.2),
    ),
    "quick": Preset(
        "our own: short, for a first look",
        Recipe(
            epochs=15,
            batch_size=128,
            learning_rate=0.2,
            warmup_epochs=2,
            weight_decay=5e-4,
            decay_norm_and_bias=False,
            label_smoothing=0.1,
            crop_padding=4,
            flip=True,
        ),
    ),
    # small batches, since there a larger one is no faster
    "cpu": Preset(
        "our own: small images on a few cores",
        Recipe(epochs=60, batch_size=64, learning_rate=0.1, warmup_epochs=1, crop_padding=4, flip=True),
    ),
}

#: The recipes alone.
RECIPES: dict[str, Recipe] = {name: preset.recipe for name, preset in PRESETS.items()}


def recipe(name: str, **overrides: Any) -> Recipe:
    """The preset ``name`` with some fields replaced; InvalidRequest for an unknown name, field or value."""
    if name not in PRESETS:
        raise unknown("recipe.preset", name, PRESETS, "sepnas list recipes")
    known = [own.name for own in fields(Recipe)]
    for key in overrides:
        if key not in known:
            raise unknown("recipe", key, known)
    return replace(PRESETS[name].recipe, **overrides)
