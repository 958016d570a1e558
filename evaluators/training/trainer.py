"""A Lightning trainer as sepnas uses it: quiet, resumable, one progress bar, metrics as they come."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from evaluators.base.progress import progress_bar
from evaluators.training.devices import check_precision, pick_accelerator
from evaluators.training.divergence import DivergenceGuard
from evaluators.training.run import Accelerator
from search_space.base.atomic import replacing

CHECKPOINT_FILE = "last.ckpt"
_PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class EpochProgress(pl.Callback):
    """One bar over all steps of a fit, with the last figures behind it."""

    def __init__(self, title: str, on_epoch: Callable[[dict[str, float]], None] | None = None) -> None:
        self.title = title
        self.on_epoch = on_epoch
        self._bar: Any = None
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = int(trainer.num_training_batches)
        self._bar = progress_bar(
            steps * int(trainer.max_epochs or 0),
            self.title,
            "step",
            initial=steps * trainer.current_epoch,
            shown=trainer.is_global_zero,
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self._bar.update(1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = {name: f"{value:.3f}" for name, value in figures.items() if "accuracy" in name}
        # a refresh would draw the bar within its delay, and closing it would not clear it then
        self._bar.set_postfix(shown, refresh=False)
        if self.on_epoch is not None and trainer.is_global_zero:
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
        if not trainer.is_global_zero:
            trainer.save_checkpoint(self.path)  # writes nothing, but all processes must take part
            return
        with replacing(self.path) as temporary:
            trainer.save_checkpoint(temporary)


class SeededEpochs(pl.Callback):
    """Seeds torch's global generators at the start of each epoch, so that dropout is the same in a resumed run.

    Processes that train together draw differently.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # seeds have 32 bits: neither epochs nor processes of one seed meet those of another
        torch.manual_seed((self.seed << 31) + (trainer.current_epoch << 12) + trainer.global_rank)


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
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    validates: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
) -> pl.Trainer:
    """A trainer for ``epochs`` epochs; with ``folder`` it leaves a resume point there.

    ``on_epoch`` gets the figures of each epoch, those of validation too if it ``validates``. ``trainer_class`` is NNI's
    traced one for one-shot strategies. With several ``devices`` or nodes it is one of as many processes that train
    together (see `evaluators.training.processes`). InvalidRequest if the accelerator is not there or cannot do the
    precision.
    """
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    picked = pick_accelerator(accelerator)
    check_precision(precision, picked)
    callbacks: list[pl.Callback] = [DivergenceGuard(title), EpochProgress(title, on_epoch), *extra_callbacks]
    if folder is not None:
        callbacks.append(ResumePoint(folder))
    together: dict[str, Any] = {"devices": 1}
    if devices * num_nodes > 1:
        together = {
            "devices": devices,
            "num_nodes": num_nodes,
            "strategy": "ddp",
            # each process takes its share of the same batches by itself
            "use_distributed_sampler": False,
            # torch has it on GPUs only
            "sync_batchnorm": picked == "cuda",
        }
    return trainer_class(
        max_epochs=epochs,
        accelerator=picked,
        precision=_PRECISIONS[precision],
        logger=False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        # a supernet's random paths have no statistics of their own: their validation would cost time and say nothing
        limit_val_batches=1.0 if validates else 0,
        gradient_clip_val=gradient_clip,
        callbacks=callbacks,
        **together,
    )


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    training: DataLoader[Any],
    validation: DataLoader[Any] | None = None,
    *,
    checkpoint: Path | None = None,
) -> None:
    """Train ``module`` on the batches of ``training``, from ``checkpoint`` on if there is one."""
    with warnings.catch_warnings():
        # the module can validate, but often nothing is chosen by validation
        warnings.filterwarnings("ignore", message="You defined a `validation_step` but have no `val_dataloader`")
        trainer.fit(module, training, validation, ckpt_path=checkpoint, weights_only=True)


def resume_point(folder: Path | None) -> Path | None:
    """The resume point in ``folder``, if there is a folder and a run left one there."""
    path = None if folder is None else folder / CHECKPOINT_FILE
    return path if path is not None and path.is_file() else None
