"""Every operator against its definition written out in plain convolutions, and the algebraic identities of the papers.

The references take nothing from `search_space` but weights; the identities neutralise activations and batch norms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import Slot, operators
from search_space.ops.depthwise import Depthwise
from search_space.ops.grouped import Grouped
from search_space.padding import Direction, near_equal_split
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


@dataclass(frozen=True)
class Plain:
    """Layers in plain `torch.nn.functional` on the state dict of a module; the activation is hardswish."""

    weights: dict[str, Tensor]
    stride: int
    training: bool

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[f"{name}.weight"]

    def norm(self, x: Tensor, *names: str) -> Tensor:
        """One batch norm with the statistics and weights of ``names`` side by side."""
        mean, var, weight, bias = (
            torch.cat([self.weights[f"{name}.{part}"] for name in names])
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, training=self.training)

    def layer(self, x: Tensor, name: str, stride: int | tuple[int, int] = 1) -> Tensor:
        """Convolution, batch norm, activation of one `ConvNormAct`."""
        return F.hardswish(self.norm(same(x, self[f"{name}conv"], stride), f"{name}norm"))

    def even_layer(self, x: Tensor, name: str, sides: Iterable[str], stride: int) -> Tensor:
        kernel = centred(self[f"{name}conv"], sides)
        return F.hardswish(self.norm(same(x, kernel, stride), f"{name}norm"))


def same(x: Tensor, weight: Tensor, stride: int | tuple[int, int] = 1) -> Tensor:
    """Convolution by odd kernels; the groups follow from the shapes."""
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return F.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1] // weight.shape[1])


FOUR_SIDES = ("left top", "right bottom", "left bottom", "right top")


def four_groups(channels: int) -> list[str]:
    """The sides of every input channel, in four near-equal groups."""
    parts = torch.arange(channels).tensor_split(4)
    return [sides for part, sides in zip(parts, FOUR_SIDES, strict=True) for _ in part]


def centred(weight: Tensor, sides: Iterable[str]) -> Tensor:
    """Even kernels as odd ones with a row and a column of zeros: behind them where left and top are padded more.

    One of ``sides`` for every input channel.
    """
    n, m, k, _ = weight.shape
    kernel = torch.zeros(n, m, k + 1, k + 1, dtype=weight.dtype)
    for channel, side in enumerate(sides):
        row, column = int("bottom" in side), int("right" in side)
        own = (channel, 0) if m == 1 else (slice(None), channel)  # depthwise or dense
        kernel[own][..., row : row + k, column : column + k] = weight[own]
    return kernel


def depthwise_reference(own: Plain, x: Tensor) -> Tensor:
    return own.layer(x, "", own.stride)


def linear_depthwise_reference(own: Plain, x: Tensor) -> Tensor:
    return own.norm(same(x, own["conv"], own.stride), "norm")


def symmetric_even_reference(own: Plain, x: Tensor) -> Tensor:
    return own.even_layer(x, "", four_groups(x.shape[1]), own.stride)


def asymmetric_even_reference(own: Plain, x: Tensor) -> Tensor:
    return own.even_layer(x, "", ["right bottom"] * x.shape[1], own.stride)


def mixed_reference(own: Plain, x: Tensor) -> Tensor:
    towers = [f"towers.k{k}" for k in KERNELS]
    mixed = [same(s, own[f"{t}.conv"], own.stride) for s, t in zip(x.tensor_split(3, dim=1), towers, strict=True)]
    return F.hardswish(own.norm(torch.cat(mixed, dim=1), *(f"{tower}.norm" for tower in towers)))  # one for all


def separated(own: Plain, x: Tensor, name: str = "") -> Tensor:
    return own.layer(own.layer(x, f"{name}row.", (1, own.stride)), f"{name}column.", (own.stride, 1))


def corner(own: Plain, x: Tensor, stride: int = 1) -> Tensor:
    return own.even_layer(x, "corner.", ["left bottom"] * x.shape[1], stride)  # the direction of the tests' modules


def xsep_reference(own: Plain, x: Tensor) -> Tensor:
    return separated(own, corner(own, x), "separated.")


def xsep_sp_reference(own: Plain, x: Tensor) -> Tensor:
    return separated(own, own.even_layer(x, "corner.", four_groups(x.shape[1]), 1), "separated.")


def xsep_b_reference(own: Plain, x: Tensor) -> Tensor:
    return corner(own, separated(own, x, "separated."))


def xsep_p_reference(own: Plain, x: Tensor) -> Tensor:
    return separated(own, x, "separated.") + corner(own, x, own.stride)


def separable_reference(between: Callable[[Tensor], Tensor]) -> Callable[[Plain, Tensor], Tensor]:
    return lambda own, x: own.layer(between(same(x, own["depthwise"], own.stride)), "pointwise.")


def hybrid_reference(own: Plain, x: Tensor) -> Tensor:
    # as a ResNeXt with a path a channel: the sum over channels of what each adds to all outputs
    depthwise, pointwise = own["depthwise"], own["pointwise.conv"]
    paths = [
        same(same(x[:, c : c + 1], depthwise[c : c + 1], own.stride), pointwise[:, c : c + 1])
        for c in range(x.shape[1])
    ]
    return own.norm(torch.stack(paths).sum(0), "pointwise.norm")


def bsconv_u_reference(own: Plain, x: Tensor) -> Tensor:
    return own.layer(same(x, own["pointwise"]), "depthwise.", own.stride)


def bsconv_s_reference(own: Plain, x: Tensor) -> Tensor:
    return own.layer(same(same(x, own["basis"]), own["pointwise"]), "depthwise.", own.stride)


def block_diagonal(kernels: list[Tensor]) -> Tensor:
    """One dense kernel that does what ``kernels`` do to segments of the channels."""
    k, taps = kernels[0].shape[-1], [kernel.flatten(2).unbind(2) for kernel in kernels]
    return torch.stack([torch.block_diag(*at) for at in zip(*taps, strict=True)], dim=2).unflatten(2, (k, k))


def inception(own: Plain, x: Tensor, towers: tuple[str, ...]) -> Tensor:
    """One 1x1 and one dense k x k convolution whose kernel is zero between the towers."""
    pointwise = torch.cat([own[f"{tower}conv"] for tower in towers])
    reduced = F.hardswish(own.norm(same(x, pointwise), *(f"{tower}norm" for tower in towers)))
    kernel = block_diagonal([own[f"spatial.{tower}"] for tower in range(3)])
    return F.hardswish(own.norm(same(reduced, kernel, own.stride), "norm"))


def inception_reference(own: Plain, x: Tensor) -> Tensor:
    return inception(own, x, ("reduce.0.", "reduce.1.", "reduce.2."))


def reformulated_inception_reference(own: Plain, x: Tensor) -> Tensor:
    return inception(own, x, ("reduce.",))


def resnext_reference(own: Plain, x: Tensor) -> Tensor:
    """Form (a) of the paper's figure 3: a sum over paths, each 1x1 to 4 channels, k x k, 1x1."""
    total = torch.zeros(())
    for first in range(0, own["reduce.conv"].shape[0], 4):
        segment = slice(first, first + 4)
        weights = {
            name: tensor[:, segment] if name == "restore.conv.weight" else tensor[segment]
            for name, tensor in own.weights.items()
            if tensor.ndim
        }
        path = replace(own, weights=weights)
        transformed = path.layer(path.layer(x, "reduce."), "paths.", own.stride)
        total = total + same(transformed, path["restore.conv"])
    return own.norm(total, "restore.norm")


