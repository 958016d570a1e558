"""Weights of an operator that come nearest to the kernel of a convolution, in closed form by SVD.

Everywhere a kernel has the shape (filters, channels of a group, height, width). Nearest means by the sum of squares.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_space.layers import EvenConvNormAct
from search_space.padding import FOUR_GROUPS, Direction


def blueprint_u(kernel: Tensor, module: nn.Module) -> Tensor:
    """BSConv-U: each filter the product of channel weights and one blueprint (BSConv eq. 2), its best rank-1
    factorisation. Returns the kernel that the weights make."""
    weights, blueprints = _rank_one(kernel.flatten(2))
    _set(module, "pointwise", weights)
    _set(module, "depthwise.conv", blueprints)
    return _product(weights, blueprints, kernel)


def blueprint_s(kernel: Tensor, module: nn.Module) -> Tensor:
    """BSConv-S: the channel weights of `blueprint_u` through a subspace (BSConv eq. 8).

    The basis is that of the best approximation of those weights, its rows orthonormal as the paper's loss wants them;
    then weights and blueprints are fitted to it anew. Returns the kernel that the weights make.
    """
    first, blueprints = _rank_one(kernel.flatten(2))
    scaled = first * torch.linalg.vector_norm(blueprints, dim=1, keepdim=True)
    rank = len(_weight(module, "basis"))
    basis = torch.linalg.svd(scaled, full_matrices=True).Vh[:rank]
    coordinates, blueprints = _rank_one(torch.einsum("rm,nmk->nrk", basis, kernel.flatten(2)))
    _set(module, "basis", basis)
    _set(module, "pointwise", coordinates)
    _set(module, "depthwise.conv", blueprints)
    return _product(coordinates @ basis, blueprints, kernel)


def separable(kernel: Tensor, module: nn.Module) -> Tensor:
    """Xception's separable convolution: one kernel for each input channel, shared by all filters of its group; for each
    channel the best rank-1 factorisation over the filters. Returns the kernel that the weights make."""
    filters, width = kernel.shape[:2]
    groups = len(_weight(module, "depthwise")) // width
    by_channel = kernel.reshape(groups, filters // groups, width, -1).transpose(1, 2).flatten(0, 1)
    weights, shared = _rank_one(by_channel)  # (channels, filters of a group), (channels, taps)
    pointwise = weights.reshape(groups, width, -1).transpose(1, 2).reshape(filters, width)
    _set(module, "depthwise", shared)
    _set(module, "pointwise.conv", pointwise)
    made = torch.einsum("gmn,gmk->gnmk", weights.reshape(groups, width, -1), shared.reshape(groups, width, -1))
    return made.reshape(kernel.shape)


def row_and_column(kernel: Tensor, module: nn.Module) -> Tensor:
    """XSepConv: each channel's kernel as a column times a row, the best rank-1 factorisation; the 2x2, where there is
    one, begins as the identity. Returns the kernel that the weights make."""
    columns, rows = _rank_one(kernel[:, 0])
    stem = "separated." if hasattr(module, "separated") else ""
    _set(module, f"{stem}row.conv", rows)
    _set(module, f"{stem}column.conv", columns)
    if hasattr(module, "corner"):
        corner = module.corner
        assert isinstance(corner, EvenConvNormAct)
        identity = kernel.new_zeros(len(kernel), 1, 2, 2)
        for channel, (left, top) in enumerate(_before(corner)):
            identity[channel, 0, top, left] = 1
        _set(module, "corner.conv", identity)
    return torch.einsum("ch,cw->chw", columns, rows)[:, None]


def even_sized(kernel: Tensor, module: nn.Module) -> Tensor:
    """An even-sized kernel: the taps that it shares with the old one, at the places where it has them. Returns the old
    kernel without the taps that are lost: exactly itself where the new kernel covers it."""
    assert isinstance(module, EvenConvNormAct)
    size, (height, width) = module.pad.kernel, kernel.shape[2:]
    filters, depth = kernel.shape[:2]
    groups = module.conv.groups
    made, kept = kernel.new_zeros(filters, depth, size, size), torch.zeros_like(kernel)
    before = _before(module)
    for channel in range(depth):
        for group in range(groups):
            own = slice(group * filters // groups, (group + 1) * filters // groups)
            left, top = before[group * depth + channel]
            for y in range(size):
                for x in range(size):
                    # the tap's place from the middle is the same in both
                    old_y, old_x = y - top + height // 2, x - left + width // 2
                    if 0 <= old_y < height and 0 <= old_x < width:
                        made[own, channel, y, x] = kernel[own, channel, old_y, old_x]
                        kept[own, channel, old_y, old_x] = kernel[own, channel, old_y, old_x]
    _set(module, "conv", made)
    return kept


def _before(layer: EvenConvNormAct) -> list[tuple[int, int]]:
    """For each input channel, zeros on the left and above: how far the kernel's first tap lies before the pixel."""
    sizes = layer.pad.groups
    if layer.pad.direction is not Direction.FOUR_GROUP:
        left, _, top, _ = layer.pad.direction.zeros(layer.pad.kernel)
        return [(left, top)] * sum(sizes)
    found: list[tuple[int, int]] = []
    for count, direction in zip(sizes, FOUR_GROUPS, strict=True):
        left, _, top, _ = direction.zeros(layer.pad.kernel)
        found += [(left, top)] * count
    return found


def _rank_one(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (n, rows) and (n, columns) whose products are nearest to ``matrices`` (n, rows, columns), of equal
    norms."""
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    root = values[:, :1].sqrt()
    return left[:, :, 0] * root, right[:, 0] * root


def _product(weights: Tensor, blueprints: Tensor, kernel: Tensor) -> Tensor:
    return torch.einsum("nm,nk->nmk", weights, blueprints).reshape(kernel.shape)


def _weight(module: nn.Module, path: str) -> Tensor:
    weight = module.get_submodule(path).weight
    assert isinstance(weight, Tensor)
    return weight


def _set(module: nn.Module, path: str, values: Tensor) -> None:
    weight = _weight(module, path)
    with torch.no_grad():
        weight.copy_(values.reshape(weight.shape))
