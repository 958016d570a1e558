"""Full mixtures weighted by a Gumbel-softmax sample (SNAS, Xie et al. 2019; FBNet, Wu et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nni.nas.oneshot.pytorch.differentiable import LinearTemperatureScheduler
from nni.nas.strategy import GumbelDARTS as NniGumbelDARTS
from torch import Tensor, nn

from search_space.base.errors import InvalidRequest
from strategies.one_shot.darts import DARTS
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

    The noise (Gumbel, one number a candidate) is drawn by `resample`; layers with one label share it. What candidates
    share is computed once, as in `SharedMixture`.
    """

    _softmax: _NoisySoftmax

    def __init__(self, paths: Any, alpha: Tensor, softmax: nn.Module, label: str) -> None:
        super().__init__(paths, alpha, _NoisySoftmax(), label)

    def resample(self, memo: dict[Any, Any]) -> dict[Any, Any]:
        """Draw noise, or take that of another layer with the same label; under ``torch.no_grad`` the next passes leave
        the architecture parameters alone."""
        self._softmax.learns = torch.is_grad_enabled()
        key = ("noise", self.label)  # beside the labels that others keep there
        if key in memo:
            self._softmax.noise = memo[key]
            return {}
        alpha = self._arch_alpha
        # drawn on the CPU, so that a run gives the same weights on every device
        noise = torch.empty(alpha.shape).exponential_(generator=self.generator).log().neg()
        self._softmax.noise = noise.to(alpha.device)
        return {key: self._softmax.noise}

    def weights(self) -> Tensor:
        """The candidates' weights, (candidates,); they sum to 1."""
        self._softmax.tau = self.tau
        return self._softmax(self._arch_alpha)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self._softmax.tau = self.tau
        return super().forward(*args, **kwargs)


class GumbelDARTS(DARTS, NniGumbelDARTS):
    """DARTS whose mixture is weighted by a Gumbel-softmax sample with annealed temperature, under a `Budget`.

    A subclass of ``nni.nas.strategy.GumbelDARTS``, which draws different noise for one label in several places and
    feeds its penalty (which has no gradient either) with noise of its own. Here one draw serves a label everywhere, and
    the budget's penalty acts on the probabilities themselves. Parameters are those of `DARTS`; ``temperature`` is a
    number, (first, last), a dict with ``init`` and ``min``, or NNI's scheduler, and goes linearly from epoch to epoch.
    """

    def __init__(
        self,
        *,
        temperature: float | tuple[float, float] | Mapping[str, float] | LinearTemperatureScheduler = (1.0, 0.33),
        **darts: Any,
    ) -> None:
        super().__init__(temperature=_first_and_last(temperature), **darts)

    def default_mutation_hooks(self) -> list[Any]:
        return [GumbelLayer.mutate, *super().default_mutation_hooks()]

    def configure_softmax(self) -> nn.Module:
        """Of what is no `LayerChoice` and so knows no noise."""
        return nn.Softmax(-1)


def _first_and_last(
    temperature: float | tuple[float, float] | Mapping[str, float] | LinearTemperatureScheduler,
) -> tuple[float, float]:
    if isinstance(temperature, LinearTemperatureScheduler):
        pair: Any = (temperature.init, temperature.min)
    elif isinstance(temperature, Mapping):
        pair = (temperature.get("init"), temperature.get("min"))
    elif isinstance(temperature, int | float):
        pair = (temperature, temperature)
    else:
        pair = tuple(temperature)
    if len(pair) != 2 or None in pair or not 0 < pair[1] <= pair[0]:
        raise InvalidRequest(f"temperature: {temperature!r} must be (first, last) with first >= last > 0")
    return float(pair[0]), float(pair[1])