def pair_reference(form: str) -> Callable[[Plain, Tensor], Tensor]:
    """Two convolutions of ``form`` and the 1x1 shortcut, which these tests always need: they change the channels."""

    def reference(own: Plain, x: Tensor) -> Tensor:
        before = "preres" in form
        main, side = ("0.2.branches.0.", "0.2.branches.1.") if before else ("0.branches.0.", "0.branches.1.")
        if before:
            x = F.hardswish(own.norm(x, "0.0"))
        y = form_reference(own, f"{main}0", x, own.stride)
        y = F.hardswish(own.norm(y, f"{main}1"))
        y = form_reference(own, f"{main}3", y, 1)
        shortcut = F.conv2d(x, own.weights[f"{side}0.weight"], stride=own.stride)
        return y + shortcut if before else own.norm(y, f"{main}4") + own.norm(shortcut, f"{side}1")

    return reference


def form_reference(own: Plain, name: str, x: Tensor, stride: int) -> Tensor:
    """The dense convolution that a form equals: BSConv's equations 2 and 8, Xception's separable one, and C2sp as four
    3x3 kernels whose zeros lie on the sides that are not padded."""

    def part(role: str) -> Tensor:
        return own.weights[f"{name}.{role}.weight"]

    parts = {key.removeprefix(f"{name}.").rpartition(".")[0] for key in own.weights if key.startswith(f"{name}.")}
    if parts == {""}:
        kernel = own.weights[f"{name}.weight"]
    elif "basis" in parts:
        kernel = torch.einsum("nrij,rmij->nmij", part("pointwise"), part("basis")) * part("depthwise")
    elif "conv" in parts:
        kernel = torch.zeros(*part("conv").shape[:2], 3, 3, dtype=x.dtype)
        sizes, at = near_equal_split(x.shape[1], 4), 0
        # padding left and top sees what lies there: the upper left corner of a 3x3 kernel; and so on
        for size, (row, column) in zip(sizes, ((0, 0), (1, 1), (1, 0), (0, 1)), strict=True):
            group = slice(at, at + size)
            kernel[:, group, row : row + 2, column : column + 2] = part("conv")[:, group]
            at += size
    elif list(own.weights).index(f"{name}.depthwise.weight") < list(own.weights).index(f"{name}.pointwise.weight"):
        kernel = part("pointwise") * part("depthwise").squeeze(1)[None]  # separable: the depthwise kernels come first
    else:
        kernel = part("pointwise") * part("depthwise")
    return F.conv2d(x, kernel, stride=stride, padding=1)


