"""The NNI form of a search space: one labelled `LayerChoice` per block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import current_model
from torch import Tensor, nn

from search_space.architecture import Architecture
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.network import ClassifierHead, Network, build, make_stem
from search_space.sliced import inherited_state
from search_space.supernet import initialise_supernet, supernet_candidates


class SepConvSpace(ModelSpace):
    """The supernet of ``space`` (kept as ``.search_space``; by default `SearchSpace.create()`), for every NNI strategy.

    The candidates of a block are complete blocks that share layers (`search_space.supernet`); parameters are counted
    once. Maps ``(batch, in_channels, image_size, image_size)`` to logits ``(batch, classes)``. In the supernet every
    even-sized layer is padded by the direction of its block's position; a frozen network gets the exact ones.
    """

    def __init__(self, space: SearchSpace | None = None) -> None:
        super().__init__()
        self.search_space = space = SearchSpace.create() if space is None else space
        sample = current_model()
        if sample is not None:  # NNI rebuilds one model of the space from its sample
            network = build(self.architecture(sample))
            self.stem, self.blocks, self.head = network.stem, network.blocks, network.head
            return
        skeleton = space.skeleton
        self.stem = make_stem(skeleton)
        self.blocks = nn.Sequential()
        for index, (_, size) in enumerate(skeleton.sized_blocks()):
            candidates = supernet_candidates(space.choices[index], space.candidates[index], index=index, size=size)
            self.blocks.append(LayerChoice(candidates, label=space.labels[index]))
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

        NNI's own freeze shares tensors with the supernet.
        """
        self.validate(sample)
        # on "meta" nothing is allocated or initialised, and torch's random state stays as it is
        with torch.device("meta"):
            network = Network(self.architecture(sample))
        state = {f"stem.{name}": tensor for name, tensor in self.stem.state_dict().items()}
        for index, label in enumerate(self.search_space.labels):
            candidate = self.blocks.get_submodule(f"{index}.{sample[label]}")
            state.update({f"blocks.{index}.{name}": tensor for name, tensor in inherited_state(candidate).items()})
        state.update({f"head.{name}": tensor for name, tensor in self.head.state_dict().items()})
        network.load_state_dict({name: tensor.detach().clone() for name, tensor in state.items()}, assign=True)
        return network.train(self.training)
