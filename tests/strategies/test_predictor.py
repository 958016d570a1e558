"""The predictor: a surrogate that is right about what it saw, proposals inside, new, and better than evolution's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from helpers.spaces import Landscape, random_budget
from helpers.tabular import regret
from scipy.optimize import check_grad

from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from strategies import Budget, FeasibleSet
from strategies.budget.remaining import Remaining
from strategies.multi_trial._surrogate import GaussianProcess, expected_improvement
from strategies.multi_trial.evolution import EvolutionOptions
from strategies.multi_trial.predictor import SCORES, PredictorOptions, PredictorProposer, kinds_of, predict_scores

Scored = list[tuple[dict[str, Any], float]]


def run(
    landscape: Landscape,
    trials: int,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    batch: int = 1,
    score: Callable[[Mapping[str, Any]], float] | None = None,
) -> tuple[Scored, PredictorProposer]:
    """Ask for ``batch`` architectures at a time and tell their scores."""
    feasible = FeasibleSet(landscape.costs, Budget() if budget is None else budget)
    remaining = Remaining(feasible, lambda sample: tuple(landscape.costs.indices(sample).tolist()))
    predictor = PredictorProposer(PredictorOptions(), feasible, remaining, seed)
    scored: Scored = []
    while len(scored) < trials:
        pending = []
        for _ in range(min(batch, trials - len(scored))):
            sample = predictor.propose()
            if sample is None:
                break
            assert sample in remaining
            assert feasible.admits(sample)
            remaining.remove(sample)
            pending.append(sample)
        if not pending:
            break
        for sample in pending:
            scored.append((sample, (score or landscape)(sample)))
            predictor.observe(len(scored) - 1, *scored[-1])
    return scored, predictor


KINDS = ["dw", "dw", "xsep", "skip"]


@pytest.mark.parametrize("kinds", [None, [KINDS] * 5], ids=["no kinds", "kinds"])
def test_the_marginal_likelihood_has_the_gradient_that_is_used(kinds: list[list[str]] | None) -> None:
    rng = np.random.default_rng(0)
    process = GaussianProcess([4] * 5, kinds, SCORES)
    chosen, targets = rng.integers(0, 4, (25, 5)), rng.normal(size=25)
    same = (chosen[:, None] == chosen[None]).astype(np.float64)
    rows = process.encode(chosen)
    alike = [process._likeness(rows, rows, features) for features in process._alike]
    at = process._prior_mean + 0.3 * rng.normal(size=len(process._prior_mean))
    error = check_grad(
        lambda p: process._objective(p, same, alike, targets)[0],
        lambda p: process._objective(p, same, alike, targets)[1],
        at,
    )
    assert error < 1e-4


def test_the_process_predicts_what_it_did_not_see() -> None:
    rng = np.random.default_rng(0)
    landscape = Landscape(0, labels=6, values=4)
    chosen = rng.integers(0, 4, (150, 6))
    truth = np.array([landscape(landscape.costs.sample(row)) for row in chosen])
    process = GaussianProcess([4] * 6, None, SCORES)
    process.fit(chosen[:100], truth[:100], tune=True)
    mean, std = process.predict(chosen[100:])
    assert np.corrcoef(mean, truth[100:])[0, 1] > 0.8
    assert 0.5 < np.sqrt(np.mean(((mean - truth[100:]) / std) ** 2)) < 2  # it knows how sure it is


def test_what_scores_say_of_kinds_is_said_of_candidates_that_were_never_scored() -> None:
    rng = np.random.default_rng(1)
    names = [
        f"{family}_k{size}-e{width}" for family in ("dw", "xsep", "c2sp", "mix") for size in (3, 5) for width in (8, 9)
    ]
    labels = {f"b{label}": (*names, "skip") for label in range(6)}
    unit = {label: np.ones(len(values), dtype=np.int64) for label, values in labels.items()}
    families = (*(name.partition("_")[0] for name in names), "skip")
    table = CostTable(labels, {"macs": unit}, {"macs": 0}, dict.fromkeys(labels, families))
    kinds = kinds_of(table)
    assert kinds is not None
    assert kinds[0] == ["dw"] * 4 + ["xsep"] * 4 + ["c2sp"] * 4 + ["mix"] * 4 + ["skip"]
    worth = {"dw": 0.0, "xsep": 1.0, "c2sp": -1.0, "mix": 0.5, "skip": -0.5}
    chosen = rng.integers(0, len(names) + 1, (70, 6))
    truth = np.array([sum(worth[own[k]] for own, k in zip(kinds, row, strict=True)) for row in chosen])
    noisy = truth + rng.normal(size=70)
    correlations = []
    for known in (None, kinds):
        process = GaussianProcess([len(names) + 1] * 6, known, SCORES)
        process.fit(chosen[:25], noisy[:25], tune=True)
        mean, std = process.predict(chosen[25:])
        correlations.append(np.corrcoef(mean, truth[25:])[0, 1])
    assert correlations[1] > correlations[0] + 0.2
    assert np.sqrt(np.mean(((mean - truth[25:]) / std) ** 2)) < 2
    # the additive part knows kinds too: it prefers any xsep to any c2sp
    scores = process.additive_scores()
    assert min(min(own[4:8]) for own in scores) > max(max(own[8:12]) for own in scores)


def test_kinds_of_our_space_are_the_families_that_its_operators_are_registered_with() -> None:
    operators = ["dw_k3", "dw_k5", "xsep_k3", "c2sp", "c4sp", "mix_k357", "skip"]
    table = SearchSpace.create(operators=operators, widths=[0.5, 1.0]).cost_table
    kinds = kinds_of(table.with_cost("ms", {k: dict.fromkeys(v, 1.0) for k, v in table.candidates.items()}))
    assert kinds is not None
    assert kinds[2] == ["dw"] * 4 + ["xsep"] * 2 + ["c2sp"] * 2 + ["c4sp"] * 2 + ["mix"] * 2 + ["skip"]


def test_a_model_of_very_many_scores_is_fitted_to_the_best_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strategies.multi_trial.predictor._MOST", 20)
    fitted: list[np.ndarray] = []
    fit = GaussianProcess.fit

    def watched(self: GaussianProcess, chosen: np.ndarray, targets: np.ndarray, *, tune: bool) -> None:
        fitted.append(targets)
        fit(self, chosen, targets, tune=tune)

    monkeypatch.setattr(GaussianProcess, "fit", watched)
    landscape = Landscape(0)
    samples = [landscape.costs.sample(row) for row in np.random.default_rng(0).integers(0, 5, (60, 8))]
    scores = [*np.linspace(1.0, 0.0, 50).tolist(), *[-1.0] * 10]
    assert len(predict_scores(landscape.costs, samples, scores, samples)) == 60
    assert fitted[0].tolist() == [*scores[:10], *scores[-10:]]


def test_names_without_kinds_are_taken_as_they_are() -> None:
    assert kinds_of(Landscape(0, labels=2, values=3).costs) is None


def test_expected_improvement_is_the_mean_of_what_is_above() -> None:
    rng = np.random.default_rng(0)
    draws = 0.3 + 0.7 * rng.normal(size=200_000)
    expected = np.maximum(draws - 0.5, 0).mean()
    assert expected_improvement(np.array([0.3]), np.array([0.7]), 0.5)[0] == pytest.approx(expected, rel=0.02)


def test_noisy_scores_are_believed_as_far_as_the_model_follows_them() -> None:
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        landscape = Landscape(seed)
        feasible = FeasibleSet(landscape.costs, Budget())
        remaining = Remaining(feasible, lambda sample: tuple(sample.values()))
        proposer = PredictorProposer(PredictorOptions(), feasible, remaining, seed)
        samples = [landscape.costs.sample(row) for row in rng.integers(0, 5, (80, 8))]
        truth = np.array([landscape(sample) for sample in samples])
        metrics = truth + truth.std() * rng.normal(size=80)
        metrics[[3, 50]] = np.nan
        believed = np.array(proposer.believed(samples, metrics))
        assert (np.isnan(believed) == np.isnan(metrics)).all()
        known = ~np.isnan(metrics)
        raw, better = (np.corrcoef(values[known], truth[known])[0, 1] for values in (metrics, believed))
        gains.append(better - raw)
    assert np.mean(gains) > 0.02
    assert proposer.believed(samples[:2], [1.0, 2.0]) == [1.0, 2.0]  # too few for a model


@pytest.mark.parametrize("batch", [1, 5])
def test_small_spaces_are_searched_to_the_end_and_nothing_is_proposed_twice(batch: int) -> None:
    landscape = Landscape(3, labels=3, values=4)
    low, high = landscape.costs.reachable()["macs"]
    for budget in (Budget(), Budget(max_macs=(low + high) // 2)):
        scored, _ = run(landscape, 100, budget=budget, batch=batch)
        assert len(scored) == FeasibleSet(landscape.costs, budget).count


def test_proposals_are_inside_over_random_budgets() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        landscape = Landscape(seed, labels=4, values=4)
        assert run(landscape, 16, budget=random_budget(rng, landscape.costs), seed=seed)[0]


def test_scores_that_are_not_numbers_do_not_lead() -> None:
    landscape = Landscape(3, labels=3, values=4)
    scored, _ = run(landscape, 40, score=lambda s: landscape(s) if s["b1"] == 2 else math.nan)
    assert len(scored) == 40
    assert sum(sample["b1"] == 2 for sample, _ in scored) >= 12  # of 16; uniform draws would give 10


def test_failures_alone_do_not_stop_it() -> None:
    assert len(run(Landscape(3, labels=3, values=4), 64, score=lambda _: math.nan)[0]) == 64


def test_a_seed_gives_one_sequence() -> None:
    landscape = Landscape(0, labels=6, values=4)
    first, second, other = (run(landscape, 24, seed=seed)[0] for seed in (3, 3, 4))
    assert first == second != other


def test_it_finds_the_optimum_of_small_landscapes() -> None:
    regrets = []
    for seed in range(3):
        landscape = Landscape(seed, labels=5, values=4)
        best = max(landscape(landscape.costs.sample(np.array(row))) for row in np.ndindex(*([4] * 5)))
        regrets.append(best - max(metric for _, metric in run(landscape, 60, seed=seed)[0]))
    assert np.mean(regrets) < 0.1


@pytest.mark.parametrize(("budget", "landscapes"), [(False, 10), (True, 5)], ids=["free", "budget"])
def test_its_regret_is_at_most_half_of_evolutions(budget: bool, landscapes: int) -> None:
    """Of 100 architectures, mean of some landscapes of 390,625; those inside a budget differ less."""
    modelled = [regret("predictor", PredictorOptions(), seed, budget=budget) for seed in range(landscapes)]
    evolved = [regret("evolution", EvolutionOptions(), seed, budget=budget) for seed in range(landscapes)]
    assert np.mean(modelled) <= np.mean(evolved) / 2
