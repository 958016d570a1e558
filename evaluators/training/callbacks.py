"""What happens in a training beside learning: a bar, resume points, seeds, averaged and best weights, divergence."""

from __future__ import annotations

import math
import time
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
#: Steps after which a GPU is asked whether their losses were finite.
ASKED = 50


class EpochProgress(pl.Callback):
    """One bar over all steps of a fit, with the last figures behind it."""

    def __init__(self, title: str, on_epoch: Callable[[dict[str, float]], None] | None = None) -> None:
        self.title = title
        self.on_epoch = on_epoch
        self._bar: Any = None
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps, shown = int(trainer.num_training_batches), trainer.is_global_zero
        total, done = steps * int(trainer.max_epochs or 0), steps * trainer.current_epoch
        self._bar = progress_bar(total, self.title, "step", initial=done, shown=shown)

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
    """Seeds torch's global generators at the start of each epoch, so that dropout is the same in a resumed run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # seeds have 32 bits: neither epochs nor processes of one seed meet those of another
        torch.manual_seed((self.seed << 31) + (trainer.current_epoch << 12) + trainer.global_rank)


class BestWeights(pl.Callback):
    """Keeps ``folder/best.safetensors`` from the first epoch of the highest validation accuracy, also if resumed."""

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
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0  # a number, not a tensor as in torch's AveragedModel: no step must wait for a GPU to tell it
        self._average: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # only now does the network stay where it is, and a state, if any, has been loaded
        current = _tensors(pl_module.model)
        kept = self._average or current
        self._average = {name: kept[name].to(tensor.device, copy=True) for name, tensor in current.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        pairs = [(self._average[name], tensor) for name, tensor in _tensors(pl_module.model).items()]
        averages, tensors = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, tensors, 1 - decay)
        for average, tensor in pairs:
            if not average.is_floating_point():  # how many batches a batch norm has seen
                average.copy_(tensor)
        self.updates += 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(pl_module.model)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(pl_module.model)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "average": self._average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self._average = state_dict["updates"], state_dict["average"]

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Give ``network`` the average."""
        for name, tensor in _tensors(network).items():
            tensor.copy_(self._average[name])

    def _swap(self, network: Any) -> None:
        kept = {name: tensor.clone() for name, tensor in _tensors(network).items()}
        self.copy_to(network)
        self._average = kept


class DivergenceGuard(pl.Callback):
    """Raises `TrainingDiverged` with the number of the step whose loss is not finite.

    On the CPU that is in the same step. A GPU is asked for its losses every `ASKED` steps, as it must finish its work
    for that, and at the latest before the epoch's resume point is written. Weights are looked at once an epoch, so that
    no resume point holds broken ones. With several processes all of them raise in the same step.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._losses: list[Tensor] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._losses.clear()

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
        self._losses.append(loss)
        if loss.device.type == "cpu" or len(self._losses) == ASKED:
            self._check(trainer, batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = int(trainer.num_training_batches)
        self._check(trainer, steps)
        if not all_finite(pl_module):
            self._diverged(trainer, steps, "a weight is not finite")

    def _check(self, trainer: pl.Trainer, steps: int) -> None:
        """Look at the losses that were not looked at yet, the last of which is that of step ``steps`` of the epoch."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        self._losses.clear()
        for step, loss in enumerate(losses, steps - len(losses) + 1):
            if not math.isfinite(loss):
                self._diverged(trainer, step, f"the loss is {loss}")

    def _diverged(self, trainer: pl.Trainer, step: int, what: str) -> None:
        epoch = trainer.current_epoch
        step += epoch * int(trainer.num_training_batches)
        raise TrainingDiverged(f"{self.title}: {what} at step {step} (epoch {epoch + 1}); lower the learning rate")


@torch.no_grad()
def all_finite(module: nn.Module) -> bool:
    """Whether all parameters and buffers of ``module`` are finite."""
    tensors = [*module.parameters(), *module.buffers()]
    finite = [torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point()]
    return not finite or bool(torch.stack(finite).all())


def _tensors(network: Any) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name; they share the memory of the network's."""
    return {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}
