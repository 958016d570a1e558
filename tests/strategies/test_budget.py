"""Budgets and the costs they bound: reading numbers, bounds, messages, cost files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.spaces import save_costs
from hypothesis import given
from hypothesis import strategies as st

from experiments.options.files import make_config
from search_space.base.errors import InvalidRequest
from search_space.cost_file import OwnCosts, load_costs
from search_space.cost_table import CostTable
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
    "bad",
    [
        "",
        "M",
        "16.7X",
        "-3M",
        "1,000",
        "nan",
        "1.2.3M",
        "1.5",
        "0.0005k",
        "1e999",
        "2000000000G",
        float("nan"),
        float("inf"),
        1.5,
        True,
    ],
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


def test_other_costs_are_bounded_by_name() -> None:
    budget = Budget(max_macs=20, max_costs={"latency_ms": 5}, min_costs={"latency_ms": 1.5, "energy_mj": 2})
    assert budget.bounds() == {"macs": (None, 20), "latency_ms": (1.5, 5.0), "energy_mj": (2.0, None)}
    inside = {"macs": 20, "latency_ms": 5.0, "energy_mj": 2.0}
    assert budget.admits(inside)
    for change in ({"macs": 21}, {"latency_ms": 5.01}, {"latency_ms": 1.49}, {"energy_mj": 1.9}):
        assert not budget.admits({**inside, **change})
    assert str(budget) == "macs <= 20, latency_ms >= 1.5, latency_ms <= 5, energy_mj >= 2"
    assert budget == Budget(max_macs="20", max_costs={"latency_ms": 5.0}, min_costs={"energy_mj": 2, "latency_ms": 1.5})
    assert budget != Budget(max_macs=20, max_costs={"latency_ms": 4}, min_costs={"latency_ms": 1.5, "energy_mj": 2})
    assert len({budget, Budget(max_macs=20), Budget(max_macs=20)}) == 2, "budgets are keys of dicts"


def test_a_sum_of_decimal_fractions_that_meets_the_bound_is_inside() -> None:
    assert sum([0.1] * 3) > 0.3, "floats are what they are"
    assert Budget(max_costs={"latency_ms": 0.3}).admits({"latency_ms": sum([0.1] * 3)})
    assert not Budget(max_costs={"latency_ms": 0.3}).admits({"latency_ms": 0.300001})
    assert not Budget(max_macs=10**12).admits({"macs": 10**12 + 1}), "MACs are exact"


def test_many_networks_are_judged_at_once_like_one_by_one() -> None:
    budget = Budget(min_macs=3, max_macs=6, max_costs={"ms": 0.5})
    macs, ms = np.arange(10), np.linspace(0, 1, 10)
    one_by_one = [budget.admits({"macs": a, "ms": b}) for a, b in zip(macs.tolist(), ms.tolist(), strict=True)]
    assert budget.inside({"macs": macs, "ms": ms}).tolist() == one_by_one
    assert sum(one_by_one) == 2


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "5", True, None])
def test_a_bad_bound_on_another_cost_is_named(bad: object) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"^budget\.max_costs\.ms: {re.escape(repr(bad))} must be a number of at least 0"
    ):
        Budget(max_costs={"ms": bad})  # type: ignore[dict-item]


def test_bounds_on_other_costs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^budget\.min_costs\.ms: 2\.0 is above budget\.max_costs\.ms 1\.0; swap"):
        Budget(min_costs={"ms": 2}, max_costs={"ms": 1})
    with pytest.raises(InvalidRequest, match=r"^budget\.max_costs\.macs: macs has its own field; use max_macs$"):
        Budget(max_costs={"macs": 5})
    with pytest.raises(
        InvalidRequest, match=r"^budget\.max_costs\.ms: no cost table gives 'ms'; known are macs, params; add its"
    ):
        Budget(max_costs={"ms": 5}).admits({"macs": 1, "params": 1})


def test_one_metric_can_be_bounded_anew() -> None:
    budget = Budget(max_macs=5, max_costs={"ms": 1.0})
    assert budget.bounded("macs", 2, None) == Budget(min_macs=2, max_costs={"ms": 1.0})
    assert budget.bounded("ms", 0.5, None) == Budget(max_macs=5, min_costs={"ms": 0.5})
    assert budget.bounded("params", None, 7) == Budget(max_macs=5, max_params=7, max_costs={"ms": 1.0})


def test_a_config_reads_bounds_on_other_costs() -> None:
    given = {"max_macs": "16.7M", "max_costs": {"latency_ms": 5}, "min_costs": {"latency_ms": 0.5}}
    config = make_config({"budget": given}, "here")
    assert config.budget == Budget(max_macs=16_700_000, max_costs={"latency_ms": 5.0}, min_costs={"latency_ms": 0.5})
    assert make_config({"budget": config.as_dict()["budget"]}, "here").budget == config.budget
    with pytest.raises(InvalidRequest, match=r"budget\.max_costs"):
        make_config({"budget": {"max_costs": {"latency_ms": "fast"}}}, "here")


TABLE = CostTable(
    candidates={"a": ("x", "y"), "b": ("z",)},
    costs={"macs": {"a": np.array([1, 9]), "b": np.array([5])}},
    fixed={"macs": 2},
)
LATENCY = {"a": {"y": 0.5, "x": 0.25}, "b": {"z": 1}}


def test_a_table_takes_a_cost_of_the_users_own() -> None:
    table = TABLE.with_cost("latency_ms", LATENCY, fixed=0.125)
    assert table.metrics == ("macs", "latency_ms")
    assert table.cost({"a": "y", "b": "z"}) == {"macs": 16, "latency_ms": 1.625}
    assert table.reachable() == {"macs": (8, 16), "latency_ms": (1.375, 1.625)}
    totals = table.evaluate(np.array([[0, 0], [1, 0]]))
    assert totals["macs"].dtype == np.int64, "MACs stay whole"
    assert totals["latency_ms"].tolist() == [1.375, 1.625]
    assert TABLE.metrics == ("macs",), "the first table is untouched"


@pytest.mark.parametrize(
    ("costs", "fixed", "said"),
    [
        ({"a": LATENCY["a"]}, 0, "costs 'ms': label 'b' is missing"),
        ({**LATENCY, "c": {}}, 0, "costs 'ms': label: 'c' is unknown; known are a, b"),
        ({**LATENCY, "a": {"x": 1}}, 0, "costs 'ms': label 'a': candidate 'y' is missing"),
        ({**LATENCY, "b": {"z": 1, "w": 1}}, 0, "costs 'ms': label 'b': candidate: 'w' is unknown; known are z"),
        ({**LATENCY, "b": {"z": -1}}, 0, "costs 'ms': b.z: -1 must be a number of at least 0"),
        ({**LATENCY, "b": {"z": float("nan")}}, 0, "costs 'ms': b.z: nan must be a number of at least 0"),
        ({**LATENCY, "b": {"z": float("inf")}}, 0, "costs 'ms': b.z: inf must be a number of at least 0"),
        ({**LATENCY, "b": {"z": "fast"}}, 0, "costs 'ms': b.z: 'fast' must be a number of at least 0"),
        ({**LATENCY, "b": {"z": True}}, 0, "costs 'ms': b.z: True must be a number of at least 0"),
        (LATENCY, -0.5, "costs 'ms': fixed: -0.5 must be a number of at least 0"),
    ],
)
def test_incomplete_or_unknown_costs_are_refused_by_name(costs: Any, fixed: float, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{re.escape(said)}"):
        TABLE.with_cost("ms", costs, fixed)


def test_a_cost_that_the_table_has_is_not_replaced() -> None:
    with pytest.raises(InvalidRequest, match=r"^costs 'macs': the table has it already; use another name$"):
        TABLE.with_cost("macs", LATENCY)


def test_a_cost_file_comes_back_as_it_was(tmp_path: Path) -> None:
    save_costs(tmp_path / "costs.json", "latency_ms", "ms", 0.125, LATENCY)
    assert load_costs(tmp_path / "costs.json") == OwnCosts("latency_ms", "ms", 0.125, LATENCY)
    table = load_costs(tmp_path / "costs.json").added_to(TABLE)
    assert table.cost({"a": "x", "b": "z"})["latency_ms"] == 1.375


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", 'not a JSON object with "format": "sepnas-costs"; is it a cost file?'),
        ('{"format": "sepnas-costs", "version": 2}', "version 2 cannot be read, this release reads version 1"),
        ('{"format": "sepnas-costs", "version": true}', "version True cannot be read"),
        ('{"format": "sepnas-costs", "version": 1, "costs": {}}', "metric: missing"),
        ('{"format": "sepnas-costs", "version": 1, "metric": "", "costs": {}}', "metric: empty"),
        ('{"format": "sepnas-costs", "version": 1, "metric": "ms"}', "costs: missing"),
        ('{"format": "sepnas-costs", "version": 1, "metric": 3, "costs": {}}', "metric: 3 is of the wrong type"),
        ('{"format": "sepnas-costs", "version": 1, "metric": "m", "costs": {"a": 1}}', "costs.a: 1 is not a JSON obj"),
        (
            '{"format": "sepnas-costs", "version": 1, "metric": "m", "cost": {}}',
            "key: 'cost' is unknown; known are format",
        ),
        ('{"format": "sepnas-costs", "version": 1, "version": 1}', "version: is given twice"),
    ],
)
def test_a_bad_cost_file_is_refused_with_its_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=f"^{re.escape(f'cost file {path}: {said}')}"):
        load_costs(path)


def test_a_missing_cost_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^cost file .*none\.json: does not exist$"):
        load_costs(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_costs": None}, "budget.max_costs: None must be numbers by name; write it like {latency_ms: 5.0}"),
        ({"min_costs": [1]}, "budget.min_costs: [1] must be numbers by name"),
        ({"max_costs": {3: 1.0}}, "budget.max_costs: 3 must be the name of a cost"),
        ({"max_costs": {"ms": 10**400}}, "budget.max_costs.ms: 1000"),
        ({"max_costs": {"m\x1b\ns": -1}}, "budget.max_costs.m"),
        ({"max_macs": []}, "budget.max_macs: [] is not a whole number"),
        ({"max_macs": True}, "budget.max_macs: True is not a whole number"),
        ({"max_macs": 10**400}, "budget.max_macs: 1000"),
        ({"max_macs": 10**5000}, "budget.max_macs: a value of type int, too long to print, is too large"),
        ({"min_params": 1e300}, "budget.min_params: 1e+300 is too large"),
        ({"max_macs": "1e400"}, "budget.max_macs: '1e400' is too large"),
        ({"max_macs": "9" * 5000}, "budget.max_macs: '9999"),
        ({"max_macs": "16.7\x1b[31m"}, "budget.max_macs: '16.7\\x1b[31m' is not a number"),
    ],
)
def test_values_of_any_kind_are_refused_in_one_short_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Budget(**values)
    message = str(caught.value)
    assert message.startswith(said)
    assert len(message) < 200
    assert message.isprintable()


def test_a_bound_on_a_cost_that_nobody_knows_is_refused_in_one_short_line() -> None:
    with pytest.raises(InvalidRequest) as caught:
        Budget(max_costs={"m\x1b\n" * 500: 1.0}).check_metrics(("macs", "params"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
