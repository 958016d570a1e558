"""Whether every form of a network computes what the network computes, on the same images."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.augment.augmentation import normalise
from evaluators.augment.crops import centre
from evaluators.data.images import ImageData, Images
from experiments.bundle.source import features
from experiments.bundle.subject import Subject
from search_space.base.checks import shown
from search_space.base.errors import InvalidRequest
from search_space.network import Network

#: largest difference in fp32 that counts as rounding; in units of the largest output where that is above 1
TOLERANCE = 1e-4
#: images that the forms are compared on
IMAGES = 64


@dataclass(frozen=True)
class Sample:
    """Images as the network sees them, float32 (n, channels, size, size), and what they are."""

    images: Tensor
    said: str


def find_sample(subject: Subject, data: ImageData | None) -> Sample:
    """Validation images of the training, or random ones where they are not at hand."""
    if data is not None:
        images = seen(subject, data.validation, spread(len(data.validation), IMAGES))
        return Sample(images, f"{len(images)} validation images")
    size, channels = subject.architecture.image_size, subject.architecture.in_channels
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, channels, size, size, generator=generator)
    return Sample(images, f"{IMAGES} random inputs (normal, seed 0), as no images were at hand")


def load_images(subject: Subject) -> tuple[ImageData | None, str]:
    """The images that the network was trained on; None where they are not at hand, and why."""
    task = subject.task
    if task is None:
        return None, "what the network was trained on is not known"
    try:
        known = subject.preprocessing
        if task.classes != known.classes or task.channels != known.channels:
            return None, f"data: {shown(task.options.name)} has other images than the training had"
        return task.data, ""
    except InvalidRequest as error:
        return None, str(error)


def spread(n: int, wanted: int) -> Tensor:
    """Up to ``wanted`` positions spread evenly over ``n``."""
    return torch.linspace(0, n - 1, min(n, wanted)).long()


def seen(subject: Subject, images: Images, positions: Tensor) -> Tensor:
    """What the network sees of the images at ``positions``: float32 (n, channels, size, size)."""
    size = subject.architecture.image_size
    mean, std = subject.preprocessing.normalisation
    return normalise(centre(images.gather(positions), (size, size)), torch.tensor(mean), torch.tensor(std))


@dataclass(frozen=True)
class Agreement:
    """How far the outputs of a form are from the network's at most."""

    form: str
    difference: float


class Checker:
    """Compares forms with ``network`` on ``sample``, as a batch and one by one."""

    def __init__(self, network: nn.Module, sample: Sample) -> None:
        self.sample = sample
        with torch.inference_mode():
            self.expected = network(sample.images)
            # what is made of other networks has no source, and so none of maps
            self._maps = _maps(network, sample.images) if isinstance(network, Network) else []
        if not bool(self.expected.isfinite().all()):
            raise InvalidRequest("weights: the network's outputs are not finite numbers; train it again")

    def compare(self, form: str, run: Callable[[Tensor], Tensor]) -> Agreement:
        """RuntimeError if the outputs of ``run`` differ by more than `TOLERANCE`."""
        with torch.inference_mode():
            together, alone = run(self.sample.images), run(self.sample.images[:1])
        return self._agreement(form, [(self.expected, together), (self.expected[:1], alone)])

    def compare_source(self, path: Path, weights: Path) -> list[Agreement]:
        """Those of the network in ``path``, written just now: as it is, with batch norms folded, and of its maps."""
        load: Callable[..., nn.Module] = runpy.run_path(str(path))["load"]
        with torch.inference_mode():
            maps: Any = load(weights, features_only=True)(self.sample.images)
        return [
            self.compare(path.name, load(weights)),
            self.compare(f"{path.name}, batch norms folded", load(weights, fold=True)),
            self._agreement(f"{path.name}, feature maps", list(zip(self._maps, maps, strict=True))),
        ]

    def _agreement(self, form: str, pairs: list[tuple[Tensor, Tensor]]) -> Agreement:
        difference = max(float((expected - got).abs().max()) for expected, got in pairs)
        largest = max(float(expected.abs().max()) for expected, _ in pairs)
        # outputs close to 0, as those of an untrained network, must say something too
        limit = min(TOLERANCE * max(1.0, largest), 0.01 * largest)
        if not difference <= limit:
            raise RuntimeError(
                f"{form} differs from the trained network by up to {difference:.3g} (at most {limit:.3g} is rounding)"
                f" on {self.sample.said}; nothing was written; please report this with the architecture"
            )
        return Agreement(form, difference)


def _maps(network: Network, images: Tensor) -> list[Tensor]:
    x = network.stem(images)
    made = {-1: x}
    for index, block in enumerate(network.blocks):
        x = made[index] = block(x)
    return [made[one.block] for one in features(network.architecture)]
