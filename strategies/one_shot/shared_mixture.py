"""The full mixture of a block's candidates, with what they share computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.network import InvertedResidual
from search_space.sliced import Sliced, wide_layer
from strategies.one_shot.base import Draws, MixedLayer


class SharedMixture(MixedLayer):
    """A `LayerChoice` whose output is the mean of its candidates', weighted by the softmax of ``alpha``.

    Candidates of a `SepConvSpace` that are inverted residuals have their 1x1 convolutions in common, and those with one
    operator its layers. They are mixed between the two, where they differ: with weights w_i of sum W,

        W * (x + project(sum_i w_i / W * se_i(spatial_i(expand(x)))))

    so that the expansion, the projection and every operator run once, at the largest width; a narrower candidate is the
    first channels of that. The mixture of a single candidate (w_i = 1) is the candidate itself, as in DARTS. Other
    candidates, and those of other spaces, are mixed by their outputs. Maps what the candidates map.
    """

    def __init__(self, paths: Any, alpha: Tensor, softmax: nn.Module, label: str, draws: Draws | None = None) -> None:
        super().__init__(paths, alpha, softmax, label, draws)
        self._family, self._others = _sort(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        weights = self.weights()
        if self._family is None:
            return self._reduction([self[name](*args, **kwargs) for name in self.names], weights)
        (x,) = args
        mixed = self._family(x, weights)
        for index in self._others:
            mixed = mixed + weights[index] * self[self.names[index]](x)
        return mixed


@dataclass(frozen=True)
class _Member:
    """An inverted residual among the candidates."""

    index: int
    channels: int
    block: InvertedResidual


class _Family:
    """Inverted residuals around the same projection. No `nn.Module`: the candidates list the layers."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self.indices = [member.index for member in members]
        self.widest = max(members, key=lambda member: member.channels)
        expanding = [member for member in members if _expands(member)]
        self.expanding = max(expanding, key=lambda member: member.channels, default=None)
        # members that see the same input and compute (a part of) the same output of the spatial operator
        together: dict[tuple[int, bool], list[_Member]] = defaultdict(list)
        for member in members:
            spatial = member.block.spatial
            shared = wide_layer(spatial) if not isinstance(spatial, Sliced) or spatial.is_prefix else spatial
            together[id(shared), _expands(member)].append(member)
        self.runs = [_run(own) for own in together.values()]

    def __call__(self, x: Tensor, weights: Tensor) -> Tensor:
        own = weights[self.indices]
        total = own.sum()
        share = dict(zip(self.indices, (own / total.clamp_min(1e-12)).unbind(), strict=True))
        expanded = x if self.expanding is None else self.expanding.block.expand(x)
        parts: dict[nn.Module | None, list[Tensor]] = defaultdict(list)
        for widest, gated in self.runs:
            z = widest.block.spatial(expanded[:, : widest.channels] if _expands(widest) else x)
            for gate, members in gated.items():
                channels = max(member.channels for member in members)
                factor = _factor([(member.channels, share[member.index]) for member in members])
                parts[gate].append(z[:, :channels] * factor)
        mixed = [_sum(tensors) if gate is None else gate(_sum(tensors)) for gate, tensors in parts.items()]
        y = self.widest.block.project(_sum(mixed, self.widest.channels))
        return total * (x + y if self.widest.block.residual else y)


def _run(members: list[_Member]) -> tuple[_Member, dict[nn.Module | None, list[_Member]]]:
    """One run of a spatial operator: the member that makes it, and all that use it by their squeeze-and-excitation."""
    by_gate: dict[nn.Module | None, list[_Member]] = defaultdict(list)
    for member in members:
        by_gate[_gate(member)].append(member)
    return max(members, key=lambda member: member.channels), dict(by_gate)


def _expands(member: _Member) -> bool:
    return not isinstance(member.block.expand, nn.Identity)


def _sort(layer: SharedMixture) -> tuple[_Family | None, list[int]]:
    """The inverted residuals that share a projection, if there are any, and the indices of the other candidates."""
    members = []
    for index, name in enumerate(layer.names):
        block = layer[name]
        if isinstance(block, InvertedResidual):
            project = block.project.layer if isinstance(block.project, Sliced) else block.project
            convolution = project.get_submodule("conv")
            assert isinstance(convolution, nn.Conv2d)
            members.append(_Member(index, convolution.in_channels, block))
    wide = {id(wide_layer(member.block.project)) for member in members}
    if len(members) < 2 or len(wide) > 1:
        return None, []
    inside = {member.index for member in members}
    return _Family(members), [index for index in range(len(layer.names)) if index not in inside]


def _gate(member: _Member) -> nn.Module | None:
    return None if isinstance(member.block.se, nn.Identity) else member.block.se


def _factor(shares: list[tuple[int, Tensor]]) -> Tensor:
    """Weight of each channel, (1, channels, 1, 1) or a scalar: the sum of the shares of those that have the channel."""
    widths = sorted({channels for channels, _ in shares})
    if len(widths) == 1:
        return _sum([share for _, share in shares])
    steps = [_sum([share for channels, share in shares if channels >= width]) for width in widths]
    counts = [width - before for width, before in zip(widths, [0, *widths], strict=False)]
    return torch.cat([step.expand(count) for step, count in zip(steps, counts, strict=True)])[None, :, None, None]


def _sum(tensors: list[Tensor], channels: int | None = None) -> Tensor:
    """Sum of maps of several widths: missing channels are zero. ``channels`` widens the result."""
    if tensors[0].dim() == 0:
        return torch.stack(tensors).sum()
    most = max([tensor.shape[1] for tensor in tensors] + ([channels] if channels is not None else []))
    total: Tensor | None = None
    for tensor in sorted(tensors, key=lambda tensor: -tensor.shape[1]):
        missing = most - tensor.shape[1]
        wide = F.pad(tensor, (0, 0, 0, 0, 0, missing)) if missing else tensor
        total = wide if total is None else total + wide
    assert total is not None
    return total
