"""A training step without a trainer around it, for what is measured by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.training.module import ClassificationModule
from evaluators.training.optimizers import make_optimizer
from evaluators.training.recipes import Recipe

#: Low, as the images may be noise: what diverges multiplies infinities, which some processors do more slowly.
_LEARNING_RATE = 0.01


class BareStep:
    """Calls train ``network`` on one batch that is on ``device`` ("cpu" or "cuda").

    Layout and compilation are those of a retraining with such a recipe, and ``bf16`` is the autocast that Lightning's
    "bf16-mixed" is: weights, gradients and momentum stay float32. Everything else is as torch has it by default, so a
    GPU that has TF32 takes it for float32 convolutions.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str,
        *,
        bf16: bool = False,
        compiled: bool = False,
        channels_last: bool = True,
    ) -> None:
        recipe = Recipe(learning_rate=_LEARNING_RATE, compile=compiled, channels_last=channels_last)
        self.device = device
        self.bf16 = bf16
        self.module = ClassificationModule(recipe, network.to(device), fused=True).train()
        self.optimizer = make_optimizer(self.module, recipe, fused=True)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Forward pass, backward pass and the optimizer's step; on a GPU they are queued, not awaited."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            loss = F.cross_entropy(self.module(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
