"""Full mixtures weighted by a Gumbel-softmax sample (SNAS, Xie et al. 2019; FBNet, Wu et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from strategies.one_shot.darts import DARTS
from strategies.one_shot.options import GumbelOptions
from strategies.one_shot.shared_mixture import SharedMixture


class GumbelLayer(SharedMixture):
    """A `LayerChoice` whose output is the mean of its candidates', weighted by ``softmax((alpha + noise) / tau)``.

    The noise (Gumbel, one number per candidate) is drawn by `resample`; layers with one label share it. What candidates
    share is computed once, as in `SharedMixture`.
    """

    _noise: Tensor | None = None
    _learns = False

    def resample(self, memo: dict[Any, Any]) -> dict[Any, Any]:
        """Draw noise, or take that of another layer with the same label; under ``torch.no_grad`` the next passes leave
        the architecture parameters alone."""
        self._learns = torch.is_grad_enabled()
        key = ("noise", self.label)  # beside the labels that others keep there
        if key in memo:
            self._noise = memo[key]
            return {}
        self._noise = self.draws.gumbel(self._arch_alpha)
        return {key: self._noise}

    def weights(self) -> Tensor:
        """The candidates' weights, (candidates,); they sum to 1."""
        if self._noise is None:
            raise RuntimeError("resample() before the first forward pass")
        alpha = self._arch_alpha if self._learns else self._arch_alpha.detach()
        return torch.softmax((alpha + self._noise) / self.draws.tau, -1)


class GumbelDARTS(DARTS):
    """DARTS whose mixture is weighted by a Gumbel-softmax sample with annealed temperature, under a `Budget`. Unlike
    NNI's, one draw serves a label everywhere, and the penalty acts on the probabilities themselves."""

    name = "gumbel-darts"
    options: GumbelOptions

    def default_mutation_hooks(self) -> list[Any]:
        return [GumbelLayer.mutate, *super().default_mutation_hooks()]
