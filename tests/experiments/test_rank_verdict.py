"""Which architectures are ranked, and what is said of the ranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evaluators.measuring.ranking import Ranking, rank_agreement
from experiments.rank.rank import draw_spread
from experiments.rank.verdict import MODEL, supernet_source, verdict
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet
from strategies.options import MultiTrialOptions

BUDGET = 60_000


# --- the draw ---


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.create(image_size=8, in_channels=1, width=0.25, operators=["dw_k3", "sep_k3", "skip"])


def test_the_draw_is_distinct_spread_and_inside(space: SearchSpace) -> None:
    feasible = FeasibleSet(space.cost_table, Budget(max_macs=BUDGET))
    drawn = draw_spread(feasible, 30, seed=3)
    assert len({tuple(sample.items()) for sample in drawn}) == 30
    macs = [feasible.table.cost(sample)["macs"] for sample in drawn]
    assert macs == sorted(macs)
    assert macs[-1] <= BUDGET
    low, high = feasible.table.reachable()["macs"][0], BUDGET
    assert macs[0] < low + (high - low) / 10
    assert macs[-1] > high - (high - low) / 10
    assert draw_spread(feasible, 30, seed=3) == drawn
    assert draw_spread(feasible, 30, seed=4) != drawn


def test_a_budget_with_few_architectures_gives_them_all_or_says_how_many(space: SearchSpace) -> None:
    low = space.cost_table.reachable()["macs"][0]
    feasible = next(
        found
        for step in range(0, 4000, 16)
        if (found := FeasibleSet(space.cost_table, Budget(max_macs=low + step))).count >= 6
    )
    few = int(feasible.count)
    assert few < 200
    assert len({tuple(sample.items()) for sample in draw_spread(feasible, few, seed=0)}) == few
    with pytest.raises(InvalidRequest, match=rf"^n: {few + 1}, but the budget holds {few} different architectures; "):
        draw_spread(feasible, few + 1, seed=0)


# --- what it says ---


def agreement(supernet: Any, standalone: Any, macs: Any = None, params: Any = None) -> Ranking:
    n = len(supernet)
    noise = np.random.default_rng(99)
    macs = noise.permutation(n) if macs is None else macs
    params = noise.permutation(n) if params is None else params
    return rank_agreement(supernet, standalone, {"macs": macs, "params": params}, resamples=500)


QUALITY = np.random.default_rng(7).permutation(40) / 40.0


def two_trainings(noise: float, seed: int = 0) -> Any:
    return QUALITY[:, None] + noise * np.random.default_rng(seed).standard_normal((40, 2))


def a_measure(noise: float) -> Any:
    return QUALITY + noise * np.random.default_rng(50).standard_normal(40)


@pytest.mark.parametrize(
    ("kind", "trusted", "text", "case"),
    [
        ("too few", "cannot be told", "Only 3 architectures have all", lambda: agreement([1, 2, 3], [[1], [2], [3]])),
        (
            "all equal",
            "cannot be told",
            "take the cheapest",
            lambda: agreement(np.arange(40), np.full((40, 2), 0.9)),
        ),
        ("constant", "no", "tells nothing apart", lambda: agreement(np.full(40, 0.1), two_trainings(0.1))),
        ("chance", "no", "cannot be told from chance", lambda: agreement(a_measure(100), two_trainings(0.05))),
        (
            "noisy trainings",
            "cannot be told",
            "cannot judge any ranking",
            lambda: agreement(a_measure(0.1), two_trainings(100, seed=1)),
        ),
        ("reversed", "no", "worse than chance", lambda: agreement(-a_measure(0.1), two_trainings(0.1))),
        (
            "cost",
            "no",
            "no better than sorting by MACs (tau: MACs 1.00), as far as 40 architectures can tell",
            lambda: agreement(a_measure(0.1), two_trainings(0), macs=QUALITY),
        ),
        (
            "cost",
            "no",
            "Taking the smallest network inside the budget may do as well",
            lambda: agreement(a_measure(0.1), two_trainings(0), params=-QUALITY),
        ),
        ("ceiling", "yes", "as good as a second training", lambda: agreement(a_measure(0.1), two_trainings(0.1))),
        ("below", "partly", "below what a second training", lambda: agreement(a_measure(0.3), two_trainings(0.02))),
        ("no ceiling", "partly", "so give two", lambda: agreement(a_measure(0.1), two_trainings(0.1)[:, :1])),
    ],
)
def test_the_verdict_of_each_case(kind: str, trusted: str, text: str, case: Callable[[], Ranking]) -> None:
    found = verdict(case(), supernet_source(MultiTrialOptions()))
    assert (found.kind, found.trusted) == (kind, trusted)
    assert text in found.text
    told = found.kind in ("ceiling", "no ceiling")
    assert ("To do:" in str(found) or "For more:" in str(found)) != told
    assert "search.epochs" in found.text or found.kind in (
        "too few", "all equal", "noisy trainings", "ceiling", "no ceiling",
    )  # fmt: skip


def test_fair_sampling_is_not_recommended_to_who_has_it() -> None:
    found = agreement(a_measure(100), two_trainings(0.05))
    assert "sampling: fair" in verdict(found, supernet_source(MultiTrialOptions())).text
    assert "sampling: fair" not in verdict(found, supernet_source(MultiTrialOptions(sampling="fair"))).text


def test_a_model_of_scores_is_not_told_to_train_a_supernet() -> None:
    found = verdict(agreement(a_measure(100), two_trainings(0.05)), MODEL)
    assert found.text.endswith("To do: score more architectures (trials).")
    constant = verdict(agreement(np.full(40, 0.1), two_trainings(0.1)), MODEL)
    assert constant.text.startswith("The model gives all architectures the same score")


def test_the_verdict_says_whether_the_best_are_told_apart() -> None:
    assert "orders the best fifth as well (n = 8)" in verdict(agreement(QUALITY, two_trainings(0.001)), MODEL).text
    shuffled = QUALITY.copy()
    shuffled[QUALITY >= 0.8] = 0.8 + np.random.default_rng(3).permutation(8) / 40
    assert (
        "Within the best fifth (n = 8) its order cannot"
        in verdict(agreement(shuffled, two_trainings(0.001)), MODEL).text
    )
