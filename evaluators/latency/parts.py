"""The parts whose times add up to those of the networks of a search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from search_space.architecture import Architecture, Block
from search_space.candidates import SearchSpace
from search_space.network import ClassifierHead, Network, directed_layers, initialise, make_block, make_stem
from search_space.padding import direction_at

#: Keys of the parts that all networks of a space have in common.
EMPTY, STEM, HEAD = "empty", "stem", "head"


@dataclass(frozen=True)
class Part:
    """Something that is timed alone.

    Attributes:
        key: tells it from all other parts, and is the same in another process.
        shape: of its input: channels, height, width.
        layers: makes its module, with any weights.
    """

    key: str
    shape: tuple[int, int, int]
    layers: Callable[[], nn.Module]

    def make(self) -> nn.Module:
        """Its module with weights that are the same each time; torch's random state stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self.layers()
            initialise(module)
        return module


@dataclass(frozen=True)
class SpaceParts:
    """All parts of a space.

    Attributes:
        parts: by key; blocks that are the same on maps of the same size are one part.
        keys: ``keys[label][candidate]``; None for skip, which takes no time.
    """

    parts: Mapping[str, Part]
    keys: Mapping[str, Mapping[str, str | None]]


def space_parts(space: SearchSpace) -> SpaceParts:
    """The parts that `latency_table` needs the times of.

    Beside blocks, stem and head there is one part that computes next to nothing. Its time is that of a call, which all
    other parts contain too.
    """
    skeleton = space.skeleton
    final = (skeleton.blocks[-1].out_channels, skeleton.final_size, skeleton.final_size)
    parts = [
        Part(EMPTY, (1, 1, 1), nn.ReLU),
        Part(STEM, _input_shape(skeleton), partial(make_stem, skeleton)),
        Part(HEAD, final, partial(ClassifierHead, skeleton)),
    ]
    keys: dict[str, dict[str, str | None]] = {}
    for index, (_, size) in enumerate(skeleton.sized_blocks()):
        own = keys[space.labels[index]] = dict.fromkeys(space.candidates[index])
        for name, block in zip(own, space.choices[index], strict=True):
            if not block.is_skip:
                parts.append(_block_part(block, size))
                own[name] = parts[-1].key
    return SpaceParts({part.key: part for part in parts}, keys)


def network_part(architecture: Architecture) -> Part:
    """A whole network."""
    return Part(f"network {architecture}", _input_shape(architecture), partial(Network, architecture))


def _input_shape(architecture: Architecture) -> tuple[int, int, int]:
    return architecture.in_channels, architecture.image_size, architecture.image_size


def _block_part(block: Block, size: int) -> Part:
    # as in the middle of a network: padding by four groups, which takes longer, is for the last of the layers alone
    directions = tuple(direction_at(place + 1) for place in range(directed_layers(block)))
    layers = partial(make_block, block, size, directions, orthonormal=False)
    return Part(f"{size}x{size} {block!r}", (block.in_channels, size, size), layers)
