"""Full mixtures weighted by a Gumbel-softmax sample (SNAS, Xie et al. 2019; FBNet, Wu et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from strategies.one_shot.base import Draws
from strategies.one_shot.darts import DARTS
from strategies.one_shot.options import GumbelOptions
from strategies.one_shot.shared_mixture import SharedMixture
from strategies.one_shot.single_path import SinglePathLayer


class _NoisySoftmax(nn.Module):
    """``softmax((alpha + noise) / tau)``; without ``learns`` it passes no gradient to ``alpha``."""

    def __init__(self) -> None:
        super().__init__()
        self.noise: Tensor | None = None
        self.tau = 1.0
        self.learns = False

    def forward(self, alpha: Tensor) -> Tensor:
        if self.noise is None:
            raise RuntimeError("resample() before the first forward pass")
        return torch.softmax(((alpha if self.learns else alpha.detach()) + self.noise) / self.tau, -1)


class GumbelLayer(SharedMixture, SinglePathLayer):
    """A `LayerChoice` whose output is the mean of its candidates', weighted by ``softmax((alpha + noise) / tau)``.

    The noise (Gumbel, one number per candidate) is drawn by `resample`; layers with one label share it. What candidates
    share is computed once, as in `SharedMixture`.
    """

    _softmax: _NoisySoftmax

    def __init__(self, paths: Any, alpha: Tensor, softmax: nn.Module, label: str, draws: Draws | None = None) -> None:
        super().__init__(paths, alpha, _NoisySoftmax(), label, draws)

    def resample(self, memo: dict[Any, Any]) -> dict[Any, Any]:
        """Draw noise, or take that of another layer with the same label; under ``torch.no_grad`` the next passes leave
        the architecture parameters alone."""
        self._softmax.learns = torch.is_grad_enabled()
        key = ("noise", self.label)  # beside the labels that others keep there
        if key in memo:
            self._softmax.noise = memo[key]
            return {}
        self._softmax.noise = self.draws.gumbel(self._arch_alpha)
        return {key: self._softmax.noise}

    def weights(self) -> Tensor:
        """The candidates' weights, (candidates,); they sum to 1."""
        self._softmax.tau = self.draws.tau
        return self._softmax(self._arch_alpha)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self._softmax.tau = self.draws.tau
        return super().forward(*args, **kwargs)


class GumbelDARTS(DARTS):
    """DARTS whose mixture is weighted by a Gumbel-softmax sample with annealed temperature, under a `Budget`.

    NNI's ``GumbelDARTS`` draws different noise for one label in several places and feeds its penalty (which has no
    gradient either) with noise of its own. Here one draw serves a label everywhere, and the budget's penalty acts on
    the probabilities themselves.
    """

    name = "gumbel-darts"
    options: GumbelOptions

    def default_mutation_hooks(self) -> list[Any]:
        return [GumbelLayer.mutate, *super().default_mutation_hooks()]
