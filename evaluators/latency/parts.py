"""The parts whose times add up to those of the networks of a search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from search_space.architecture import Architecture, Block
from search_space.candidates import SearchSpace
from search_space.network import ClassifierHead, build, directed_layers, initialise, make_block, make_stem
from search_space.padding import direction_at

#: Keys of the parts that all networks of a space have in common.
EMPTY, STEM, HEAD = "empty", "stem", "head"


@dataclass(frozen=True)
class Part:
    """Something that is timed alone.

    Attributes:
        key: tells it from all other parts, and is the same in another process.
        shape: of its input: channels, height, width.
        make: makes its module.
    """

    key: str
    shape: tuple[int, int, int]
    make: Callable[[], nn.Module]


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
    """What `latency_table` needs to be told the times of.

    Beside blocks, stem and head there is one part that computes next to nothing: the time it takes to call anything,
    which the others contain as well.
    """
    skeleton = space.skeleton
    width, size = skeleton.blocks[-1].out_channels, skeleton.final_size
    image = (skeleton.in_channels, skeleton.image_size, skeleton.image_size)
    parts = {
        EMPTY: Part(EMPTY, (1, 1, 1), nn.ReLU),
        STEM: Part(STEM, image, partial(_initialised, partial(make_stem, skeleton))),
        HEAD: Part(HEAD, (width, size, size), partial(_initialised, partial(ClassifierHead, skeleton))),
    }
    keys: dict[str, dict[str, str | None]] = {}
    for index, (_, side) in enumerate(skeleton.sized_blocks()):
        own: dict[str, str | None] = {}
        for name, block in zip(space.candidates[index], space.choices[index], strict=True):
            if block.is_skip:
                own[name] = None
                continue
            key = f"{side}x{side} {block!r}"
            parts[key] = Part(key, (block.in_channels, side, side), partial(_block, block, side))
            own[name] = key
        keys[space.labels[index]] = own
    return SpaceParts(parts, keys)


def network_part(architecture: Architecture) -> Part:
    """A whole network."""
    shape = (architecture.in_channels, architecture.image_size, architecture.image_size)
    return Part(f"network {architecture}", shape, partial(whole_network, architecture))


def whole_network(architecture: Architecture) -> nn.Module:
    """A network with weights of its initialisation; leaves torch's random state as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(architecture)


def _block(block: Block, size: int) -> nn.Module:
    # as in the middle of a network: padding by four groups, which takes longer, is for the last of them alone
    directions = tuple(direction_at(place + 1) for place in range(directed_layers(block)))
    return _initialised(partial(make_block, block, size, directions, orthonormal=False))


def _initialised(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make()
        initialise(module)
    return module
