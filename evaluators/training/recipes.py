"""Training recipes as values. Imports no torch, so that configs can be read without it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from evaluators.augment.options import AugmentationOptions
from search_space.base.checks import check_options, option, require

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Recipe(AugmentationOptions):
    """How a network is trained. `evaluators.training.presets.RECIPES` holds those of the papers by name.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step, over all devices together.
        learning_rate: the highest, reached after the warm-up.
        momentum: of sgd and rmsprop; of adamw the decay of the gradient's average (beta 1).
        weight_decay: L2 (decoupled from the gradient with adamw); see decay_norm_and_bias and decay_depthwise.
        warmup_epochs: epochs over which the learning rate rises linearly; may be a fraction.
        label_smoothing: mass spread over all classes, 0 to below 1.
        gradient_clip: largest norm of the gradient, or null for no clipping.
        orthonormal_weight: alpha of BSConv-S's orthonormal loss, for architectures that have such bases.
        optimizer: sgd, rmsprop or adamw.
        nesterov: Nesterov's form of sgd's momentum.
        square_decay: decay of the squared gradient's average, of rmsprop (alpha) and adamw (beta 2); null for the usual
            0.99 and 0.999.
        epsilon: added to the root of that average.
        schedule: how the learning rate falls after the warm-up. cosine and linear reach 0 at the end, step by step;
            step and exponential multiply it by decay_factor, at milestones or every decay_epochs epochs.
        milestones: of the step schedule, as shares of the epochs (all below 1) or as epochs (all from 1).
        decay_factor: of the step and exponential schedules.
        decay_epochs: epochs between two decays of the exponential schedule.
        decay_norm_and_bias: weight decay on the parameters of normalisations and on biases too.
        decay_depthwise: weight decay on the weights of depthwise convolutions too.
        dropout: probability that an input of the classifier is dropped in training.
        ema_decay: decay of a running average of weights and batch-norm statistics, which is what is measured and kept;
            null for none. The first steps decay faster, by (1 + t) / (10 + t), so that short trainings forget the
            initial weights.
        precision: of the arithmetic in training and measuring: fp32, bf16 or fp16 (mixed; weights stay fp32). fp16
            needs a GPU.
        compile: compile the network with torch.compile for training.
        channels_last: keep images and weights in the layout with channels last, the faster one on most machines.
    """

    epochs: int = option(30, least=1)
    batch_size: int = option(64, least=2)
    learning_rate: float = option(0.1, above=0)
    momentum: float = option(0.9, least=0, below=1)
    weight_decay: float = option(1e-4, least=0)
    warmup_epochs: float = option(1.0, least=0)
    label_smoothing: float = option(0.0, least=0, below=1)
    gradient_clip: float | None = option(None, above=0)
    orthonormal_weight: float = option(0.01, least=0)
    optimizer: Literal["sgd", "rmsprop", "adamw"] = "sgd"
    nesterov: bool = True
    square_decay: float | None = option(None, least=0, below=1)
    epsilon: float = option(1e-8, above=0)
    schedule: Literal["cosine", "linear", "step", "exponential"] = "cosine"
    milestones: list[float] = option(factory=list, above=0)
    decay_factor: float = option(0.1, above=0)
    decay_epochs: float = option(1.0, above=0)
    decay_norm_and_bias: bool = True
    decay_depthwise: bool = True
    dropout: float = option(0.0, least=0, below=1)
    ema_decay: float | None = option(None, above=0, below=1)
    precision: Precision = "fp32"
    compile: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        check_options(self, "recipe")
        self.check_augmentation("recipe")
        warmup, where = self.warmup_epochs, "recipe.warmup_epochs"
        why = f"leaves nothing of {self.epochs} epochs"
        require(warmup == 0 or warmup < self.epochs, where, warmup, why, "give fewer")
        given, where = list(self.milestones), "recipe.milestones"
        require(all(a < b for a, b in pairwise(given)), where, given, "must rise")
        one_kind = len({value < 1 for value in given}) <= 1
        require(one_kind, where, given, "mixes shares (below 1) and epochs (from 1)", "give one kind")
        if self.schedule == "step":
            require(bool(given), where, given, "names no step", "give some, such as [0.5, 0.75], or another schedule")
            why = f"never come in {self.epochs} epochs"
            early = all(value < self.epochs for value in given)
            require(early, where, given, why, "give earlier ones, or shares as [0.5, 0.75]")

    @property
    def milestone_epochs(self) -> list[float]:
        """The milestones in epochs, however they were given."""
        return [value * self.epochs if value < 1 else float(value) for value in self.milestones]
