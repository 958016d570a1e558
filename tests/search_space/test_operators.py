"""What every operator promises as a module: shapes, types, gradients, memory formats, export, compilation."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_space import Architecture, Block, Head, Slot, Stem, build, operators
from search_space.layers import ACTIVATIONS
from search_space.network import make_block
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


@st.composite
def slots(draw: st.DrawFn) -> tuple[str, Slot]:
    """Any operator where it fits, on maps of any shape and any number of channels."""
    name = draw(st.sampled_from(OPERATORS))
    sizes, channels = st.integers(1, 9), draw(st.integers(1, 18))
    out_channels = channels if operators[name].scope == "spatial" else draw(st.integers(1, 18))
    activation = draw(st.sampled_from(sorted(ACTIVATIONS)))
    slot = Slot(channels, out_channels, draw(st.sampled_from((1, 2))), draw(sizes), draw(sizes), activation)
    assume(operators[name].unfit(slot) is None)
    return name, slot


@given(slots(), st.sampled_from((torch.float32, torch.float64, torch.bfloat16)), st.sampled_from(Direction))
@settings(max_examples=200)
def test_shape_and_type_hold_wherever_an_operator_fits(
    chosen: tuple[str, Slot], dtype: torch.dtype, direction: Direction
) -> None:
    name, slot = chosen
    module = operators[name].module(slot, (direction,) * operators[name].directed_layers).to(dtype)
    x = torch.randn(2, slot.in_channels, slot.height, slot.width, dtype=dtype)
    y = module.train()(x)
    expected = (slot.out_channels, -(-slot.height // slot.stride), -(-slot.width // slot.stride))
    assert y.shape == (2, *expected)
    assert y.dtype == dtype
    assert y.isfinite().all()
    assert module.eval()(x[:1]).shape == (1, *expected)


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


@pytest.mark.parametrize("size", [(6, 6), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATORS)
def test_channels_last_gives_the_same_result(name: str, stride: int, size: tuple[int, int]) -> None:
    module, slot = make(name, stride, size)
    x = torch.randn(2, slot.in_channels, *size)
    expected = module.eval()(x)
    actual = module.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OPERATORS)
def test_activation_of_the_slot_ends_the_operator_unless_it_is_linear(name: str) -> None:
    module, slot = make(name, activation="relu")
    negative = (module(torch.randn(4, slot.in_channels, 6, 6)) < 0).any()
    # a linear end is either the operator's point, or the block's activation follows the residual sum
    linear = name.startswith(("dw_linear", "preres"))
    assert negative == (linear or operators[name].activation_after_residual)


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


def test_network_of_many_families_exports() -> None:
    blocks = []
    for name in ("dw_k3", "xsep_k3", "c2sp", "mix_k357", "sep_k3", "bsconv_s_k3", "resnext_k3", "hybrid_k3"):
        expanded, se = (16, 4) if operators[name].scope == "spatial" else (0, 0)
        blocks.append(Block(name, 8, 8, 1, expanded, residual=True))
        blocks.append(Block(name, 8, 8, 2, expanded, se_channels=se))
    network = build(Architecture("m", 9, 3, 2, Stem(8, 1), tuple(blocks), Head(8, 8))).eval()
    exported = torch.export.export(network, (torch.randn(1, 3, 9, 9),)).module()
    x = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(exported(x), network(x))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_exports_for_any_batch_size(name: str) -> None:
    module, slot = make(name, stride=2, size=(7, 5))
    example, x = torch.randn(2, slot.in_channels, 7, 5), torch.randn(3, slot.in_channels, 7, 5)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(exported(x), module(x))


@pytest.fixture
def fresh_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of one class are compiled as one function, for which torch keeps a limited number of variants."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def training_step(module: nn.Module, run: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Output and all gradients of a step of ``run``, which is ``module`` or computes with its tensors; and buffers."""
    module.train()
    x = x.clone().requires_grad_()
    y = run(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    assert x.grad is not None
    gradients = {f"gradient of {name}": p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(module.parameters()))
    return {"output": y.detach(), "gradient of x": x.grad, **gradients, **dict(module.named_buffers())}


def assert_compiled_equals_eager(module: nn.Module, x: Tensor, backend: str) -> None:
    """In a training step and in evaluation; the whole module must be captured as one graph."""
    twin = copy.deepcopy(module)
    compiled = torch.compile(twin, backend=backend, fullgraph=True)
    torch.testing.assert_close(training_step(twin, compiled, x), training_step(module, module, x), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        module.eval()
        compiled.eval()
        torch.testing.assert_close(compiled(x), module(x), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_compiles_as_one_graph(name: str) -> None:
    module, slot = make(name, stride=2, size=(7, 5))
    assert_compiled_equals_eager(module, torch.randn(2, slot.in_channels, 7, 5), backend="aot_eager")


CXX = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.skipif(CXX is None, reason="torch's default compiler backend needs a C++ compiler, and there is none")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")  # torch's own use
def test_blocks_compile_to_machine_code() -> None:
    from torch._inductor import config

    blocks = (Block("c2sp_conv", 8, 8, 2), Block("hybrid_k3", 8, 8, residual=True))
    network = nn.Sequential(*(make_block(block, 5, (), orthonormal=False) for block in blocks))
    # plain C++ in this process: vector code, shared headers and a pool of compilers cost more than they bring here
    with config.patch({"compile_threads": 1, "cpp_cache_precompile_headers": False, "cpp.vec_isa_ok": False}):
        assert_compiled_equals_eager(network, torch.randn(4, 8, 5, 5), backend="inductor")


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_describe_themselves(name: str) -> None:
    operator = operators[name]
    assert operator.scope in ("spatial", "block")
    assert operator.source
    assert operator.summary
    assert "\n" not in operator.summary
