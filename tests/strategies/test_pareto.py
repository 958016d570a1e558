"""Pareto sets and hypervolume, against counting by hand and by brute force."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from helpers.spaces import FOREIGN_COSTS, random_table

from search_space.base.errors import InvalidRequest
from strategies import Budget
from strategies.multi_trial.pareto import Reference, check_objectives, hypervolume, hypervolume_history, non_dominated


def dominated(point: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
    """By the definition, one coordinate after the other."""
    return any(
        all(b <= a for a, b in zip(point, other, strict=True)) and any(b < a for a, b in zip(point, other, strict=True))
        for other in others
    )


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_non_dominated_are_those_of_the_definition(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    for count in (1, 2, 7, 60):
        points = rng.integers(0, 8, (count, objectives)).astype(float)  # coarse: many ties and equal rows
        listed = [tuple(row) for row in points.tolist()]
        assert non_dominated(points).tolist() == [not dominated(point, listed) for point in listed]


def test_failures_are_dominated_by_everything_and_dominate_nothing() -> None:
    points = np.array([[np.nan, 0.0], [0.5, 1.0], [-np.inf, 0.0], [1.0, 0.5], [1.0, 1.0]])
    assert non_dominated(points).tolist() == [False, True, False, True, False]
    assert not non_dominated(points[[0, 2]]).any()
    assert non_dominated(points[:0]).tolist() == []
    assert hypervolume(points[[0, 2]]) == hypervolume(points[:0]) == 0


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_is_the_count_of_dominated_cells(objectives: int) -> None:
    """On a grid of 8 cells a side, a cell belongs to the volume if a point is at or below its lower corner."""
    rng = np.random.default_rng(objectives)
    for count in (1, 3, 12):
        points = rng.integers(0, 10, (count, objectives)) / 8  # some lie beyond the reference point
        cells = np.array(list(itertools.product(range(8), repeat=objectives))) / 8
        covered = (points[None] <= cells[:, None]).all(axis=2).any(axis=1)
        assert hypervolume(points) == pytest.approx(covered.mean(), abs=1e-12)


def test_the_history_is_the_hypervolume_of_every_beginning() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 12, (50, 3)) / 10
    points[[0, 17, 30], 0] = np.nan
    points[21] = points[20]  # equal ones are in the front together
    volumes, sizes = hypervolume_history(points)
    assert volumes == pytest.approx([hypervolume(points[:n]) for n in range(1, 51)])
    assert sizes.tolist() == [non_dominated(points[:n]).sum() for n in range(1, 51)]
    assert (volumes[0], sizes[0]) == (0, 0)
    assert (np.diff(volumes) >= 0).all()
    assert volumes[-1] > 0


def test_the_reference_spans_what_can_be_reached_inside_the_budget() -> None:
    # macs 1296 to 32016, params 48 to 528
    reference = Reference.of(
        FOREIGN_COSTS, Budget(max_macs=11_296, min_params=100, max_params=10_000), ("params", "macs")
    )
    assert reference.ideal == {"params": 100, "macs": 1296}
    assert reference.worst == {"params": 528, "macs": 11_296}
    assert list(reference.ideal) == ["params", "macs"]
    costs = {"macs": np.array([1296, 11_296, 6296, 6296]), "params": np.array([100, 528, 314, 314])}
    scaled = reference.objectives(np.array([1.0, 0.0, 0.25, np.nan]), costs)
    assert scaled[:3].tolist() == [[0, 0, 0], [1, 1, 1], [0.75, 0.5, 0.5]]
    assert hypervolume(scaled[:1]) == 1
    assert hypervolume(scaled[1:2]) == 0
    assert hypervolume(scaled[2:]) == pytest.approx(0.25 * 0.5 * 0.5)


def test_everything_inside_lies_between_ideal_and_reference_point() -> None:
    rng = np.random.default_rng(0)
    table = random_table(rng, 4, 3)
    low, high = table.reachable()["macs"]
    budget = Budget(max_macs=(low + high) // 2, min_macs=low + (high - low) // 5)
    every = np.array(list(itertools.product(range(3), repeat=4)))
    inside = every[budget.inside(table.evaluate(every))]
    scaled = Reference.of(table, budget, ("macs", "params")).objectives(np.ones(len(inside)), table.evaluate(inside))
    assert len(inside) > 5
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_a_cost_that_cannot_vary_is_ideal() -> None:
    reference = Reference.of(FOREIGN_COSTS, Budget(max_macs=1296), ("macs",))
    scaled = reference.objectives(np.array([0.5]), {"macs": np.array([1296])})
    assert scaled.tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        ((), "objectives: [] is empty; name one or more of macs, params"),
        (("macs", "latency_ms"), "objectives: no cost table gives 'latency_ms'; known are macs, params"),
        (("macs", "macs"), "objectives: 'macs' is given twice; name each once"),
    ],
)
def test_objectives_that_are_no_costs_are_refused(objectives: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_objectives(objectives, ("macs", "params"))
    assert str(caught.value) == message
    with pytest.raises(InvalidRequest) as caught:
        check_objectives(objectives, ("macs", "params"), "strategy.options.objectives")
    assert str(caught.value) == f"strategy.options.{message}"
    with pytest.raises(InvalidRequest, match="objectives"):
        Reference.of(FOREIGN_COSTS, Budget(), objectives)


def test_pymoo_is_loaded_when_it_is_needed() -> None:
    script = "import sys, strategies.multi_trial.pareto, strategies.registry; print('pymoo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
