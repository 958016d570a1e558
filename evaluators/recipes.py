"""Training recipes as values. Imports no torch, so that configs can be read without it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from search_space.errors import InvalidRequest


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, linear warm-up, then cosine decay to 0, step by step.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the highest, reached after the warm-up.
        momentum: of SGD.
        weight_decay: L2, on all parameters.
        warmup_epochs: epochs over which the learning rate rises linearly; may be a fraction.
        label_smoothing: mass spread over the wrong classes, 0 to below 1.
        gradient_clip: largest norm of the gradient, or null for no clipping.
        crop_padding: pixels of black border before a random crop back to size; 0 for none.
        flip: mirror each image left to right with probability 1/2.
        orthonormal_weight: alpha of BSConv-S's orthonormal loss, for architectures that have such bases.
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

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("crop_padding", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InvalidRequest(f"recipe.{name}: {value!r} must be a whole number of at least {least}")
        for name in ("learning_rate", "gradient_clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InvalidRequest(f"recipe.{name}: {value!r} must be a positive number")
        for name, limit in (("momentum", 1.0), ("label_smoothing", 1.0)):
            if not 0 <= getattr(self, name) < limit:
                raise InvalidRequest(f"recipe.{name}: {getattr(self, name)!r} must be at least 0 and below {limit:g}")
        for name in ("weight_decay", "warmup_epochs", "orthonormal_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidRequest(f"recipe.{name}: {getattr(self, name)!r} must not be negative")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise InvalidRequest(
                f"recipe.warmup_epochs: {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs; take fewer"
            )

    def as_dict(self) -> dict[str, int | float | bool | None]:
        """Field by field, for provenance."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
