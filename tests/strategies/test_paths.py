"""Paths that a supernet is trained on: uniform, fair, sandwich."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from helpers.spaces import random_table, run_one_shot, small_images, small_space
from torch.nn import functional as F

from search_space.space import SepConvSpace
from strategies import Budget, FeasibleSet, RandomOneShot
from strategies.one_shot.supernet import FairPaths, SandwichPaths, _PathModule


def test_fair_paths_draw_every_candidate_once_before_any_twice() -> None:
    table = random_table(np.random.default_rng(0), labels=5, candidates=7)
    paths, rng = FairPaths(table), np.random.RandomState(0)
    for _ in range(6):
        drawn = [paths.random(rng) for _ in range(7)]
        for label, values in table.candidates.items():
            assert sorted(sample[label] for sample in drawn) == sorted(values)


def test_fair_paths_keep_rounds_of_labels_apart() -> None:
    space = small_space()
    sizes = {len(names) for names in space.search_space.candidates}
    assert len(sizes) > 1, "all labels have the same number of candidates"
    paths, rng = FairPaths(space.cost_table), np.random.RandomState(0)
    draws = 3 * int(np.lcm.reduce(list(sizes)))
    drawn = [paths.random(rng) for _ in range(draws)]
    for label, values in space.cost_table.candidates.items():
        assert set(Counter(sample[label] for sample in drawn).values()) == {draws // len(values)}


def test_fair_paths_differ_from_round_to_round_and_follow_their_seed() -> None:
    table = random_table(np.random.default_rng(0), labels=4, candidates=6)

    def draw(seed: int) -> list[dict[str, Any]]:
        paths, rng = FairPaths(table), np.random.RandomState(seed)
        return [paths.random(rng) for _ in range(12)]

    assert draw(1) == draw(1) != draw(2)
    assert draw(1)[:6] != draw(1)[6:]


def test_fair_paths_go_on_in_the_middle_of_a_round() -> None:
    table = random_table(np.random.default_rng(0), labels=3, candidates=5)
    paths, rng = FairPaths(table), np.random.RandomState(0)
    for _ in range(3):
        paths.random(rng)
    again = FairPaths(table)
    again.load_state_dict(paths.state_dict())
    other = np.random.RandomState()
    other.set_state(rng.get_state())
    assert [paths.random(rng) for _ in range(9)] == [again.random(other) for _ in range(9)]


def test_sandwich_has_the_extremes_of_the_budget_around_random_paths() -> None:
    table = small_space().cost_table
    low, high = table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 2, min_macs=low + (high - low) // 10)
    feasible = FeasibleSet(table, budget)
    paths, rng = SandwichPaths(feasible, randoms=3), np.random.RandomState(0)
    largest, *randoms, smallest = paths.step(rng)
    assert len(randoms) == 3
    costs = [table.cost(feasible.random(rng))["macs"] for _ in range(300)]
    assert table.cost(smallest)["macs"] <= min(costs)
    assert table.cost(largest)["macs"] >= max(costs)
    assert all(feasible.admits(sample) for sample in (largest, *randoms, smallest))
    assert paths.step(rng)[0] == largest


class _Source:
    """Stands in for a path module's parts: which candidate of every block ran."""

    def __init__(self, space: SepConvSpace) -> None:
        self.ran: list[dict[str, str]] = []
        for label, choice in zip(space.search_space.labels, space.blocks, strict=True):
            for name in choice.names:
                choice[name].register_forward_hook(lambda *_, label=label, name=name: self._note(label, name))

    def _note(self, label: str, name: str) -> None:
        if label == "block00":
            self.ran.append({})
        self.ran[-1][label] = name


@pytest.mark.parametrize("sampling", ["uniform", "fair", "sandwich"])
def test_supernets_train_on_the_paths_that_are_asked_for(sampling: Any) -> None:
    space = small_space()
    table = space.cost_table
    low, high = table.reachable()["macs"]
    budget = Budget(max_macs=low + (high - low) // 3)
    before = {name: tensor.clone() for name, tensor in space.state_dict().items()}
    noted = _Source(space)
    run_one_shot(RandomOneShot(budget=budget, sampling=sampling, seed=1), space, epochs=2, clips=False)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in space.state_dict().items())
    inside = [FeasibleSet(table, budget).admits(sample) for sample in noted.ran]
    steps = 4
    assert len(noted.ran) == steps * (4 if sampling == "sandwich" else 1)
    assert all(inside) == (sampling != "fair")
    if sampling == "sandwich":
        assert len({tuple(sample.values()) for sample in noted.ran[::4]}) == 1
        assert len({tuple(sample.values()) for sample in noted.ran}) == 2 + 2 * steps


def test_in_place_distillation_is_the_mean_of_task_loss_and_soft_cross_entropies() -> None:
    from evaluators.training.module import ClassificationModule
    from evaluators.training.recipes import Recipe

    space = small_space()
    mutated = RandomOneShot().mutate_model(space)
    for choice in mutated.blocks:
        choice.train()
    module = ClassificationModule(Recipe(), mutated)
    module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    paths = SandwichPaths(FeasibleSet(space.cost_table, Budget()), randoms=1)
    path_module = _PathModule(module, paths, np.random.RandomState(3))
    path_module.set_model(mutated)
    data = small_images(16)
    batch = (data.train.images.float() / 255, data.train.labels)
    loss = path_module.training_step(batch, 0)
    # by hand, with networks frozen out of the space
    samples = paths.step(np.random.RandomState(3))
    logits = [mutated.freeze(sample).train()(batch[0]) for sample in samples]
    target = logits[0].detach().softmax(-1)
    expected = F.cross_entropy(logits[0], batch[1])
    for own in logits[1:]:
        expected = expected - (target * own.log_softmax(-1)).sum(1).mean()
    torch.testing.assert_close(loss, expected / 3, atol=1e-4, rtol=1e-3)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in mutated.parameters() if p.grad is not None)


@pytest.mark.parametrize("sampling", ["uniform", "fair", "sandwich"])
def test_same_seed_trains_the_same_supernet(sampling: Any) -> None:
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(0)
        space = small_space()
        run_one_shot(RandomOneShot(sampling=sampling, seed=seed), space, clips=False)
        states.append(space.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
