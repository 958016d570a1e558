"""A running average of the weights, which is what is measured and kept (Polyak averaging, Xception section 4.2)."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

#: What a checkpoint calls the averaged tensors and the count of updates: as torch's AveragedModel does.
_PREFIX, _COUNT = "module.", "n_averaged"


class AveragedWeights(pl.Callback):
    """Exponential average of parameters and batch-norm statistics after each step; validation sees the average.

    After t updates the decay is ``min(decay, (1 + t) / (10 + t))``, so that a short training is not dominated by its
    initial weights. The statistics are averaged by the same weights as the parameters they belong to, so nothing is
    measured anew. The state travels in Lightning's checkpoints.

    Unlike torch's AveragedModel it counts in Python: a step must not wait for a GPU to tell the count.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._average: dict[str, Tensor] | None = None
        # (averaged, current) tensors side by side, those with and those without a fraction
        self._floating: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._counting: tuple[list[Tensor], list[Tensor]] = ([], [])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and self._average is None:
            self._average = {name: tensor.clone() for name, tensor in _tensors(_network(pl_module)).items()}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # only now does the network stay where it is: moving it to a device replaces its buffers
        current = _tensors(_network(pl_module))
        self._average = {name: self._averaged[name].to(tensor.device) for name, tensor in current.items()}
        self._floating, self._counting = ([], []), ([], [])
        for name, tensor in current.items():
            kind = self._floating if tensor.is_floating_point() else self._counting
            kind[0].append(self._average[name])
            kind[1].append(tensor)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if self.updates == 0:
            torch._foreach_copy_(*self._floating)
        else:
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_(*self._floating, 1 - decay)
        if self._counting[0]:
            torch._foreach_copy_(*self._counting)  # how many batches a batch norm has seen
        self.updates += 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(_network(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(_network(pl_module))

    def state_dict(self) -> dict[str, Any]:
        averaged = {f"{_PREFIX}{name}": tensor for name, tensor in self._averaged.items()}
        return {_COUNT: torch.tensor(self.updates), **averaged}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, tensor in self._averaged.items():
            tensor.copy_(state_dict[f"{_PREFIX}{name}"])
        self.updates = int(state_dict[_COUNT])

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Give ``network`` the average."""
        for name, tensor in _tensors(network).items():
            tensor.copy_(self._averaged[name])

    @property
    def _averaged(self) -> dict[str, Tensor]:
        if self._average is None:
            raise RuntimeError("the average exists from the start of a fit on")
        return self._average

    @torch.no_grad()
    def _swap(self, network: nn.Module) -> None:
        for name, tensor in _tensors(network).items():
            kept = self._averaged[name].clone()
            self._averaged[name].copy_(tensor)
            tensor.copy_(kept)


def _network(module: pl.LightningModule) -> nn.Module:
    network = module.model
    if not isinstance(network, nn.Module):
        raise TypeError(f"{type(module).__name__} has no network as .model")
    return network


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; they share the memory of the network's."""
    return {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}