#: by a pattern of operator names, each of which must match exactly one
REFERENCES: dict[str, Callable[[Plain, Tensor], Tensor]] = {
    r"dw_k\d|group_k\d_w\d+": depthwise_reference,
    r"dw_linear_k\d": linear_depthwise_reference,
    r"c[24]sp(_conv)?": symmetric_even_reference,
    r"c[24]": asymmetric_even_reference,
    r"mix_k357": mixed_reference,
    r"xsep_k\d": xsep_reference,
    r"xsep_sp_k\d": xsep_sp_reference,
    r"xsep_b_k\d": xsep_b_reference,
    r"xsep_p_k\d": xsep_p_reference,
    r"xsep_no2x2_k\d": separated,
    r"sep_k\d": separable_reference(lambda x: x),
    r"sep_relu_k\d": separable_reference(F.relu),
    r"sep_elu_k\d": separable_reference(F.elu),
    r"hybrid_k\d": hybrid_reference,
    r"bsconv_u_k\d": bsconv_u_reference,
    r"bsconv_s_k\d": bsconv_s_reference,
    r"inception_k\d": inception_reference,
    r"inception_re_k\d": reformulated_inception_reference,
    r"resnext_k\d": resnext_reference,
    r"res_.*": pair_reference("res"),
    r"preres_.*": pair_reference("preres"),
}


def references(name: str) -> list[Callable[[Plain, Tensor], Tensor]]:
    return [reference for pattern, reference in REFERENCES.items() if re.fullmatch(pattern, name)]


@pytest.mark.parametrize("name", operators)
def test_every_operator_has_a_reference(name: str) -> None:
    assert len(references(name)) == 1, f"{name} has no reference in this file, or several: see REFERENCES"


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", operators)
def test_operators_are_what_their_references_say(name: str, stride: int, training: bool) -> None:
    operator = operators[name]
    channels = 32 if name.startswith("group") else 10
    slot = Slot(channels, channels if operator.scope == "spatial" else 14, stride, 9, 8, "hardswish")
    module = operator.module(slot, (Direction.LEFT_BOTTOM,) * operator.directed_layers).double().train(training)
    generator = torch.Generator().manual_seed(2)
    for parameter_name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if parameter_name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        else:
            tensor.normal_(generator=generator)
    x = torch.randn(3, channels, 9, 8, dtype=torch.float64, generator=generator)
    weights = {parameter_name: tensor.clone() for parameter_name, tensor in module.state_dict().items()}
    expected = references(name)[0](Plain(weights, stride, training), x)
    torch.testing.assert_close(module(x), expected)
