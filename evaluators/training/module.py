"""The task as a Lightning module: classification of images by a recipe. NNI's one-shot strategies accept it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from evaluators.data.batches import SharedBatch
from evaluators.training.optimizers import cycled_learning_rate_scale, last_linear, make_optimizer
from evaluators.training.recipes import Recipe
from search_space.network import orthonormal_bases, orthonormal_loss


class ClassificationModule(LightningModule):
    """Cross-entropy training of a network by a `Recipe`.

    Batches are ``(images (batch, channels, height, width) float32, labels)``; labels are classes, int64 ``(batch,)``,
    or their probabilities, float32 ``(batch, classes)``, as mixup makes them. Logs ``train_loss`` and
    ``train_accuracy`` per epoch, and ``<split>_loss``, ``<split>_accuracy`` when it validates or tests.

    Each of several processes gets its part of a batch (`evaluators.data.batches.SharedBatch`); together they learn what
    one process would learn from the whole batch. Batch norms see the part only, unless Lightning synchronises them.
    ``fused`` takes the optimizer's one-kernel form, which is faster, but needs a gradient for every weight in every
    step, so it is not for supernets whose paths are sampled. ``cycles`` are those of `TrainingRun`.
    """

    def __init__(
        self, recipe: Recipe, network: nn.Module | None = None, *, fused: bool = False, cycles: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.cycles = tuple(cycles)
        # Lightning refuses to clip what one kernel unscales and steps with; and where fp16's first steps overflow, as
        # they do, torch's fused sgd leaves its momentum uninitialised
        half_without_clipping = recipe.precision == "bf16" and recipe.gradient_clip is None
        self.fused = fused and (recipe.precision == "fp32" or half_without_clipping)
        self._layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self._used_bases: dict[int, nn.Conv2d] | None = None
        self._hooks: list[RemovableHandle] = []
        self._compiled: Callable[[Tensor], Tensor] | None = None
        if network is not None:
            self.set_model(network)

    def set_model(self, model: nn.Module) -> None:
        # depthwise convolutions train about twice as fast in this layout on CPUs, and tensor cores want it too
        model = model.to(memory_format=self._layout)  # type: ignore[call-overload]  # missing in torch's stubs
        super().set_model(model)
        if self.recipe.dropout:
            self._hooks.append(last_linear(model).register_forward_pre_hook(self._drop))
        if self.recipe.compile:
            self._compiled = _compiled(model)

    def release(self) -> None:
        """Take off the network what training has hooked to it."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=self._layout)
        if self._compiled is not None and self.training:
            return self._compiled(images)
        return self.model(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch[0], batch[1]
        if self._used_bases is None:
            self._used_bases = {}
            if self.recipe.orthonormal_weight:
                self._watch_bases(self._used_bases)
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        self._log("train", loss, logits, labels)
        if isinstance(batch, SharedBatch):
            loss = batch.weight * loss
        if self._used_bases:
            bases = list(self._used_bases.values())
            self._used_bases.clear()
            loss = loss + self.recipe.orthonormal_weight * orthonormal_loss(bases)
        return loss

    def _drop(self, classifier: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (F.dropout(inputs[0], self.recipe.dropout, training=classifier.training),)

    def _watch_bases(self, used: dict[int, nn.Conv2d]) -> None:
        """Note which bases a forward pass runs through: in a supernet the others are not part of the network."""
        for basis in orthonormal_bases(self.model):
            self._hooks.append(basis.register_forward_hook(lambda conv, *_: used.update({id(conv): conv})))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._measure(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._measure(batch, "test")

    def _measure(self, batch: Any, split: str) -> None:
        images, labels = batch[0], batch[1]
        logits = self(images)
        self._log(split, F.cross_entropy(logits, labels), logits, labels)

    def _log(self, split: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        for name, value in ((f"{split}_loss", loss), (f"{split}_accuracy", _accuracy(logits, labels))):
            # weighted by batch size, so the mean over batches is the mean over images
            self.log(name, value, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=several)

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self, self.recipe, fused=self.fused)
        # the trainer may be to stop at the end of a cycle
        steps = int(self.trainer.estimated_stepping_batches) // int(self.trainer.max_epochs or 1)
        scale = cycled_learning_rate_scale(self.recipe, [steps * end for end in self.cycles or (self.recipe.epochs,)])
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


#: layers of the network that was compiled last in this process
_last_compiled: str | None = None


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    global _last_compiled
    if str(model) != _last_compiled:
        # of one function torch keeps eight graphs, and then silently compiles no more: those of other networks go,
        # while another training of the same network finds its own
        torch.compiler.reset()
        _last_compiled = str(model)
    # a function, not a compiled module: that would be a second child with the same weights. Static shapes: the last
    # batch of an epoch is of another size, and compiling twice beats one network for all sizes.
    return torch.compile(lambda images: model(images), dynamic=False)


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.ndim == 2:
        labels = labels.argmax(1)  # the class that has the largest share of a mixed image
    return (logits.argmax(1) == labels).float().mean()
