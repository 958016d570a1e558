"""The same network counted by other conventions than MACs, for comparison with figures found elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from search_space.architecture import Architecture
from search_space.network import Network

#: Activations that NNI's profiler has a formula for; hard-swish, hard-sigmoid and the like it counts as 0.
_COUNTED_BY_NNI = (nn.ReLU, nn.ReLU6, nn.ELU)


def nni_flops(architecture: Architecture) -> int:
    """What ``nni.nas.profiler.pytorch.flops.FlopsProfiler`` with its defaults counts on the built network.

    Multiply-accumulates and bias additions of convolutions and linear layers, four operations an element of a batch
    norm, one of those activations it knows. It is counted here from the layers' shapes, as NNI's own shape inference
    cannot follow the padding of even kernels nor channel splits.
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
        network = Network(architecture).eval()
        for layer in network.modules():
            layer.register_forward_hook(count)
        network(torch.empty(1, architecture.in_channels, architecture.image_size, architecture.image_size))
    return total
