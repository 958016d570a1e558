"""The NNI form of a search space: one labelled `LayerChoice` per block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import current_model
from torch import Tensor, nn

from search_space.architecture import Architecture
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.network import (
    ClassifierHead,
    InvertedResidual,
    Network,
    build,
    directed_layers,
    make_block,
    make_expand,
    make_project,
    make_se,
    make_stem,
)
from search_space.padding import direction_at
from search_space.supernet_init import initialise_supernet


class SepConvSpace(ModelSpace):
    """A supernet skeleton that every NNI strategy can mutate.

    The arguments are those of `SearchSpace.create`; the value itself is ``.search_space``. The candidates of a block
    are complete blocks; those built around a spatial operator hold the *same* expand, squeeze-and-excitation and
    project modules, so that only the spatial operators differ (and are counted once as parameters).

    Maps ``(batch, in_channels, image_size, image_size)`` to logits ``(batch, classes)``. Inside the supernet every
    even-sized layer is padded by the direction of its block's position; a frozen network gets the exact ones.
    """

    def __init__(
        self,
        macro: str = "mobilenetv3-small",
        *,
        image_size: int = 32,
        in_channels: int = 3,
        classes: int = 10,
        width: float = 1.0,
        operators: Iterable[str] | None = None,
    ) -> None:
        super().__init__()
        self.search_space = SearchSpace.create(
            macro,
            image_size=image_size,
            in_channels=in_channels,
            classes=classes,
            width=width,
            operators=tuple(operators) if operators is not None else None,
        )
        sample = current_model()
        if sample is not None:  # NNI rebuilds one model of the space from its sample
            network = build(self.architecture(sample))
            self.stem, self.blocks, self.head = network.stem, network.blocks, network.head
            return
        skeleton = self.search_space.skeleton
        self.stem = make_stem(skeleton)
        self.blocks = nn.Sequential()
        for index, (_, size) in enumerate(skeleton.sized_blocks()):
            self.blocks.append(LayerChoice(self._candidates(index, size), label=self.search_space.labels[index]))
        self.head = ClassifierHead(skeleton)
        initialise_supernet(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))

    @property
    def cost_table(self) -> CostTable:
        """MACs and params of every candidate (see `SearchSpace.cost_table`)."""
        return self.search_space.cost_table

    def architecture(self, sample: Mapping[str, str]) -> Architecture:
        """The architecture of an NNI sample."""
        return self.search_space.architecture(sample)

    def freeze(self, sample: dict[str, Any]) -> Network:
        """``build(architecture(sample))`` with a copy of the weights that the sample has in this space.

        NNI's own freeze shares tensors with the supernet and deep-copies what it replaces on the way; a fresh network
        costs only its own parameters and can be trained without touching the supernet.
        """
        self.validate(sample)
        # on "meta" nothing is allocated or initialised, and torch's random state stays as it is
        with torch.device("meta"):
            network = Network(self.architecture(sample))
        own = self.state_dict()
        weights = {name: own[self._own_name(name, sample)].clone() for name in network.state_dict()}
        network.load_state_dict(weights, assign=True)
        return network.train(self.training)

    def _own_name(self, name: str, sample: Mapping[str, str]) -> str:
        """Name in this space of the entry ``name`` of a frozen network's state dict."""
        if not name.startswith("blocks."):
            return name
        _, index, rest = name.split(".", 2)
        return f"blocks.{index}.{sample[self.search_space.labels[int(index)]]}.{rest}"

    def _candidates(self, index: int, size: int) -> dict[str, nn.Module]:
        space = self.search_space
        skeleton_block = space.skeleton.blocks[index]
        orthonormal = space.skeleton.orthonormal
        expand, se, project = make_expand(skeleton_block), make_se(skeleton_block), make_project(skeleton_block)
        candidates: dict[str, nn.Module] = {}
        for name in space.candidates[index]:
            block = space.block(index, name)
            own = (direction_at(index + 1),) * directed_layers(block)
            if block.expanded_channels == 0:
                candidates[name] = make_block(block, size, own, orthonormal=orthonormal)
            else:
                candidates[name] = InvertedResidual(
                    expand,
                    block.definition.module(block.slot(size, size), own),
                    se,
                    project,
                    residual=block.residual,
                    orthonormal=orthonormal,
                )
        return candidates
