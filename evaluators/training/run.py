"""The options of one training beside its recipe, and how it fails. Imports no torch, as configs are read without it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from search_space.base.checks import SEED_LIMIT, check_options, option, require

#: What trains; auto takes the GPU where there is one.
Accelerator = Literal["auto", "cpu", "cuda"]


class TrainingDiverged(RuntimeError):
    """The loss or a weight is no longer finite."""


@dataclass(frozen=True)
class TrainingOptions:
    """How final trainings go, whatever their seed.

    Attributes:
        train_on: train+validation, or train alone. Nothing is chosen by validation any more at this point; train also
            keeps the weights of the epoch with the best validation accuracy, beside the last ones.
        devices: processes that share each batch of a training; GPUs, or CPU processes without one.
        num_nodes: machines, on each of which torchrun or SLURM has started the processes.
    """

    train_on: Literal["train", "train+validation"] = "train+validation"
    devices: int = option(1, least=1)
    num_nodes: int = option(1, least=1)

    def run(self, **others: Any) -> TrainingRun:
        """One training with these options; ``others`` are further fields of `TrainingRun`."""
        return TrainingRun(**{own.name: getattr(self, own.name) for own in fields(TrainingOptions)}, **others)


@dataclass(frozen=True)
class TrainingRun(TrainingOptions):
    """One training of one network.

    Attributes:
        seed: of initialisation, order of images, augmentation and dropout: the same seed on the same machine gives the
            same weights.
        measure_on: the split that the trained network is measured on. Validation, for scoring candidates in a search,
            leaves the test images alone and needs ``train_on="train"``.
        accelerator: what trains.
        folder: where a killed training leaves what it resumes from; None for nowhere.
        title: of the progress bar and of error messages.
        keep_best: measure every epoch on the validation images and keep the best one's weights in ``folder``.
        cycles: rising numbers of epochs; at each of them the recipe's schedule has ended and starts again, so that the
            weights are worth measuring there; the last is the recipe's. Empty for one pass through the schedule.
        start: weights (safetensors) to start from instead of fresh ones; only the classifier's may be missing in it.
        until: one of ``cycles`` at which the training stops; the same run with a later one goes on from ``folder``.
            None for the whole training.
    """

    seed: int = option(0, least=0, most=SEED_LIMIT - 1)
    measure_on: Literal["test", "validation"] = "test"
    accelerator: Accelerator = "auto"
    folder: Path | None = None
    title: str = "retrain"
    keep_best: bool = False
    cycles: tuple[int, ...] = option((), least=1)
    until: int | None = option(None, least=1)
    start: Path | None = None

    def __post_init__(self) -> None:
        check_options(self)
        alone, remedy = self.train_on == "train", "train on 'train'"
        fits = alone or self.measure_on != "validation"
        require(fits, "train_on", self.train_on, "cannot be measured on validation images", remedy)
        if self.keep_best:
            why = f"chooses the best epoch by validation images, which train_on {self.train_on} trains on"
            require(alone, "keep_best", True, why, remedy)
            require(self.folder is not None, "keep_best", True, "needs a folder for the weights", "give one")
