"""Closed-form cost of an architecture: the sum over stem, blocks and head."""

from __future__ import annotations

from search_space.architecture import Architecture, Block, Head, Stem
from search_space.layer_cost import Cost, conv_cost, downsampled, linear_cost


def cost(architecture: Architecture) -> Cost:
    """MACs of one image and trainable parameters of ``build(architecture)`` (convention: `search_space.layer_cost`)."""
    total = fixed_cost(architecture)
    for block, size in architecture.sized_blocks():
        total += block_cost(block, size)
    return total


def fixed_cost(architecture: Architecture) -> Cost:
    """What stem and head cost, whatever the blocks are."""
    a = architecture
    stem = _stem_cost(a.stem, a.in_channels, a.image_size)
    return stem + _head_cost(a.head, a.blocks[-1].out_channels, a.final_size, a.classes)


def block_cost(block: Block, size: int) -> Cost:
    """What one block costs on a ``size`` x ``size`` map."""
    if block.is_skip:
        return Cost()
    slot = block.slot(size, size)
    total = block.definition.cost(slot)
    if block.expanded_channels == 0:
        return total
    expanded = block.expanded_channels
    if block.has_expand:
        total += conv_cost(block.in_channels, expanded, (1, 1), (size, size))
    if block.se_channels:
        for pair in ((expanded, block.se_channels), (block.se_channels, expanded)):
            total += conv_cost(*pair, (1, 1), (1, 1), bias=block.se_bias, norm=False)
    return total + conv_cost(expanded, block.out_channels, (1, 1), slot.out_size)


def _stem_cost(stem: Stem, in_channels: int, image_size: int) -> Cost:
    size = downsampled(image_size, stem.stride)
    return conv_cost(in_channels, stem.channels, (3, 3), (size, size))


def _head_cost(head: Head, in_channels: int, size: int, classes: int) -> Cost:
    total, width = Cost(), in_channels
    if head.channels:
        total += conv_cost(width, head.channels, (1, 1), (size, size))
        width = head.channels
    if head.features:
        total += linear_cost(width, head.features, bias=head.features_bias)
        width = head.features
    return total + linear_cost(width, classes, bias=True)
