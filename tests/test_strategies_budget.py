"""Budgets: reading numbers, bounds, messages."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space.errors import InvalidRequest
from strategies import Budget, format_count, parse_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("16.7M", 16_700_000),
        ("850k", 850_000),
        ("1.2G", 1_200_000_000),
        ("1.5m", 1_500_000),
        (" 3 M ", 3_000_000),
        ("1e6", 1_000_000),
        ("17507328", 17_507_328),
        (12, 12),
        (1.67e7, 16_700_000),
    ],
)
def test_counts_are_read_as_people_write_them(text: str | float, count: int) -> None:
    assert parse_count(text, "budget.max_macs") == count


@given(st.integers(0, 10**12))
def test_a_plain_number_is_itself(count: int) -> None:
    assert parse_count(count, "x") == parse_count(str(count), "x") == count


@pytest.mark.parametrize(
    "bad", ["", "M", "16.7X", "-3M", "1,000", "nan", "1.2.3M", float("nan"), float("inf"), 1.5, True]
)
def test_a_bad_count_names_field_and_value(bad: object) -> None:
    with pytest.raises(InvalidRequest, match=rf"^budget\.max_macs: {re.escape(repr(bad))}"):
        Budget(max_macs=bad)  # type: ignore[arg-type]


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^budget\.min_params: -1 must not be negative$"):
        Budget(min_params=-1)


def test_swapped_bounds_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"budget\.min_macs: 2,000,000 is above budget\.max_macs 1,000,000; swap"):
        Budget(min_macs="2M", max_macs="1M")


def test_both_ends_are_inside() -> None:
    budget = Budget(min_macs=10, max_macs=20, max_params=5)
    assert budget.admits({"macs": 10, "params": 5})
    assert budget.admits({"macs": 20, "params": 0})
    assert not budget.admits({"macs": 9, "params": 5})
    assert not budget.admits({"macs": 21, "params": 5})
    assert not budget.admits({"macs": 20, "params": 6})
    assert Budget().admits({"macs": 10**15, "params": 0})


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999"), (1000, "1.00k"), (17_507_328, "17.51M"), (2_500_000_000, "2.50G")]
)
def test_counts_are_printed_short(count: int, text: str) -> None:
    assert format_count(count) == text


def test_a_budget_needs_neither_torch_nor_nni() -> None:
    code = "import sys, strategies; strategies.Budget(max_macs='1M'); print({'torch', 'nni'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
