"""What happens in a training beside learning: a bar, resume points, seeds, averaged and best weights, divergence."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from torch import Tensor, nn

from evaluators.base.progress import progress_bar
from evaluators.training.run import TrainingDiverged
from search_space.base.atomic import replacing
from search_space.weights import save_weights

CHECKPOINT_FILE = "last.ckpt"
BEST_FILE = "best.safetensors"
#: What a checkpoint calls the averaged tensors and the count of updates: as torch's AveragedModel does.
_PREFIX, _COUNT = "module.", "n_averaged"


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


class BestWeights(pl.Callback):
    """Keeps ``folder/best.safetensors`` from the first epoch of the highest validation accuracy.

    Its record travels in Lightning's checkpoints, so that a resumed run compares with what came before.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / BEST_FILE
        self.epoch = -1
        self.accuracy = -1.0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["val_accuracy"])
        if accuracy <= self.accuracy:
            return
        self.epoch, self.accuracy = trainer.current_epoch, accuracy
        if trainer.is_global_zero:
            network = pl_module.model
            assert isinstance(network, nn.Module)
            save_weights(network, self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "accuracy": self.accuracy}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch, self.accuracy = state_dict["epoch"], state_dict["accuracy"]


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


def _network(module: pl.LightningModule) -> nn.Module:
    network = module.model
    if not isinstance(network, nn.Module):
        raise TypeError(f"{type(module).__name__} has no network as .model")
    return network


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; they share the memory of the network's."""
    return {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}
