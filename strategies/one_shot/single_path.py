"""One sampled path per step, with gradients to the architecture parameters (GDAS, Dong & Yang 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from strategies.one_shot.base import Draws, MixedLayer
from strategies.one_shot.darts import DARTS
from strategies.one_shot.options import SinglePathOptions


class SinglePathLayer(MixedLayer):
    """A `LayerChoice` that runs one candidate, drawn by the Gumbel-max trick.

    What the candidate adds to its input (its whole output, where the shape changes) is multiplied by a weight that is
    exactly 1 and whose gradient is that of the relaxed one-hot vector (straight-through), so a step costs one
    candidate, not the sum of them. Of several layers with one label the first gives the gradient.
    """

    def __init__(self, paths: Any, alpha: Tensor, softmax: nn.Module, label: str, draws: Draws | None = None) -> None:
        super().__init__(paths, alpha, softmax, label, draws)
        self._sampled: int | None = None
        self._weight: Tensor | None = None

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Draw a path, or take the one that another layer with the same label drew in this step.

        Under ``torch.no_grad`` the next passes leave the architecture parameters alone.
        """
        self._weight = None
        if self.label in memo:
            self._sampled = self.names.index(memo[self.label])
            return {}
        alpha = self._arch_alpha
        logits = alpha + self.draws.gumbel(alpha)
        self._sampled = int(logits.argmax())
        if alpha.requires_grad and torch.is_grad_enabled():
            relaxed = torch.softmax(logits / self.draws.tau, -1)[self._sampled]
            self._weight = (relaxed - relaxed.detach()) + 1  # in this order it is exactly 1
        return {self.label: self.names[self._sampled]}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._sampled is None:
            raise RuntimeError(f"label {self.label!r}: resample() before the first forward pass")
        output = self[self.names[self._sampled]](*args, **kwargs)
        if self._weight is None:
            return output
        first = args[0] if args else None
        if isinstance(first, Tensor) and isinstance(output, Tensor) and first.shape == output.shape:
            # As the weights of all candidates sum to 1, the mixture is the same with the input taken off each output.
            # It matters: where a batch norm follows, the loss does not depend on the scale of the whole output, and
            # the weight of the whole would get no gradient.
            return first + (output - first) * self._weight
        return output * self._weight


class GDAS(DARTS):
    """Single-path differentiable search (Dong & Yang 2019): like `DARTS`, but each step runs one sampled candidate.

    A step costs about as much as one network's, whatever the number of candidates.
    """

    name = "gdas"
    options: SinglePathOptions

    def default_mutation_hooks(self) -> list[Any]:
        return [SinglePathLayer.mutate, *super().default_mutation_hooks()]
