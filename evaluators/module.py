"""The task as a Lightning module: classification of images by a recipe. NNI's one-shot strategies accept it."""

from __future__ import annotations

import math
from typing import Any

import torch
from nni.nas.evaluator.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.recipes import Recipe
from search_space.orthonormal import orthonormal_bases, orthonormal_loss


class ClassificationModule(LightningModule):
    """Cross-entropy training of a network by a `Recipe`.

    Batches are ``(images (batch, channels, height, width) float32, labels (batch,) int64)``. Logs ``train_loss`` and
    ``train_accuracy`` an epoch, and ``<split>_loss``, ``<split>_accuracy`` when it validates or tests.
    """

    def __init__(self, recipe: Recipe, network: nn.Module | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self._used_bases: dict[int, nn.Conv2d] | None = None
        if network is not None:
            self.set_model(network)

    def set_model(self, model: nn.Module) -> None:
        # depthwise convolutions train about twice as fast in this layout on CPUs, and tensor cores want it too
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        super().set_model(model)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        if self._used_bases is None:
            self._used_bases = {}
            if self.recipe.orthonormal_weight:
                self._watch_bases(self._used_bases)
        logits = self(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        count = len(labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=count)
        self.log("train_accuracy", _accuracy(logits, labels), on_step=False, on_epoch=True, batch_size=count)
        if self._used_bases:
            bases = list(self._used_bases.values())
            self._used_bases.clear()
            loss = loss + self.recipe.orthonormal_weight * orthonormal_loss(bases)
        return loss

    def _watch_bases(self, used: dict[int, nn.Conv2d]) -> None:
        """Note which bases a forward pass runs through: in a supernet the others are not part of the network."""
        for basis in orthonormal_bases(self.model):
            basis.register_forward_hook(lambda conv, *_: used.update({id(conv): conv}))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._measure(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._measure(batch, "test")

    def _measure(self, batch: Any, split: str) -> None:
        images, labels = batch
        logits = self(images)
        # weighted by batch size, so the mean over batches is the mean over images
        self.log(f"{split}_loss", F.cross_entropy(logits, labels), batch_size=len(labels))
        self.log(f"{split}_accuracy", _accuracy(logits, labels), batch_size=len(labels))

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        optimizer = torch.optim.SGD(
            self.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
        )
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(total * recipe.warmup_epochs / recipe.epochs)

        def scale(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(1) == labels).float().mean()
