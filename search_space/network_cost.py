"""Closed-form cost of an architecture: the sum over stem, blocks and head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from search_space.architecture import Architecture, Block
from search_space.blueprint import AnyNetwork, Blueprint
from search_space.layer_cost import Cost, conv_cost, downsampled, linear_cost
from search_space.network import build


def cost(architecture: AnyNetwork) -> Cost:
    """MACs of one image and trainable parameters of ``build(architecture)`` (convention: `search_space.layer_cost`)."""
    if isinstance(architecture, Blueprint):
        return architecture.cost()
    total = stem_cost(architecture) + head_cost(architecture)
    for block, size in architecture.sized_blocks():
        total += block_cost(block, size)
    return total


def block_cost(block: Block, size: int) -> Cost:
    """What one block costs on a ``size`` x ``size`` map."""
    if block.is_skip:
        return Cost()
    slot = block.slot(size, size)
    total = block.definition.cost(slot)
    if not block.is_inverted_residual:
        return total
    expanded = block.expanded_channels
    if block.has_expand:
        total += conv_cost(block.in_channels, expanded, (1, 1), (size, size))
    if block.se_channels:
        for pair in ((expanded, block.se_channels), (block.se_channels, expanded)):
            total += conv_cost(*pair, (1, 1), (1, 1), bias=block.se_bias, norm=False)
    return total + conv_cost(expanded, block.out_channels, (1, 1), slot.out_size)


def stem_cost(architecture: Architecture) -> Cost:
    """What the stem costs."""
    stem = architecture.stem
    size = downsampled(architecture.image_size, stem.stride)
    return conv_cost(architecture.in_channels, stem.channels, (3, 3), (size, size), norm=not stem.bare)


def head_cost(architecture: Architecture) -> Cost:
    """What the head costs, the classifier included."""
    head, size = architecture.head, architecture.final_size
    width = architecture.blocks[-1].out_channels
    total = Cost(params=2 * width if head.norm_first else 0)
    if head.channels:
        total += conv_cost(width, head.channels, (1, 1), (size, size))
        width = head.channels
    if head.features:
        total += linear_cost(width, head.features, bias=head.features_bias)
        width = head.features
    return total + linear_cost(width, architecture.classes, bias=True)


#: Activations that NNI's profiler has a formula for; hard-swish, hard-sigmoid and the like it counts as 0.
_COUNTED_BY_NNI = (nn.ReLU, nn.ReLU6, nn.ELU)


def nni_flops(architecture: AnyNetwork) -> int:
    """What ``nni.nas.profiler.pytorch.flops.FlopsProfiler`` with its defaults counts on the built network.

    That is multiply-accumulates and bias additions of convolutions and linear layers, four operations per element of a
    batch norm, one of the activations it knows. NNI's own shape inference cannot follow even kernels nor channel
    splits.
    """
    total = 0

    def count(layer: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            weights = layer.weight[0].numel() + (layer.bias is not None)
            total += output.numel() * weights
        elif isinstance(layer, nn.Linear):
            total += output.numel() * (layer.in_features + (layer.bias is not None))
        elif isinstance(layer, nn.BatchNorm2d):
            total += 4 * inputs[0].numel()
        elif isinstance(layer, _COUNTED_BY_NNI):
            total += inputs[0].numel()

    with torch.device("meta"), torch.no_grad():
        network = build(architecture).eval()
        for layer in network.modules():
            layer.register_forward_hook(count)
        network(torch.empty(1, architecture.in_channels, architecture.image_size, architecture.image_size))
    return total
