"""The end of a training whose loss is no longer finite."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from torch import Tensor, nn

from evaluators.training.run import TrainingDiverged


class DivergenceGuard(pl.Callback):
    """Raises `TrainingDiverged` with the number of the step whose loss is not finite.

    On the CPU that is in the same step. On a GPU the losses come over as the device gets to them, without waiting: the
    run ends a few steps later, at the latest before the epoch's resume point is written. Weights are looked at once an
    epoch, so that no resume point holds broken ones. With several processes all of them raise in the same step.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._pending: deque[tuple[int, Tensor, torch.cuda.Event]] = deque()
        self._epoch = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._pending.clear()
        self._epoch = trainer.current_epoch + 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None:
            return
        loss = loss.detach()
        if trainer.world_size > 1:
            # not finite if one process's is not; Lightning's reduce would wait for the GPU at a barrier in each step
            loss = loss.clone()
            torch.distributed.all_reduce(loss)
            loss /= trainer.world_size
        step = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
        if loss.device.type != "cuda":
            self._check(step, loss.item())
            return
        host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        host.copy_(loss, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending.append((step, host, event))
        while self._pending and self._pending[0][2].query():
            self._check_oldest()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        while self._pending:
            self._pending[0][2].synchronize()
            self._check_oldest()
        if not all_finite(pl_module):
            step = (trainer.current_epoch + 1) * int(trainer.num_training_batches)
            raise TrainingDiverged(self._message(step, "a weight is not finite"))

    def _check_oldest(self) -> None:
        step, loss, _ = self._pending.popleft()
        self._check(step, loss.item())

    def _check(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingDiverged(self._message(step, f"the loss is {loss}"))

    def _message(self, step: int, what: str) -> str:
        return f"{self.title}: {what} at step {step} (epoch {self._epoch}); lower the learning rate"


@torch.no_grad()
def all_finite(module: nn.Module) -> bool:
    """Whether all parameters and buffers of ``module`` are finite."""
    tensors = [*module.parameters(), *module.buffers()]
    finite = [torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()]
    return not finite or bool(torch.stack(finite).all())
