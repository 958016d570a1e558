"""The register of operators: names are guarded, and one class with one registration is a whole new operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from search_space import (
    Architecture,
    Block,
    Cost,
    Head,
    InvalidRequest,
    Operator,
    SearchSpace,
    Slot,
    Stem,
    build,
    cost,
    operators,
    parse,
    to_text,
)
from search_space.padding import Direction
from search_space.registry import OperatorRegistry


@dataclass(frozen=True)
class Dilated(Operator):
    """A 3x3 depthwise convolution with gaps, without batch norm."""

    scope = "spatial"
    source = "this test"
    summary = "dilated 3x3 depthwise"

    dilation: int = 2

    def cost(self, slot: Slot) -> Cost:
        height, width = slot.out_size
        return Cost(9 * slot.in_channels * height * width, 9 * slot.in_channels)

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        c, d = slot.in_channels, self.dilation
        return nn.Conv2d(c, c, 3, stride=slot.stride, padding=d, dilation=d, groups=c, bias=False)


@contextmanager
def registered(name: str, **parameters: tuple[int | str, ...]) -> Iterator[list[str]]:
    """`Dilated` under ``name``; the names it got, which are gone again behind the block."""
    before = set(operators)
    try:
        operators.register(name, **parameters)(Dilated)
        yield [own for own in operators if own not in before]
    finally:
        for own in set(operators) - before:
            del operators._operators[own]


def test_new_operator_needs_one_class_and_one_registration() -> None:
    with registered("dilated_d{dilation}", dilation=(2, 3)) as names:
        assert names == ["dilated_d2", "dilated_d3"]
        space = SearchSpace.create(width=0.25, operators="full")
        assert all(set(names) <= set(candidates) for candidates in space.candidates)

        block = Block("dilated_d3", 8, 8, expanded_channels=16, residual=True)
        architecture = Architecture("m", 9, 3, 2, Stem(8, 1), (block,), Head(0, 0))
        assert parse(to_text(architecture)) == architecture
        network = build(architecture)
        assert network(torch.randn(2, 3, 9, 9)).shape == (2, 2)
        assert network.blocks[0].spatial.dilation == (3, 3)
        assert cost(architecture).params == sum(p.numel() for p in network.parameters())
    assert "dilated_d2" not in operators


def test_new_operator_appears_in_the_nni_space() -> None:
    from search_space.space import SepConvSpace

    with registered("dilated"):
        space = SepConvSpace(SearchSpace.create(width=0.25, image_size=8, operators=("dw_k3", "dilated")))
        sample = dict.fromkeys(space.search_space.labels, "dilated")
        assert [b.operator for b in space.freeze(sample).architecture.blocks] == ["dilated"] * 11


def test_taken_name_says_which_class_has_it() -> None:
    with pytest.raises(ValueError, match=r"^operator name 'dw_k3' is already registered by Depthwise$"):
        operators.register("dw_k3")(Dilated)


@pytest.mark.parametrize("name", ["skip", "", "DW", "dw-k3", "dw k3", "dw.k3", "dw|k3", "größe", "k³"])
def test_reserved_and_ill_formed_names_raise(name: str) -> None:
    before = list(operators)
    with pytest.raises(ValueError, match=r"is reserved or not made of lower-case letters, digits and '_'$"):
        operators.register(name)(Dilated)
    assert list(operators) == before


def test_register_is_a_mapping_that_cannot_be_assigned() -> None:
    with pytest.raises(TypeError):
        operators["mine"] = Dilated()  # type: ignore[index]
    assert len(operators) == len(list(operators)) == len(set(operators))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    own = OperatorRegistry()
    own.register("one")(Dilated)
    with pytest.raises(InvalidRequest, match=r"^operator: 'two' is unknown; known are one, skip$"):
        own["two"]
    assert "two" not in own
    assert own.get("one") == Dilated()


def test_registration_gives_the_class_back() -> None:
    assert OperatorRegistry().register("dilated")(Dilated) is Dilated
