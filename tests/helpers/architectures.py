"""Architectures of any kind, small ones: drawn by Hypothesis, or a fixed row of them over all operators."""

from __future__ import annotations

import random

import torch
from hypothesis import strategies as st
from torch import nn

from search_space.architecture import Architecture, Block, Head, Stem
from search_space.layers import ACTIVATIONS
from search_space.network import Network, build
from search_space.ops import operators

OPERATORS = tuple(operators)

activations = st.sampled_from(sorted(ACTIVATIONS))


@st.composite
def blocks(draw: st.DrawFn, in_channels: int) -> Block:
    operator = draw(st.sampled_from((*OPERATORS, "skip")))
    activation = draw(activations)
    if operator == "skip":
        return Block("skip", in_channels, in_channels, activation=activation)
    stride = draw(st.sampled_from((1, 2)))
    fewest = 3 if operator.startswith("inception") else 1  # a channel a tower
    out_channels = draw(st.one_of(st.just(max(in_channels, fewest)), st.integers(fewest, 11)))
    residual = stride == 1 and out_channels == in_channels and draw(st.booleans())
    block = Block(operator, in_channels, out_channels, stride, activation=activation, residual=residual)
    if operators[operator].scope == "block":
        return block
    least = 3 if operator == "mix_k357" else 1
    multiple = int(operator.rpartition("_w")[2]) if operator.startswith("group_") else 1
    widths = st.integers(least, 20 // multiple if multiple < 16 else 2).map(lambda n: n * multiple)
    if in_channels >= least and in_channels % multiple == 0:
        widths = st.one_of(st.just(in_channels), widths)
    return Block(
        operator,
        in_channels,
        out_channels,
        stride,
        expanded_channels=draw(widths),
        activation=activation,
        se_channels=draw(st.integers(0, 5)),
        se_bias=draw(st.booleans()),
        residual=residual,
        project_activation=draw(activations),
    )


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    stem = Stem(draw(st.integers(1, 9)), draw(st.sampled_from((1, 2))), draw(activations))
    channels, row = stem.channels, []
    for _ in range(draw(st.integers(1, 4))):
        row.append(draw(blocks(channels)))
        channels = row[-1].out_channels
    return Architecture(
        macro=draw(st.sampled_from(("m", "mobilenetv3-small", "My_Net-2.1"))),
        image_size=draw(st.integers(1, 13)),
        in_channels=draw(st.integers(1, 4)),
        classes=draw(st.integers(2, 7)),
        stem=stem,
        blocks=tuple(row),
        head=Head(
            draw(st.sampled_from((0, 1, 6))), draw(st.sampled_from((0, 5))), draw(activations), draw(st.booleans())
        ),
        orthonormal=draw(st.booleans()),
    )


def random_architectures(n: int = 20, blocks_each: int = 4) -> list[Architecture]:
    """``n`` architectures that have every operator between them, the same at every call."""
    rng = random.Random(0)
    names = list(OPERATORS)
    rng.shuffle(names)
    names += rng.choices([*OPERATORS, "skip"], k=n * blocks_each - len(names))
    return [_random_architecture(rng, names[k * blocks_each : (k + 1) * blocks_each]) for k in range(n)]


def _random_architecture(rng: random.Random, names: list[str]) -> Architecture:
    stem = Stem(rng.choice((4, 6)), rng.choice((1, 2)), rng.choice(list(ACTIVATIONS)))
    channels, row = stem.channels, []
    for name in names:
        row.append(_random_block(rng, name, channels))
        channels = row[-1].out_channels
    head = Head(rng.choice((0, 8)), rng.choice((0, 6)), rng.choice(list(ACTIVATIONS)), rng.random() < 0.5)
    return Architecture("random", 12, rng.choice((1, 3)), rng.randint(2, 5), stem, tuple(row), head)


def _random_block(rng: random.Random, name: str, channels: int) -> Block:
    activation = rng.choice(list(ACTIVATIONS))
    if name == "skip":
        return Block(name, channels, channels, activation=activation)
    out = rng.choice((channels, 5, 8))
    stride = rng.choice((1, 1, 2))
    residual = stride == 1 and out == channels and rng.random() < 0.7
    block = Block(name, channels, out, stride, activation=activation, residual=residual)
    if block.definition.scope == "block":
        return block
    return Block(
        name,
        channels,
        out,
        stride,
        expanded_channels=16,
        activation=activation,
        se_channels=rng.choice((0, 4)),
        se_bias=rng.random() < 0.5,
        residual=residual,
        project_activation=rng.choice(list(ACTIVATIONS)),
    )


def settled(architecture: Architecture) -> tuple[Network, torch.Tensor]:
    """A network as training might leave it, in evaluation mode, with outputs of about 1 on the images beside it:
    running statistics of its own in every batch norm, which forms of it could get wrong."""
    generator = torch.Generator().manual_seed(0)
    size = architecture.image_size
    images = torch.randn(8, architecture.in_channels, size, size, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(architecture)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, std=0.3)
                layer.momentum = 1.0  # one pass sets the statistics
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    with torch.no_grad():
        network.train()(images)
    return network.eval(), images
