"""A running average of the weights, which is what is measured and kept (Polyak averaging, Xception section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class AveragedWeights(pl.Callback):
    """Exponential average of parameters and batch-norm statistics after each step; validation sees the average.

    After t updates the decay is ``min(decay, (1 + t) / (10 + t))``, so that a short training is not dominated by its
    initial weights. The statistics are averaged by the same weights as the parameters they belong to, so nothing is
    measured anew. The state travels in Lightning's checkpoints.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._average: AveragedModel | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and self._average is None:
            self._average = AveragedModel(_network(pl_module), multi_avg_fn=self._update, use_buffers=True)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._averaged.module.to(pl_module.device)  # the counter stays on the CPU: reading it must not wait for a GPU

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self._averaged.update_parameters(_network(pl_module))
        self.updates += 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(_network(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(_network(pl_module))

    def state_dict(self) -> dict[str, Any]:
        return self._averaged.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._averaged.load_state_dict(state_dict)
        self.updates = int(self._averaged.n_averaged)

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Give ``network`` the average."""
        for own, other in _pairs(self._averaged.module, network):
            other.copy_(own)

    @property
    def _averaged(self) -> AveragedModel:
        if self._average is None:
            raise RuntimeError("the average exists from the start of a fit on")
        return self._average

    @torch.no_grad()
    def _update(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(list(averaged), list(current))  # how many batches a batch norm has seen
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    @torch.no_grad()
    def _swap(self, network: nn.Module) -> None:
        for own, other in _pairs(self._averaged.module, network):
            kept = own.clone()
            own.copy_(other)
            other.copy_(kept)


def _network(module: pl.LightningModule) -> nn.Module:
    network = module.model
    if not isinstance(network, nn.Module):
        raise TypeError(f"{type(module).__name__} has no network as .model")
    return network


def _pairs(first: nn.Module, second: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Parameters and buffers of both, side by side."""
    return [
        *zip(first.parameters(), second.parameters(), strict=True),
        *zip(first.buffers(), second.buffers(), strict=True),
    ]
