"""Algebraic identities of the operators, from the papers' equations: without activations, batch norms neutralised."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import Slot, operators
from search_space.ops.depthwise import Depthwise
from search_space.ops.grouped import Grouped
from search_space.padding import Direction
from search_space.registry import Operator

KERNELS = (3, 5, 7)


def linear(operator: Operator, in_channels: int, out_channels: int, stride: int = 1, size: int = 12) -> nn.Module:
    """The operator in double precision with weights from N(0, 1) and nothing non-linear in it."""
    slot = Slot(in_channels, out_channels, stride, size, size, "none")
    module = operator.module(slot, (Direction.RIGHT_BOTTOM,) * operator.directed_layers).double().eval()
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0
        elif isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, generator=generator)
    return module


def noise(channels: int, size: int = 12) -> Tensor:
    return torch.randn(2, channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def dense(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", KERNELS)
def test_bsconv_u_is_a_dense_convolution_with_one_blueprint_a_filter(k: int, stride: int) -> None:
    module, x = linear(operators[f"bsconv_u_k{k}"], 5, 7, stride), noise(5)
    w, blueprint = module.pointwise.weight[:, :, 0, 0], module.depthwise.conv.weight[:, 0]
    kernel = torch.einsum("nm,nij->nmij", w, blueprint)  # BSConv eq. 2: F[n, m] = w[n, m] * B[n]
    torch.testing.assert_close(module(x), dense(x, kernel, stride))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", KERNELS)
def test_bsconv_s_factorises_the_weights_of_bsconv_u(k: int, stride: int) -> None:
    module, x = linear(operators[f"bsconv_s_k{k}"], 13, 7, stride), noise(13)
    basis, loadings = module.basis.weight[:, :, 0, 0], module.pointwise.weight[:, :, 0, 0]
    assert basis.shape == (3, 13)  # ceil(13 / 6)
    kernel = torch.einsum("nm,nij->nmij", loadings @ basis, module.depthwise.conv.weight[:, 0])  # eq. 8: W = W_A W_B
    torch.testing.assert_close(module(x), dense(x, kernel, stride))


@pytest.mark.parametrize(("in_channels", "subspace"), [(1, 1), (6, 1), (7, 2), (12, 2), (16, 3), (96, 16)])
def test_subspace_of_bsconv_s_is_a_sixth_of_the_channels_rounded_up(in_channels: int, subspace: int) -> None:
    module = linear(operators["bsconv_s_k3"], in_channels, 4)
    assert module.basis.out_channels == subspace


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", KERNELS)
def test_separable_convolution_is_a_dense_one_with_one_kernel_an_input_channel(k: int, stride: int) -> None:
    module, x = linear(operators[f"sep_k{k}"], 5, 7, stride), noise(5)
    w, kernels = module.pointwise.conv.weight[:, :, 0, 0], module.depthwise.weight[:, 0]
    kernel = torch.einsum("nm,mij->nmij", w, kernels)  # F[n, m] = w[n, m] * B[m]
    torch.testing.assert_close(module(x), dense(x, kernel, stride))


def outer(separated: nn.Module) -> Tensor:
    """The k x k kernels, (channels, k, k), that 1 x k and k x 1 make together."""
    return separated.column.conv.weight[:, 0] * separated.row.conv.weight[:, 0]


def composed(kernels: Tensor, corners: Tensor) -> Tensor:
    """Kernels, (channels, k + 1, k + 1), of ``corners`` (2 x 2) and ``kernels`` (k x k) one after the other."""
    channels, k, _ = kernels.shape
    result = torch.zeros(channels, k + 1, k + 1, dtype=kernels.dtype)
    for row in range(2):
        for column in range(2):
            result[:, row : row + k, column : column + k] += corners[:, row, column, None, None] * kernels
    return result


@pytest.mark.parametrize("k", KERNELS)
@pytest.mark.parametrize("name", ["xsep", "xsep_b"])
def test_linear_xsepconv_is_one_larger_depthwise_kernel_away_from_borders(name: str, k: int) -> None:
    module, x = linear(operators[f"{name}_k{k}"], 6, 6, size=16), noise(6, size=16)
    kernel = composed(outer(module.separated), module.corner.conv.weight[:, 0])
    expected = F.conv2d(x, kernel[:, None], groups=6)
    inside = slice(k // 2, k // 2 + 16 - k)
    torch.testing.assert_close(module(x)[..., inside, inside], expected)


@pytest.mark.parametrize("k", KERNELS)
def test_linear_parallel_xsepconv_adds_the_corner_to_the_middle_of_the_kernel(k: int) -> None:
    module, x = linear(operators[f"xsep_p_k{k}"], 6, 6), noise(6)
    kernel = outer(module.separated).clone()
    middle = slice(k // 2, k // 2 + 2)
    kernel[:, middle, middle] += module.corner.conv.weight[:, 0]
    torch.testing.assert_close(module(x), F.conv2d(x, kernel[:, None], padding=k // 2, groups=6))


@pytest.mark.parametrize("k", KERNELS)
@pytest.mark.parametrize("stride", [1, 2])
def test_separated_kernels_alone_are_rank_one_depthwise_kernels(k: int, stride: int) -> None:
    module, x = linear(operators[f"xsep_no2x2_k{k}"], 6, 6, stride), noise(6)
    kernel = outer(module)[:, None]
    torch.testing.assert_close(module(x), F.conv2d(x, kernel, stride=stride, padding=k // 2, groups=6))


@pytest.mark.parametrize("k", KERNELS)
@pytest.mark.parametrize(
    ("name", "extra"), [("dw", 0), ("xsep", 1), ("xsep_b", 1), ("xsep_no2x2", 0), ("sep", 0), ("bsconv_u", 0)]
)
def test_receptive_field_of_xsepconv_is_one_larger(name: str, extra: int, k: int) -> None:
    x = noise(4, size=17).requires_grad_()
    linear(operators[f"{name}_k{k}"], 4, 4, size=17)(x)[0, 0, 8, 8].backward()
    assert x.grad is not None
    seen = x.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [k + extra, k + extra]
    assert len(seen) == (k + extra) ** 2


def test_mixed_kernels_are_three_depthwise_convolutions_side_by_side() -> None:
    module, x = linear(operators["mix_k357"], 8, 8), noise(8)
    towers = list(module.towers.values())
    assert [(t.kernel_size[0], t.out_channels) for t in towers] == [(3, 3), (5, 3), (7, 2)]  # 8 in near-equal thirds
    separate = [
        F.conv2d(x[:, part], tower.weight, padding=tower.kernel_size[0] // 2, groups=tower.out_channels)
        for part, tower in zip((slice(0, 3), slice(3, 6), slice(6, 8)), towers, strict=True)
    ]
    torch.testing.assert_close(module(x), torch.cat(separate, dim=1))


@pytest.mark.parametrize("stride", [1, 2])
def test_one_channel_a_group_is_depthwise(stride: int) -> None:
    grouped, depthwise = linear(Grouped(3, group_width=1), 6, 6, stride), linear(Depthwise(3), 6, 6, stride)
    depthwise.load_state_dict(grouped.state_dict())
    torch.testing.assert_close(grouped(noise(6)), depthwise(noise(6)))
    slot = Slot(6, 6, stride, 12, 12, "none")
    assert Grouped(3, group_width=1).cost(slot) == Depthwise(3).cost(slot)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("width", [2, 4, 8, 16])
def test_grouped_convolution_is_a_block_diagonal_dense_one(k: int, width: int) -> None:
    module, x = linear(operators[f"group_k{k}_w{width}"], 16, 16), noise(16)
    weight = module.conv.weight
    kernel = torch.zeros(16, 16, k, k, dtype=torch.float64)
    for start in range(0, 16, width):
        group = slice(start, start + width)
        kernel[group, group] = weight[group]
    torch.testing.assert_close(module(x), dense(x, kernel, 1))


@pytest.mark.parametrize("k", KERNELS)
def test_linear_depthwise_is_depthwise_before_its_activation(k: int) -> None:
    slot = Slot(6, 6, 1, 8, 8, "hardswish")
    plain, bare = operators[f"dw_k{k}"].module(slot, ()), operators[f"dw_linear_k{k}"].module(slot, ())
    bare.load_state_dict(plain.state_dict())
    x = torch.randn(4, 6, 8, 8)
    torch.testing.assert_close(F.hardswish(bare(x)), plain(x))
