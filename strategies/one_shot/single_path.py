"""One sampled path per step, with gradients to the architecture parameters (GDAS, Dong & Yang 2019)."""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice
from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedLayer
from torch import Tensor, nn


class SinglePathLayer(DifferentiableMixedLayer):
    """A `LayerChoice` that runs one candidate, drawn by the Gumbel-max trick.

    What the candidate adds to its input (its whole output, where the shape changes) is multiplied by a weight that is
    exactly 1 and whose gradient is that of the relaxed one-hot vector (straight-through), so a step costs one
    candidate, not the sum of them. ``tau`` is the relaxation's temperature. Of several layers with one label the first
    gives the gradient.
    """

    def __init__(self, paths: Any, alpha: Tensor, softmax: nn.Module, label: str) -> None:
        super().__init__(paths, alpha, softmax, label)
        self.tau = 1.0
        self.generator: torch.Generator | None = None
        self._sampled: int | None = None
        self._weight: Tensor | None = None

    @classmethod
    def mutate(
        cls, module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]
    ) -> SinglePathLayer | None:
        """NNI's mutation hook: replaces exactly `LayerChoice`."""
        if type(module) is not LayerChoice:
            return None
        label = str(module.label)
        return cls(module.candidates, memo[label], mutate_kwargs.get("softmax", nn.Softmax(-1)), label)

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Draw a path, or take the one that another layer with the same label drew in this step.

        Under ``torch.no_grad`` the next passes leave the architecture parameters alone.
        """
        self._weight = None
        if self.label in memo:
            self._sampled = self.names.index(memo[self.label])
            return {}
        alpha = self._arch_alpha
        # drawn on the CPU, so that a run gives the same paths on every device
        noise = torch.empty(alpha.shape).exponential_(generator=self.generator).log().neg().to(alpha.device)
        logits = alpha + noise
        self._sampled = int(logits.argmax())
        if alpha.requires_grad and torch.is_grad_enabled():
            relaxed = torch.softmax(logits / self.tau, -1)[self._sampled]
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
