"""A Lightning trainer as sepnas uses it: quiet, resumable, one progress bar, metrics as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from tqdm.auto import tqdm

from search_space.atomic import replacing
from search_space.errors import InvalidRequest

Accelerator = Literal["auto", "cpu", "cuda"]
CHECKPOINT_FILE = "last.ckpt"


class TrainingDiverged(RuntimeError):
    """The loss is no longer finite."""


class EpochProgress(pl.Callback):
    """One bar over all steps of a fit, with the last figures behind it; and the end of a diverging run."""

    def __init__(self, title: str, on_epoch: Callable[[dict[str, float]], None] | None = None) -> None:
        self.title = title
        self.on_epoch = on_epoch
        self._bar: Any = None
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = int(trainer.num_training_batches)
        self._bar = tqdm(
            total=steps * int(trainer.max_epochs or 0),
            initial=steps * trainer.current_epoch,
            desc=self.title,
            unit="step",
            leave=False,
            # nothing is drawn for what is over in a moment
            delay=1.0,
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self._bar.update(1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        loss = figures.get("train_loss")
        if loss is not None and not abs(loss) < float("inf"):
            raise TrainingDiverged(
                f"{self.title}: the loss is {loss} after epoch {trainer.current_epoch + 1}; lower the learning rate"
            )
        shown = {name: f"{value:.3f}" for name, value in figures.items() if "accuracy" in name}
        # a refresh would draw the bar within its delay, and closing it would not clear it then
        self._bar.set_postfix(shown, refresh=False)
        if self.on_epoch is not None:
            seconds = time.perf_counter() - self._start
            self.on_epoch({"epoch": trainer.current_epoch, "seconds": round(seconds, 3), **figures})

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # Lightning tears nothing down then, and the message that follows must stand on a line of its own
        self.teardown(trainer, pl_module, "fit")


class ResumePoint(pl.callbacks.Checkpoint):
    """The state after each epoch in ``folder/last.ckpt``, whole or not at all, so that a killed run resumes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CHECKPOINT_FILE

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with replacing(self.path) as temporary:
            trainer.save_checkpoint(temporary)


def make_trainer(
    epochs: int,
    *,
    title: str,
    accelerator: Accelerator = "auto",
    folder: Path | None = None,
    gradient_clip: float | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    extra_callbacks: Sequence[pl.Callback] = (),
    trainer_class: Callable[..., pl.Trainer] = pl.Trainer,
) -> pl.Trainer:
    """A trainer for ``epochs`` epochs on one device; with ``folder`` it leaves a resume point there.

    ``on_epoch`` gets the figures of each epoch. ``trainer_class`` is NNI's traced one for one-shot strategies.
    InvalidRequest if the accelerator is not there.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    callbacks: list[pl.Callback] = [EpochProgress(title, on_epoch), *extra_callbacks]
    if folder is not None:
        callbacks.append(ResumePoint(folder))
    return trainer_class(
        max_epochs=epochs,
        accelerator=pick_accelerator(accelerator),
        devices=1,
        logger=False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # a supernet's random paths have no statistics of their own: their validation would cost time and say nothing
        limit_val_batches=0,
        gradient_clip_val=gradient_clip,
        callbacks=callbacks,
    )


def pick_accelerator(name: str) -> str:
    """ "cpu" or "cuda" for ``name``; "auto" takes the GPU where there is one. InvalidRequest if it is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise InvalidRequest(f"accelerator: {name!r} is unknown; known are auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InvalidRequest("accelerator: cuda, but torch sees no GPU here; take auto or cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def resume_point(folder: Path) -> Path | None:
    """The resume point in ``folder``, if a run left one."""
    path = folder / CHECKPOINT_FILE
    return path if path.is_file() else None
