"""Differentiable search by binary gates (ProxylessNAS, Cai et al. 2019, section 3.2) under a budget."""

from __future__ import annotations

from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice, MutableModule
from torch import nn

from search_space.base.errors import InvalidRequest
from strategies.one_shot.base import frozen_statistics
from strategies.one_shot.darts import DARTS
from strategies.one_shot.single_path import SinglePathLayer


class BinaryGateLayer(SinglePathLayer):
    """A `LayerChoice` whose output is that of one candidate, drawn by its probability.

    In an architecture step two candidates are drawn without replacement, and one of the two is the output, drawn by
    their probabilities relative to each other. The other runs as well, for the gradient: that of a gate is the product
    of the loss's gradient and its candidate's output, and passes to the two parameters through their softmax. It
    neither learns nor changes the running statistics of its batch norms. Layers with one label take the same pair.
    """

    _pair: tuple[int, int] | None = None  # the output's candidate first

    def resample(self, memo: dict[Any, Any]) -> dict[Any, Any]:
        """Draw one candidate, or under gradients a pair; or take what another layer with the same label drew."""
        key = ("pair", self.label)  # beside the labels
        if self.label in memo:
            self._sampled, self._pair = self.names.index(memo[self.label]), memo.get(key)
            return {}
        alpha = self._arch_alpha
        # drawn on the CPU, so that a run gives the same paths on every device
        probabilities = torch.softmax(alpha.detach().cpu().double(), -1)
        self._pair = None
        if alpha.requires_grad and torch.is_grad_enabled() and len(alpha) > 1:
            # Drawing two without replacement in turn, the first is already one of the two by relative probability
            # only on average; the gate is therefore drawn anew between them.
            two = torch.multinomial(probabilities, 2, generator=self.draws.generator)
            gate = int(torch.multinomial(probabilities[two], 1, generator=self.draws.generator))
            self._pair = (int(two[gate]), int(two[1 - gate]))
            self._sampled = self._pair[0]
        else:
            self._sampled = int(torch.multinomial(probabilities, 1, generator=self.draws.generator))
        return {self.label: self.names[self._sampled], key: self._pair}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        if self._pair is None:
            return output
        candidate = self[self.names[self._pair[1]]]
        with torch.no_grad(), frozen_statistics(candidate):
            other = candidate(*args, **kwargs)
        gates = torch.softmax(self._arch_alpha[list(self._pair)], -1)
        # exactly 0, with the gates' gradient
        zero = gates - gates.detach()
        return output + zero[0] * output.detach() + zero[1] * other


class Proxyless(DARTS):
    """ProxylessNAS under a `Budget`: a weight step runs one candidate per block, an architecture step two, as in the
    paper (NNI's runs every candidate in each backward pass). Choices other than `LayerChoice` are refused: NNI's
    handling of `Repeat` keeps architecture parameters that no budget sees."""

    name = "proxyless"

    def default_mutation_hooks(self) -> list[Any]:
        return [BinaryGateLayer.mutate, _refuse]

    def mutate_model(self, model: Any) -> Any:
        mutated = super().mutate_model(model)
        missing = set(self._arch_parameters) - {
            str(module.label) for module in mutated.modules() if isinstance(module, BinaryGateLayer)
        }
        if missing:
            raise InvalidRequest(f"space: label {min(missing)!r} belongs to no LayerChoice; {_REMEDY}")
        return mutated


_REMEDY = "proxyless samples LayerChoice only: write it as one, or use darts, gdas or a multi-trial strategy"


def _refuse(module: nn.Module, name: str, memo: dict[str, Any], mutate_kwargs: dict[str, Any]) -> None:
    if isinstance(module, MutableModule) and module.mutables and not isinstance(module, LayerChoice):
        raise InvalidRequest(f"space: {name} is a {type(module).__name__} with choices; {_REMEDY}")
