"""Training recipes as values. Imports no torch, so that configs can be read without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal

from search_space.base.errors import InvalidRequest

_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "rmsprop", "adamw"),
    "schedule": ("cosine", "linear", "step", "exponential"),
    "precision": ("fp32", "bf16", "fp16"),
}

Precision = Literal["fp32", "bf16", "fp16"]

#: numbers that may be null
_OPTIONAL = ("gradient_clip", "square_decay", "ema_decay")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `evaluators.training.presets.RECIPES` holds those of the papers by name.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step, over all devices together.
        learning_rate: the highest, reached after the warm-up.
        momentum: of sgd and rmsprop; of adamw the decay of the gradient's average (beta 1).
        weight_decay: L2 (decoupled from the gradient with adamw); see decay_norm_and_bias and decay_depthwise.
        warmup_epochs: epochs over which the learning rate rises linearly; may be a fraction.
        label_smoothing: mass spread over all classes, 0 to below 1.
        gradient_clip: largest norm of the gradient, or null for no clipping.
        crop_padding: pixels of black border before a random crop back to size; 0 for none.
        flip: mirror each image left to right with probability 1/2.
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
        resized_crop_area: [least, most] share of the image that a random crop covers before it is resized to the
            input size; null for no such crop.
        aspect: [least, most] ratio of width to height of that crop.
        color_jitter: largest relative change of brightness, contrast and saturation; 0 for none.
        cutout: side in pixels of a square that is blanked in each image; 0 for none.
        mixup: alpha of the Beta distribution by which pairs of images and labels are mixed; 0 for none.
        precision: of the arithmetic in training and measuring: fp32, bf16 or fp16 (mixed; weights stay fp32). fp16
            needs a GPU.
        compile: compile the network with torch.compile for training.
        channels_last: keep images and weights in the layout with channels last, the faster one on most machines.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    gradient_clip: float | None = None
    crop_padding: int = 0
    flip: bool = False
    orthonormal_weight: float = 0.01
    optimizer: Literal["sgd", "rmsprop", "adamw"] = "sgd"
    nesterov: bool = True
    square_decay: float | None = None
    epsilon: float = 1e-8
    schedule: Literal["cosine", "linear", "step", "exponential"] = "cosine"
    milestones: list[float] = field(default_factory=list)
    decay_factor: float = 0.1
    decay_epochs: float = 1.0
    decay_norm_and_bias: bool = True
    decay_depthwise: bool = True
    dropout: float = 0.0
    ema_decay: float | None = None
    resized_crop_area: list[float] | None = None
    aspect: list[float] = field(default_factory=lambda: [3 / 4, 4 / 3])
    color_jitter: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    precision: Precision = "fp32"
    compile: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            _require(getattr(self, name) in choices, name, getattr(self, name), f"must be one of {', '.join(choices)}")
        for name, least in (("epochs", 1), ("batch_size", 2), ("crop_padding", 0), ("cutout", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            _require(whole, name, value, f"must be a whole number of at least {least}")
        for name in ("learning_rate", "gradient_clip", "epsilon", "decay_factor", "decay_epochs"):
            value = self._number(name)
            _require(value is None or 0 < value < math.inf, name, value, "must be a positive number")
        for name in ("momentum", "label_smoothing", "dropout", "square_decay"):
            value = self._number(name)
            _require(value is None or 0 <= value < 1, name, value, "must be at least 0 and below 1")
        for name in ("weight_decay", "warmup_epochs", "orthonormal_weight", "color_jitter", "mixup"):
            value = self._number(name)
            _require(value is not None and 0 <= value < math.inf, name, value, "must not be negative")
        for name in (
            "flip",
            "nesterov",
            "decay_norm_and_bias",
            "decay_depthwise",
            "compile",
            "channels_last",
        ):
            _require(isinstance(getattr(self, name), bool), name, getattr(self, name), "must be true or false")
        average = self._number("ema_decay")
        _require(average is None or 0 < average < 1, "ema_decay", average, "must be between 0 and 1")
        _require(
            self.warmup_epochs == 0 or self.warmup_epochs < self.epochs,
            "warmup_epochs",
            self.warmup_epochs,
            f"leaves nothing of {self.epochs} epochs; take fewer",
        )
        self._check_milestones()
        if self.resized_crop_area is not None:
            area = self.resized_crop_area
            _require(
                _is_range(area) and area[1] <= 1,
                "resized_crop_area",
                area,
                "must be [least, most], 0 < least <= most <= 1",
            )
            _require(
                self.crop_padding == 0, "crop_padding", self.crop_padding, "beside resized_crop_area; set one to 0"
            )
        _require(_is_range(self.aspect), "aspect", self.aspect, "must be [least, most], 0 < least <= most")

    def _number(self, name: str) -> float | None:
        """The field ``name``, a number, or null where that means none; InvalidRequest if it is neither."""
        value = getattr(self, name)
        if value is None and name in _OPTIONAL:
            return None
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), name, value, "is not a number")
        return float(value)

    def _check_milestones(self) -> None:
        given = list(self.milestones)
        if self.schedule == "step":
            _require(bool(given), "milestones", given, "names no step; give some, as [0.5, 0.75], or another schedule")
        rising = all(a < b for a, b in pairwise(given))
        _require(rising and all(0 < value < math.inf for value in given), "milestones", given, "must rise from above 0")
        _require(
            all(value < 1 for value in given) or all(value >= 1 for value in given),
            "milestones",
            given,
            "mixes shares (below 1) and epochs (from 1); give one kind",
        )
        if self.schedule == "step":
            _require(
                all(value < self.epochs for value in given),
                "milestones",
                given,
                f"never come in {self.epochs} epochs; give earlier ones, or shares as [0.5, 0.75]",
            )

    @property
    def milestone_epochs(self) -> list[float]:
        """The milestones in epochs, however they were given."""
        return [value * self.epochs if value < 1 else float(value) for value in self.milestones]

    def as_dict(self) -> dict[str, Any]:
        """Field by field, for provenance."""
        return {own.name: getattr(self, own.name) for own in fields(self)}


def _is_range(values: Sequence[float]) -> bool:
    return len(values) == 2 and 0 < values[0] <= values[1] < math.inf


def _require(condition: bool, name: str, value: object, reason: str) -> None:
    if not condition:
        raise InvalidRequest(f"recipe.{name}: {value!r} {reason}")
