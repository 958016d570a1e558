"""The kit of checks: what it lets through, and that every refusal is one short line whatever it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from helpers.refusals import refused
from hypothesis import given
from hypothesis import strategies as st

from search_space.base.checks import (
    check_bool,
    check_choice,
    check_int,
    check_number,
    check_options,
    check_seed,
    check_share,
    known_names,
    option,
    plain,
    refusal,
    require,
    shown,
    unknown,
)

HUGE = 10**5000


class Unprintable:
    def __repr__(self) -> str:
        return "line one\nline two\x1b[31m\x00"


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


STRANGE = [
    None,
    True,
    HUGE,
    -HUGE,
    [HUGE],
    math.nan,
    math.inf,
    -math.inf,
    "",
    "x" * 100_000,
    "two\nlines",
    "\x1b[2J\x00\x07",
    "\udcff",
    b"\x00" * 1000,
    {"a": [1, 2]},
    ["word"] * 10_000,
    Unprintable(),
    object(),
    3 + 4j,
]


def assert_one_short_line(text: str) -> None:
    assert len(text) <= 300, text
    assert all(letter.isprintable() for letter in text), text


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_whatever_is_refused_is_repeated_on_one_short_line(value: object) -> None:
    assert len(shown(value)) <= 80
    checks: list[Callable[[], Any]] = [
        lambda: check_int("field", value, 1, 5),
        lambda: check_number("field", value, above=0, most=5) if value is not True else check_number("field", "1"),
        lambda: check_share("field", value),
        lambda: check_seed("field", value),
        lambda: check_choice("field", value, ("one", "two")),
        lambda: check_choice("field", value, (1, 2)),
        lambda: require(False, "field", value, "is wrong", "give another"),
    ]
    if value is not True:
        checks.append(lambda: check_bool("field", value))
    for check in checks:
        text = refused(check)
        assert text.startswith("field: ")
        assert_one_short_line(text)
    assert_one_short_line(
        str(unknown("field", value, [f"a_name_of_some_length_{i}" for i in range(99)], "sepnas list x"))
    )


def test_endless_nesting_is_refused_too() -> None:
    assert refused(lambda: check_int("field", nested())).endswith("too long to print, must be a whole number")


@given(st.text(max_size=400))
def test_texts_become_one_line_that_keeps_both_ends(text: str) -> None:
    line = plain(text)
    assert len(line) <= 200
    assert all(letter.isprintable() for letter in line)
    if text.isprintable():
        assert line == text or (text.startswith(line[:100]) and text.endswith(line[-60:]))


@given(st.one_of(st.text(), st.integers(), st.floats(), st.lists(st.text())))
def test_short_printable_values_are_repeated_whole(value: object) -> None:
    if len(repr(value)) <= 80:
        assert shown(value) == repr(value)


def test_refusals_have_one_grammar() -> None:
    assert (
        str(refusal("image_size", 0, "is too small", "give 8 or more")) == "image_size: 0 is too small; give 8 or more"
    )
    assert str(refusal("image_size", "a", "is not a number")) == "image_size: 'a' is not a number"
    require(True, "field", 1, "never read")


@pytest.mark.parametrize(
    ("least", "most", "words"),
    [(1, None, " of at least 1"), (None, 5, " of at most 5"), (1, 5, " from 1 to 5"), (None, None, "")],
)
def test_whole_numbers(least: int | None, most: int | None, words: str) -> None:
    assert check_int("n", 3, least, most) == 3
    assert type(check_int("n", np.int64(3), least, most)) is int
    for value in (True, 3.0, "3", None):
        assert refused(lambda v=value: check_int("n", v, least, most)) == f"n: {value!r} must be a whole number{words}"
    if least is not None:
        assert refused(lambda: check_int("n", 0, least, most)) == f"n: 0 must be a whole number{words}"
    if most is not None:
        assert refused(lambda: check_int("n", 6, least, most)) == f"n: 6 must be a whole number{words}"


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ({}, [-1e300, 0, 3], [math.nan, math.inf, HUGE], ""),
        ({"least": 0}, [0, 1.5], [-0.1], " of at least 0"),
        ({"most": 1}, [1, -5], [1.1], " of at most 1"),
        ({"above": 0}, [0.1], [0, -1], " above 0"),
        ({"below": 1}, [0.9], [1], " below 1"),
        ({"least": 0, "most": 1}, [0, 1], [2], " from 0 to 1"),
        ({"least": 0, "below": 1}, [0, 0.9], [1], " of at least 0 and below 1"),
        ({"above": 0, "most": 16}, [16], [0, 17, HUGE], " above 0 and at most 16"),
        ({"above": 0, "below": 1}, [0.5], [0, 1, math.nan], " above 0 and below 1"),
    ],
)
def test_numbers(bounds: dict[str, float], inside: list[float], outside: list[float], words: str) -> None:
    for value in inside:
        number = check_number("x", value, **bounds)
        assert type(number) is float
        assert number == value
    for value in (*outside, True, "1", None):
        assert refused(lambda v=value: check_number("x", v, **bounds)) == f"x: {shown(value)} must be a number{words}"


def test_true_is_no_number_and_one_is_not_true() -> None:
    assert check_bool("b", True) is True
    assert refused(lambda: check_bool("b", 1)) == "b: 1 must be true or false"
    assert refused(lambda: check_choice("stride", True, (1, 2))) == "stride: True must be 1 or 2"
    assert check_choice("stride", 1, (1, 2)) == 1


def test_seeds_fit_32_bits() -> None:
    assert check_seed("seed", 2**32 - 1) == 2**32 - 1
    for value in (-1, 2**32, HUGE):
        assert refused(lambda v=value: check_seed("seed", v)).endswith("must be a whole number from 0 to 4294967295")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    names = [f"name_{index}" for index in range(30)]
    text = str(unknown("field", "nmae_7", names, "sepnas list names"))
    assert text.startswith("field: 'nmae_7' is unknown; known are name_0, name_1, ")
    assert "name_9 and 20 more (`sepnas list names` shows all); did you mean name_" in text
    assert str(unknown("field", "zzz", ["a", "b"], "sepnas list names")) == "field: 'zzz' is unknown; known are a, b"


def test_long_names_are_cut_and_fewer_of_them_listed() -> None:
    listed = known_names(["x" * 1000, "y" * 1000, "z" * 39, "w" * 39])
    assert len(listed) < 150
    assert listed.endswith(" more")
    assert known_names([]) == ""


@dataclass(frozen=True)
class Options:
    """Options of every kind.

    Attributes:
        size: a whole number.
    """

    size: int = option(8, least=8)
    share: float = option(0.5, above=0, below=1)
    kind: Literal["auto", 1, 3] = "auto"
    flag: bool = False
    name: str = "x"
    title: str | None = None
    widths: list[float] = option(factory=lambda: [1.0], above=0)
    pair: tuple[int, ...] | None = option(None, least=1)
    either: str | list[str] = "x"

    def __post_init__(self) -> None:
        check_options(self, "group")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 7}, "group.size: 7 must be a whole number of at least 8"),
        ({"size": True}, "group.size: True must be a whole number of at least 8"),
        ({"share": 1}, "group.share: 1 must be a number above 0 and below 1"),
        ({"kind": 2}, "group.kind: 2 must be auto or 1 or 3"),
        ({"flag": "yes"}, "group.flag: 'yes' must be true or false"),
        ({"name": None}, "group.name: None must be text"),
        ({"title": 3}, "group.title: 3 must be text"),
        ({"widths": 1.0}, "group.widths: 1.0 must be a list"),
        ({"widths": [1.0, 0.0]}, "group.widths[1]: 0.0 must be a number above 0"),
        ({"pair": (1, 0)}, "group.pair[1]: 0 must be a whole number of at least 1"),
    ],
)
def test_options_are_held_to_their_types_and_bounds(given: dict[str, Any], message: str) -> None:
    assert refused(lambda: Options(**given)) == message


def test_good_options_pass() -> None:
    options = Options(size=9, kind=3, title="t", widths=(0.5, 2), pair=(1, 2), either=["a"])  # type: ignore[arg-type]
    assert options.widths == (0.5, 2)
    assert Options().widths is not Options().widths
