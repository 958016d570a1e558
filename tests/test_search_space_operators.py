"""What every operator promises as a module: shapes, types, gradients, memory formats, export."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from search_space import Architecture, Block, Head, Slot, Stem, build, operators
from search_space.padding import Direction

OPERATORS = tuple(operators)


def make(
    name: str, stride: int = 1, size: tuple[int, int] = (6, 6), activation: str = "relu"
) -> tuple[nn.Module, Slot]:
    """The operator on channels that 4 does not divide, where its groups allow that."""
    operator = operators[name]
    channels = 32 if name.startswith("group") and not name.endswith("_w2") else 6
    out_channels = channels if operator.scope == "spatial" else 9
    slot = Slot(channels, out_channels, stride, *size, activation)
    torch.manual_seed(0)
    return operator.module(slot, (Direction.LEFT_BOTTOM,) * operator.directed_layers), slot


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_maps_shrink_by_the_stride_rounded_up(name: str, stride: int, size: tuple[int, int]) -> None:
    module, slot = make(name, stride, size)
    expected = (slot.out_channels, -(-size[0] // stride), -(-size[1] // stride))
    assert module.train()(torch.randn(2, slot.in_channels, *size)).shape == (2, *expected)
    assert module.eval()(torch.randn(1, slot.in_channels, *size)).shape == (1, *expected)
    assert slot.out_size == expected[1:]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_operators_take_fewer_channels_than_padding_groups(channels: int) -> None:
    fitting = {n: o for n, o in operators.items() if o.unfit(Slot(channels, channels, 1, 4, 4, "relu")) is None}
    assert {"c2sp", "c4sp", "xsep_sp_k3", "bsconv_s_k3"} <= set(fitting)
    for operator in fitting.values():
        slot = Slot(channels, channels, 1, 4, 4, "relu")
        module = operator.module(slot, (Direction.FOUR_GROUP,) * operator.directed_layers)
        assert module(torch.randn(2, channels, 4, 4)).shape == (2, channels, 4, 4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_double_precision_agrees_with_single(name: str, stride: int) -> None:
    module, slot = make(name, stride)
    x = torch.randn(2, slot.in_channels, 6, 6, dtype=torch.float64)
    single = module.eval()(x.float())
    double = module.double()(x)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double, single.double(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_gradient_reaches_every_parameter_and_the_input(name: str, stride: int) -> None:
    module, slot = make(name, stride)
    x = torch.randn(4, slot.in_channels, 6, 6, requires_grad=True)
    y = module(x)
    (y * torch.randn_like(y)).sum().backward()
    assert x.grad is not None
    assert x.grad.any()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_channels_last_gives_the_same_result(name: str, stride: int) -> None:
    module, slot = make(name, stride)
    x = torch.randn(2, slot.in_channels, 6, 6)
    expected = module.eval()(x)
    actual = module.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OPERATORS)
def test_activation_of_the_slot_ends_the_operator_unless_it_is_linear(name: str) -> None:
    module, slot = make(name, activation="relu")
    negative = (module(torch.randn(4, slot.in_channels, 6, 6)) < 0).any()
    assert negative == name.startswith("dw_linear")


@pytest.mark.parametrize("name", OPERATORS)
def test_an_image_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    module, slot = make(name)
    x = torch.randn(3, slot.in_channels, 6, 6)
    singles = torch.cat([module.eval()(image[None]) for image in x])
    torch.testing.assert_close(module(x), singles, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in OPERATORS if operators[name].scope == "spatial"])
def test_channels_stay_apart_up_to_the_group_width(name: str) -> None:
    module, slot = make(name)
    width = int(name.rpartition("_w")[2]) if name.startswith("group") else 1
    x = torch.randn(1, slot.in_channels, 6, 6, requires_grad=True)
    module.eval()(x)[0, 0].sum().backward()
    assert x.grad is not None
    assert x.grad[0, :width].any()
    assert not x.grad[0, width:].any()


def network_of_all_operators() -> nn.Module:
    """Every operator at stride 1, then one of each family at stride 2."""
    spatial = {name: 16 if operator.scope == "spatial" else 0 for name, operator in operators.items()}
    blocks = [Block(name, 8, 8, expanded_channels=width) for name, width in spatial.items()]
    blocks += [
        Block(name, 8, 8, 2, spatial[name], se_channels=4 if spatial[name] else 0)
        for name in ("dw_k3", "xsep_k3", "c2sp", "mix_k357", "sep_k3", "bsconv_s_k3")
    ]
    return build(Architecture("m", 5, 3, 2, Stem(8, 1), tuple(blocks), Head(8, 8))).eval()


def test_network_of_all_operators_exports() -> None:
    network = network_of_all_operators()
    exported = torch.export.export(network, (torch.randn(1, 3, 5, 5),)).module()
    x = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(exported(x), network(x))


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_describe_themselves(name: str) -> None:
    operator = operators[name]
    assert operator.scope in ("spatial", "block")
    assert operator.source
    assert operator.summary
    assert "\n" not in operator.summary
