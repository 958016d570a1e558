"""Padding of even-sized kernels: directions shift by half a pixel, and strategies make the shifts cancel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_space import Architecture, Block, Head, Slot, Stem, build, operators
from search_space.layers import EvenConvNormAct, EvenPad
from search_space.padding import Direction, assign_directions, direction_at, near_equal_split

SIZE = 41
CENTRE = SIZE // 2

RIGHT_BOTTOM, LEFT_TOP = Direction.RIGHT_BOTTOM, Direction.LEFT_TOP
LEFT_BOTTOM, RIGHT_TOP = Direction.LEFT_BOTTOM, Direction.RIGHT_TOP
FOUR_GROUP = Direction.FOUR_GROUP


def averaging(layer: nn.Module) -> nn.Module:
    """The layer in double precision, with convolutions that average and batch norms that do nothing."""
    for module in layer.double().eval().modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        elif isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return layer


def averaging_even(kernel: int, direction: Direction, channels: int) -> nn.Module:
    return averaging(EvenConvNormAct(channels, channels, kernel, direction, groups=channels))


def impulse(channels: int) -> Tensor:
    x = torch.zeros(1, channels, SIZE, SIZE, dtype=torch.float64)
    x[..., CENTRE, CENTRE] = 1
    return x


def offsets(response: Tensor) -> Tensor:
    """(channels, 2): how far right and down the centroid of each channel lies from the impulse, in pixels."""
    pixels = torch.arange(SIZE, dtype=torch.float64) - CENTRE
    mass = response[0].sum((1, 2))
    torch.testing.assert_close(mass, torch.ones_like(mass))
    return torch.stack([response[0].sum(1) @ pixels, response[0].sum(2) @ pixels], dim=1)


SHIFTS = {
    RIGHT_BOTTOM: (-0.5, -0.5),
    LEFT_TOP: (0.5, 0.5),
    LEFT_BOTTOM: (0.5, -0.5),
    RIGHT_TOP: (-0.5, 0.5),
}


@pytest.mark.parametrize("kernel", [2, 4, 6])
@pytest.mark.parametrize("direction", SHIFTS)
def test_extra_zero_shifts_the_map_half_a_pixel_away_from_it(direction: Direction, kernel: int) -> None:
    response = averaging_even(kernel, direction, 1)(impulse(1))
    assert response.shape == (1, 1, SIZE, SIZE)
    torch.testing.assert_close(offsets(response), torch.tensor([SHIFTS[direction]], dtype=torch.float64))


@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("direction", SHIFTS)
def test_extra_zeros_stand_on_the_sides_that_the_direction_names(direction: Direction, kernel: int) -> None:
    padded = EvenPad(kernel, direction, 1)(torch.ones(1, 1, 3, 3))[0, 0]
    assert padded.shape == (3 + kernel - 1, 3 + kernel - 1)
    zeros = {
        "LEFT": int((padded.sum(0) == 0).int().cumprod(0).sum()),
        "RIGHT": int((padded.sum(0) == 0).flip(0).int().cumprod(0).sum()),
        "TOP": int((padded.sum(1) == 0).int().cumprod(0).sum()),
        "BOTTOM": int((padded.sum(1) == 0).flip(0).int().cumprod(0).sum()),
    }
    named = set(direction.name.split("_"))
    assert {side for side, number in zeros.items() if number == kernel // 2} == named
    assert {side for side, number in zeros.items() if number == kernel // 2 - 1} == set(zeros) - named


@pytest.mark.parametrize("channels", [4, 8, 20])
@pytest.mark.parametrize("name", ["c2sp", "c4sp", "xsep_sp_k3", "xsep_sp_k5"])
def test_four_groups_have_no_mean_offset(name: str, channels: int) -> None:
    module = averaging(operators[name].module(Slot(channels, channels, 1, SIZE, SIZE, "none"), ()))
    own = offsets(module(impulse(channels)))
    torch.testing.assert_close(own.mean(0), torch.zeros(2, dtype=torch.float64))
    assert sorted(set(map(tuple, own.round(decimals=9).tolist()))) == sorted(SHIFTS.values())


@pytest.mark.parametrize("name", ["c2", "c4"])
def test_padding_right_and_bottom_only_shifts_every_channel_left_and_up(name: str) -> None:
    module = averaging(operators[name].module(Slot(6, 6, 1, SIZE, SIZE, "none"), ()))
    torch.testing.assert_close(offsets(module(impulse(6))), torch.full((6, 2), -0.5, dtype=torch.float64))


@pytest.mark.parametrize("layers", range(1, 14))
def test_shifts_of_a_network_cancel_or_stay_within_one_pixel(layers: int) -> None:
    directions = assign_directions(layers)
    response = impulse(4)
    for direction in directions:
        response = averaging_even(2, direction, 4)(response)
    mean = offsets(response).mean(0)
    # one zero more on a side is half a pixel of shift
    surplus = (mean / 0.5).abs()
    if layers % 4 in (0, 1):
        torch.testing.assert_close(mean, torch.zeros(2, dtype=torch.float64))
    assert (surplus <= 1 + 1e-9).all()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (0, ()),
        (1, (FOUR_GROUP,)),
        (2, (RIGHT_BOTTOM, LEFT_TOP)),
        (3, (RIGHT_BOTTOM, LEFT_TOP, LEFT_BOTTOM)),
        (4, (RIGHT_BOTTOM, LEFT_TOP, LEFT_BOTTOM, RIGHT_TOP)),
        (5, (RIGHT_BOTTOM, LEFT_TOP, LEFT_BOTTOM, RIGHT_TOP, FOUR_GROUP)),
        (6, (RIGHT_BOTTOM, LEFT_TOP, LEFT_BOTTOM, RIGHT_TOP, RIGHT_BOTTOM, LEFT_TOP)),
    ],
)
def test_directions_follow_equations_5_and_6_of_xsepconv(layers: int, expected: tuple[Direction, ...]) -> None:
    assert assign_directions(layers) == expected


def test_position_takes_its_direction_modulo_four() -> None:
    assert [direction_at(i) for i in (1, 2, 3, 4, 5, 8, 9)] == [
        RIGHT_BOTTOM,
        LEFT_TOP,
        LEFT_BOTTOM,
        RIGHT_TOP,
        RIGHT_BOTTOM,
        RIGHT_TOP,
        RIGHT_BOTTOM,
    ]


#: Operators with an even-sized kernel -> its own padding, or None where the network assigns it
EVEN = {"xsep_k3": None, "xsep_b_k5": None, "xsep_p_k3": None, "xsep_sp_k3": FOUR_GROUP, "c2sp": FOUR_GROUP}
EVEN_AND_ABLATIONS = {**EVEN, "c4sp": FOUR_GROUP, "c2": RIGHT_BOTTOM, "c4": RIGHT_BOTTOM}


@given(st.lists(st.sampled_from((*EVEN_AND_ABLATIONS, "dw_k3", "skip", "sep_k3")), min_size=1, max_size=12))
@settings(max_examples=40)
def test_network_assigns_directions_in_forward_order_and_leaves_fixed_ones_alone(names: list[str]) -> None:
    blocks = tuple(
        Block(name, 4, 4, expanded_channels=0 if name in ("skip", "sep_k3") else 4, residual=False) for name in names
    )
    network = build(Architecture("m", 4, 1, 2, Stem(4, 1), blocks, Head(0, 0))).eval()
    met: list[Direction] = []
    for module in network.modules():
        if isinstance(module, EvenPad):
            module.register_forward_hook(lambda pad, inputs, output: met.append(pad.direction))
    with torch.no_grad():
        network(torch.randn(1, 1, 4, 4))
    even = [name for name in names if name in EVEN_AND_ABLATIONS]
    assert len(met) == len(even)
    assigned = [direction for name, direction in zip(even, met, strict=True) if EVEN_AND_ABLATIONS[name] is None]
    fixed = [direction for name, direction in zip(even, met, strict=True) if EVEN_AND_ABLATIONS[name] is not None]
    cycle = [(RIGHT_BOTTOM, LEFT_TOP, LEFT_BOTTOM, RIGHT_TOP)[i % 4] for i in range(len(assigned))]
    if len(assigned) % 4 == 1:
        cycle[-1] = FOUR_GROUP
    assert assigned == cycle
    assert fixed == [EVEN_AND_ABLATIONS[name] for name in even if EVEN_AND_ABLATIONS[name] is not None]


@given(st.integers(0, 200), st.integers(1, 9))
def test_near_equal_segments_add_up_and_differ_by_at_most_one(channels: int, parts: int) -> None:
    sizes = near_equal_split(channels, parts)
    assert len(sizes) == parts
    assert sum(sizes) == channels
    assert max(sizes) - min(sizes) <= 1
    assert list(sizes) == sorted(sizes, reverse=True)


def test_padding_groups_are_four() -> None:
    assert near_equal_split(10, 4) == (3, 3, 2, 2)


def test_odd_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^kernel: 3 is odd; EvenPad is for even kernels$"):
        EvenPad(3, RIGHT_BOTTOM, 4)


def test_four_groups_have_no_single_padding() -> None:
    with pytest.raises(ValueError, match=r"FOUR_GROUP has no single padding"):
        FOUR_GROUP.zeros(2)


def test_printed_padding_says_its_direction() -> None:
    assert repr(EvenPad(2, LEFT_TOP, 4)) == "EvenPad(kernel=2, direction=left_top)"
