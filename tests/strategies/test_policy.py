"""Policy-based reinforcement learning: with tianshou where it is installed, else what is said without it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from helpers.spaces import Landscape, random_budget, run_table

from search_space.base.errors import InvalidRequest
from strategies import Budget, PolicyBasedRL
from strategies.multi_trial import policy_rl

needs_tianshou = pytest.mark.skipif(find_spec("tianshou") is None, reason="tianshou is an optional dependency")


def test_without_tianshou_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_rl, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest) as caught:
        PolicyBasedRL()
    assert str(caught.value) == (
        "strategy.name: policy-rl needs tianshou, which is not installed; pip install tianshou==0.4.11 gym==0.26.2"
    )


def strategy(landscape: Landscape, budget: Budget | None = None, **options: Any) -> PolicyBasedRL:
    return PolicyBasedRL(budget=budget, costs=landscape.costs, **options)


@needs_tianshou
def test_whatever_is_asked_for_is_inside_over_100_random_budgets() -> None:
    rng = np.random.default_rng(0)
    for seed in range(100):
        landscape = Landscape(seed, labels=3, values=3)
        budget = random_budget(rng, landscape.costs)
        ((sample, _),) = run_table(strategy(landscape, budget, seed=seed), landscape, 1)
        assert budget.admits(landscape.costs.cost(sample))


@needs_tianshou
def test_the_rewarded_trajectory_is_that_of_the_scored_architecture() -> None:
    landscape = Landscape(0, labels=5, values=4)
    low, high = landscape.costs.reachable()["macs"]
    searching = strategy(landscape, Budget(max_macs=low + (high - low) // 5))
    asked = run_table(searching, landscape, 12)
    buffer = searching.proposer.replay_buffer
    assert buffer is not None
    decisions = np.asarray(buffer.act[:60]).reshape(12, 5)
    assert decisions.tolist() == [list(sample.values()) for sample, _ in asked]
    assert np.asarray(buffer.rew[:60]).reshape(12, 5)[:, -1] == pytest.approx([metric for _, metric in asked])


@needs_tianshou
def test_a_seed_gives_one_sequence_and_leaves_the_global_states_alone() -> None:
    landscape = Landscape(0, labels=5, values=4)
    sequences = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(sequences))
        np.random.seed(len(sequences))  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]  # noqa: NPY002
        sequences.append(run_table(strategy(landscape, seed=seed, samples_per_update=4), landscape, 12))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[union-attr]  # noqa: NPY002
    assert sequences[0] == sequences[1] != sequences[2]


@needs_tianshou
def test_a_stopped_search_goes_on_as_if_it_had_not_stopped() -> None:
    landscape = Landscape(1, labels=4, values=3)
    whole = run_table(strategy(landscape, samples_per_update=3), landscape, 10)
    first = strategy(landscape, samples_per_update=3)
    run_table(first, landscape, 6)
    resumed = strategy(landscape, samples_per_update=3)
    assert run_table(resumed, landscape, 4, state=first.state_dict()) == whole[6:]


@needs_tianshou
def test_the_policy_learns() -> None:
    from functools import partial

    from nni.nas.strategy._rl_impl import default_policy_fn

    landscape = Landscape(2, labels=4, values=3)
    asked = run_table(
        strategy(landscape, samples_per_update=10, policy_fn=partial(default_policy_fn, lr=0.02)), landscape, 90
    )
    scores = [score for _, score in asked]
    assert np.mean(scores[-30:]) > np.mean(scores[:30]) + 0.5


@needs_tianshou
def test_failures_teach_nothing() -> None:
    landscape = Landscape(2, labels=4, values=3)
    searching = strategy(landscape, samples_per_update=2)
    run_table(searching, landscape, 6, score=lambda sample: float("nan"))
    assert searching.proposer.trajectories == 0
