"""The module that takes the place of one convolution: an operator of the registry, fitted to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from search_space.conversion.targets import Target
from search_space.layers import ConvNormAct, EvenConvNormAct
from search_space.padding import Direction
from search_space.registry import Operator, Slot

#: what networks ask their convolutions for
_FACTS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


def operator_for(target: Target, layer: nn.Conv2d) -> Operator:
    """The operator of ``target`` in the kernel size of ``layer``, unless that of the target is even."""
    return target.make(target.even or max(layer.kernel_size))


def replacement(
    operator: Operator, layer: nn.Conv2d, directions: tuple[Direction, ...], *, between: str = "none"
) -> nn.Module:
    """``operator`` as a convolution: without the batch norm and activation at its end, which the network has already.

    It keeps the stride, padding, dilation, groups, bias, dtype, device and memory format of ``layer``, whether it is
    trained, and its sizes as attributes. Between its layers stand batch norm and the activation ``between``, or nothing
    if that is "none". Its weights are drawn from torch's global random state: the last layer's as torch draws those of
    a convolution, all others so that they keep the variance.
    """
    stride = 2 if max(layer.stride) > 1 else 1  # which of its layers have one, and along which axis
    module = operator.module(Slot(layer.in_channels, layer.out_channels, stride, 1, 1, between), directions)
    for part in list(module.modules()):
        padded = isinstance(part, EvenConvNormAct)
        for name, own in part.named_children():
            if isinstance(own, nn.Conv2d):
                setattr(part, name, _fitted(own, layer, padded=padded))
    joined = [part for part in module.modules() if isinstance(part, ConvNormAct | EvenConvNormAct)]
    for part in joined if between == "none" else joined[-1:]:
        part._modules.update(norm=nn.Identity(), act=nn.Identity())
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    for part in convolutions[:-1]:
        nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
    last = convolutions[-1]
    if layer.bias is not None:
        last.bias = nn.Parameter(torch.empty_like(layer.bias))
    last.reset_parameters()
    module.to(device=layer.weight.device, dtype=layer.weight.dtype)
    if layer.weight.is_contiguous(memory_format=torch.channels_last) and not layer.weight.is_contiguous():
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None:
        assert last.bias is not None
        last.bias.requires_grad_(layer.bias.requires_grad)
    for fact in _FACTS:
        setattr(module, fact, getattr(layer, fact))
    return module.train(layer.training)


def take_weights(target: Target, layer: nn.Conv2d, module: nn.Module) -> float:
    """Give ``module``, the `replacement` of ``layer``, the weights that come nearest to its own, and its bias.

    Returns the distance of the kernels, as a share of the old one's norm.
    """
    kernel = layer.weight.detach().double()
    error = torch.linalg.vector_norm(target.nearest(kernel, module) - kernel)
    if layer.bias is not None:
        last = [part for part in module.modules() if isinstance(part, nn.Conv2d)][-1]
        assert last.bias is not None
        with torch.no_grad():
            last.bias.copy_(layer.bias)
    return float(error / torch.linalg.vector_norm(kernel).clamp_min(torch.finfo(torch.float64).tiny))


def _fitted(own: nn.Conv2d, layer: nn.Conv2d, *, padded: bool) -> nn.Conv2d:
    """A convolution of an operator with the geometry of ``layer`` along those axes along which its kernel extends;
    ``padded`` if the zeros are added in front of it."""
    kernel, extends = own.kernel_size, [size > 1 for size in own.kernel_size]
    if all(extends) and not padded:  # one of the layer's size, which need not be square
        kernel = layer.kernel_size
    padding: Any = layer.padding
    if padded:
        padding = 0
    elif not isinstance(padding, str):  # "same" adds nothing along the others
        padding = tuple(zeros if extended else 0 for zeros, extended in zip(padding, extends, strict=True))
    return nn.Conv2d(
        own.in_channels,
        own.out_channels,
        (kernel[0], kernel[1]),
        stride=_where([step > 1 for step in own.stride], layer.stride),
        padding=padding,
        dilation=(1, 1) if padded else _where(extends, layer.dilation),
        groups=own.groups if own.groups > 1 else layer.groups,
        bias=False,
        padding_mode="zeros" if padded or not any(extends) else layer.padding_mode,
    )


def _where(chosen: list[bool], values: tuple[int, ...]) -> tuple[int, int]:
    one, two = (value if choice else 1 for choice, value in zip(chosen, values, strict=True))
    return one, two
