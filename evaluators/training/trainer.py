"""A Lightning trainer as sepnas uses it: quiet, resumable, one progress bar, metrics as they come."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from evaluators.training.callbacks import CHECKPOINT_FILE, DivergenceGuard, EpochProgress, ResumePoint
from evaluators.training.devices import pick_accelerator
from evaluators.training.run import Accelerator
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest

_PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class _Unwrapped(DDPStrategy):
    """Processes that train together a module that averages its gradients by itself."""

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


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
    reduces_itself: bool = False,
) -> pl.Trainer:
    """A trainer for ``epochs`` epochs; with ``folder`` it leaves a resume point there.

    ``on_epoch`` gets the figures of each epoch, those of validation too if it ``validates``. ``trainer_class`` is NNI's
    traced one for one-shot strategies. With several ``devices`` or nodes it is one of as many processes that train
    together (see `evaluators.training.processes`); a module that ``reduces_itself`` averages its gradients over them by
    itself, and its batch norms see the process's share alone. InvalidRequest if the accelerator is not there.
    """
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.ERROR)
    picked = pick_accelerator(accelerator)
    callbacks: list[pl.Callback] = [DivergenceGuard(title), EpochProgress(title, on_epoch), *extra_callbacks]
    if folder is not None:
        callbacks.append(ResumePoint(folder))
    together = devices * num_nodes > 1
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
        devices=devices,
        num_nodes=num_nodes,
        strategy=(_Unwrapped() if reduces_itself else "ddp") if together else "auto",
        # each process takes its share of the same batches by itself
        use_distributed_sampler=False,
        # torch has it on GPUs only
        sync_batchnorm=together and picked == "cuda" and not reduces_itself,
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
    """The resume point in ``folder``, if there is a folder and a run left one there; errors as of `read_state`."""
    path = None if folder is None else folder / CHECKPOINT_FILE
    if path is None or not path.is_file():
        return None
    read_state(path, {"state_dict", "epoch"})
    return path


def read_state(path: Path, parts: Collection[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a resume point of torch's holds, on ``device``; InvalidRequest if it is damaged or lacks one of ``parts``.

    Nothing in it runs: torch reads tensors and plain values alone.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if (part := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {part} differs")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        if not set(parts) <= set(state):
            raise ValueError("it holds no state of a training")
    except Exception as error:  # torch lets through whatever its readers raise
        why = plain(f"{type(error).__name__}: {error}", 80)
        remedy = "delete it to start that training again"
        raise InvalidRequest(f"resume point: {plain(path, 120)} is damaged ({why}); {remedy}") from None
    return state
