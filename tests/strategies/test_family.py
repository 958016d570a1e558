"""What NNI 3.0's own strategies get wrong without a word, beside what ours give on the same space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.spaces import FOREIGN_COSTS, ForeignSpace, Landscape, run_one_shot, run_table
from nni.mutable import frozen_context
from nni.nas import strategy as nnis
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, Repeat
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.strategy import hpo
from scipy.stats import chisquare, wilcoxon
from torch import Tensor, nn

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies import (
    TPE,
    Budget,
    FeasibleSet,
    GridSearch,
    GumbelDARTS,
    Proxyless,
    Random,
    RandomOneShot,
    RegularizedEvolution,
)
from strategies.budget.remaining import Remaining
from strategies.multi_trial.tpe import TpeOptions, TpeProposer
from strategies.one_shot.base import MixedLayer
from strategies.one_shot.gumbel import GumbelLayer
from strategies.one_shot.proxyless import BinaryGateLayer


class Twice(ModelSpace):
    """One label at two places; a batch norm in every candidate."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 1)
        self.first, self.second = (
            LayerChoice(
                {
                    name: nn.Sequential(nn.Conv2d(4, 4, kernel, padding=kernel // 2), nn.BatchNorm2d(4))
                    for name, kernel in (("small", 1), ("middle", 3), ("large", 5))
                },
                label="both",
            )
            for _ in range(2)
        )
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(self.stem(x))).mean((2, 3)))


TWICE_COSTS = CostTable(
    {"both": ("small", "middle", "large")},
    {"macs": {"both": np.array([1, 9, 25])}, "params": {"both": np.array([1, 9, 25])}},
    {"macs": 0, "params": 0},
)


def resample(space: nn.Module) -> dict[Any, Any]:
    """As NNI's one-shot modules do in every step."""
    memo: dict[Any, Any] = {}
    for module in space.modules():
        if isinstance(module, BaseSuperNetModule):
            memo.update(module.resample(memo=memo))
    return memo


def mutated(strategy: Any, seed: int = 0) -> Any:
    """A `Twice` that ``strategy`` has made a supernet of, with a generator for its layers."""
    torch.manual_seed(0)
    space = strategy.mutate_model(Twice())
    generator = torch.Generator().manual_seed(seed)
    for layer in (space.first, space.second):
        if isinstance(layer, MixedLayer):  # not one of NNI's
            layer.draws.generator = generator
    return space


# --- Proxyless


def test_nnis_proxyless_exports_at_random_and_ours_does_not() -> None:
    """With logits 1, 0.9 and 0.8 the first candidate is the answer."""
    exports = {}
    for strategy in (nnis.Proxyless(), Proxyless(costs=TWICE_COSTS)):
        space = strategy.mutate_model(Twice())
        with torch.no_grad():
            strategy._arch_parameters["both"].copy_(torch.tensor([1.0, 0.9, 0.8]))
        if isinstance(strategy, Proxyless):
            exports["ours"] = {strategy.export_sample()["both"] for _ in range(40)}
        else:
            exports["NNI"] = {space.first.export({})["both"] for _ in range(40)}
    assert len(exports["NNI"]) > 1
    assert exports["ours"] == {"small"}


@pytest.mark.parametrize("ours", [False, True])
def test_only_sampled_candidates_learn_batch_statistics(ours: bool) -> None:
    """NNI's backward pass runs every candidate in training mode."""
    strategy = Proxyless(costs=TWICE_COSTS) if ours else nnis.Proxyless()
    space = mutated(strategy)
    sampled = {resample(space)["both"]}
    space(torch.randn(4, 1, 8, 8)).square().mean().backward()
    counted = {name for name in space.first.names if space.first[name][1].num_batches_tracked.item()}
    assert counted == sampled if ours else counted == {"small", "middle", "large"}


def test_an_architecture_step_of_proxyless_runs_two_candidates_and_a_weight_step_one() -> None:
    space = mutated(Proxyless(costs=TWICE_COSTS))
    calls: list[str] = []
    for layer in (space.first, space.second):
        for name in layer.names:
            layer[name].register_forward_hook(lambda *_, name=name: calls.append(name))
    resample(space)
    space(torch.randn(2, 1, 8, 8))
    assert len(calls) == 4
    assert len(set(calls)) == 2
    assert calls[:2] == calls[2:], "one label, another path"
    calls.clear()
    with torch.no_grad():
        resample(space)
    space(torch.randn(2, 1, 8, 8))
    assert len(calls) == 2
    assert len(set(calls)) == 1


def test_the_gate_gradient_is_that_of_the_mixture_of_two() -> None:
    """d(sum_k g_k o_k) / d alpha through the softmax over the two, at the output of the sampled one."""
    with frozen_context():
        layer = BinaryGateLayer(
            {"a": nn.Identity(), "b": nn.Tanh(), "c": nn.Sigmoid()},
            nn.Parameter(torch.tensor([0.5, 0.0, -0.3])),
            nn.Softmax(-1),
            "label",
        )
    layer.draws.generator = torch.Generator().manual_seed(0)
    x = torch.tensor([0.3, -1.2])
    layer.resample({})
    pair = layer._pair
    assert pair is not None
    output = layer(x)
    assert torch.equal(output, layer[layer.names[pair[0]]](x))
    upstream = torch.tensor([2.0, -1.0])
    (output * upstream).sum().backward()
    alpha = layer._arch_alpha.detach()[list(pair)].requires_grad_()
    gates = torch.softmax(alpha, 0)
    results = [layer[layer.names[index]](x).detach() for index in pair]
    ((gates[0] * results[0] + gates[1] * results[1]) * upstream).sum().backward()
    expected = torch.zeros(3)
    assert alpha.grad is not None
    expected[list(pair)] = alpha.grad
    assert layer._arch_alpha.grad is not None
    assert torch.allclose(layer._arch_alpha.grad, expected, atol=1e-6)


def test_weight_steps_of_proxyless_follow_the_probabilities() -> None:
    space = mutated(Proxyless(costs=TWICE_COSTS))
    with torch.no_grad():
        space.first._arch_alpha.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
        draws = [resample(space)["both"] for _ in range(2000)]
    counts = [draws.count(name) for name in ("small", "middle", "large")]
    assert chisquare(counts, [1000, 600, 400]).pvalue > 0.001


def test_proxyless_refuses_what_it_does_not_sample() -> None:
    class Deep(ModelSpace):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = Repeat(lambda index: nn.Linear(1, 1), (1, 3), label="depth")

    costs = CostTable({"depth": (1, 2, 3)}, {"macs": {"depth": np.arange(3)}}, {"macs": 0})  # type: ignore[dict-item]
    with pytest.raises(InvalidRequest, match=r"space: blocks is a Repeat with choices; proxyless samples LayerChoice"):
        Proxyless(costs=costs).mutate_model(Deep())


# --- GumbelDARTS


def test_one_label_in_two_places_gets_one_noise() -> None:
    theirs = nnis.GumbelDARTS().mutate_model(Twice())
    first, second = (layer._softmax(layer._arch_alpha) for layer in (theirs.first, theirs.second))
    assert not torch.equal(first, second)

    space = mutated(GumbelDARTS(costs=TWICE_COSTS))
    resample(space)
    assert isinstance(space.first, GumbelLayer)
    assert torch.equal(space.first.weights(), space.second.weights())
    before = space.first.weights()
    resample(space)
    assert not torch.equal(space.first.weights(), before)


def test_gumbel_weights_are_a_mixture_that_hardens() -> None:
    space = mutated(GumbelDARTS(costs=TWICE_COSTS))
    layer = space.first
    with torch.no_grad():
        layer._arch_alpha.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    x = torch.randn(2, 4, 6, 6)
    space.eval()
    chosen = []
    for _ in range(1500):
        resample(space)
        chosen.append(int(layer.weights().argmax()))
    mixture = sum(w * layer[name](x) for w, name in zip(layer.weights(), layer.names, strict=True))
    assert torch.allclose(layer(x), mixture, atol=1e-6)
    # the largest weight falls on a candidate as often as it is probable (the Gumbel-max trick)
    assert chisquare(np.bincount(chosen, minlength=3), [750, 450, 300]).pvalue > 0.001
    entropies = []
    for tau in (5.0, 1.0, 0.1):
        layer.draws.tau = tau
        weights = layer.weights()
        assert weights.sum().item() == pytest.approx(1)
        entropies.append(-(weights * weights.clamp_min(1e-30).log()).sum().item())
    assert entropies == sorted(entropies, reverse=True)


def test_the_temperature_falls_during_the_search() -> None:
    strategy = GumbelDARTS(costs=FOREIGN_COSTS, temperature_first=2.0, temperature_last=0.5)
    space = ForeignSpace()
    seen = []

    def note(layer: Any, *_: Any) -> None:
        seen.append(layer.draws.tau)

    strategy.default_mutation_hooks = lambda: [_Watched.mutate]  # type: ignore[method-assign]
    _Watched.note = note
    run_one_shot(strategy, space, epochs=3, batch_size=32)
    assert sorted(set(seen), reverse=True) == pytest.approx([2.0, 1.5, 1.0])


class _Watched(GumbelLayer):
    note: Any

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        _Watched.note(self)
        return super().forward(*args, **kwargs)


# --- RandomOneShot


def test_nnis_random_one_shot_exports_outside_its_filter_and_ours_inside_the_budget() -> None:
    """Half of the architectures are too dear."""
    budget = Budget(max_macs=8000)
    space = ForeignSpace()
    theirs = nnis.RandomOneShot(filter=lambda sample: budget.admits(FOREIGN_COSTS.cost(sample)))
    run_one_shot(theirs, space, clips=False)
    theirs.oneshot_module.set_model(space)
    with pytest.warns(UserWarning, match="arbitrary"):
        exported = [theirs.oneshot_module.export() for _ in range(40)]
    assert not all(budget.admits(FOREIGN_COSTS.cost(sample)) for sample in exported)

    ours = RandomOneShot(budget=budget, costs=FOREIGN_COSTS)
    ours.mutate_model(ForeignSpace())
    assert all(budget.admits(FOREIGN_COSTS.cost(ours.feasible.random(ours.rng))) for _ in range(40))


# --- multi-trial strategies


def small() -> Landscape:
    return Landscape(5, labels=3, values=4)


@pytest.mark.parametrize("name", ["RegularizedEvolution", "Random"])
def test_nnis_give_up_on_a_space_of_64_and_ours_find_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"population_size": 10, "sample_size": 5} if name == "RegularizedEvolution" else {}
    landscape = small()
    theirs = [len(run_table(getattr(nnis, name)(**options, seed=seed), landscape, 100)) for seed in range(3)]
    ours = {"RegularizedEvolution": RegularizedEvolution, "Random": Random}[name]
    found = [len(run_table(ours(**options, costs=landscape.costs, seed=seed), landscape, 100)) for seed in range(3)]
    assert found == [64, 64, 64]
    if name == "RegularizedEvolution":
        assert min(theirs) < 64


def test_a_metric_that_is_not_a_number_leads_nnis_evolution_and_not_ours() -> None:
    """`max` of a list that begins with nan is nan. All who choose 0 first fail here."""

    def score(sample: Any) -> float:
        return math.nan if sample["b0"] == 0 else 0.5

    failures = []
    for strategy in (
        nnis.RegularizedEvolution(population_size=10, sample_size=10, mutation_prob=0.05, seed=1),
        RegularizedEvolution(population_size=10, sample_size=10, mutation_prob=0.05, costs=small().costs, seed=1),
    ):
        run_table(strategy, small(), 25, score=score)
        draw = strategy.best_parent if hasattr(strategy, "best_parent") else strategy.proposer._parent
        failures.append(sum(draw()["b0"] == 0 for _ in range(50)))
    assert failures[0] > 0
    assert failures[1] == 0


def test_nnis_grid_varies_the_last_labels_only_and_ours_all_evenly() -> None:
    landscape = Landscape(0, labels=6, values=4)
    theirs = run_table(nnis.GridSearch(seed=0), landscape, 60)
    assert {sample["b0"] for sample, _ in theirs} == {sample["b1"] for sample, _ in theirs} == {0}
    for shuffle in (False, True):
        ours = run_table(GridSearch(costs=landscape.costs, shuffle=shuffle), landscape, 12)
        for label, values in landscape.candidates.items():
            for start in (0, 4, 8):
                assert {sample[label] for sample, _ in ours[start : start + 4]} == set(values)


def test_without_shuffling_the_seed_does_not_matter_to_the_grid() -> None:
    landscape = small()
    orders = [run_table(GridSearch(costs=landscape.costs, shuffle=False, seed=s), landscape, 64) for s in (0, 1)]
    assert orders[0] == orders[1]
    assert orders[0][0][0] == {"b0": 0, "b1": 0, "b2": 0}


def test_nnis_tpe_minimises_the_metric_and_ours_maximises_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpo.time, "sleep", lambda seconds: None)  # a second a trial
    landscape = Landscape(0, labels=6, values=4)
    gains = {}
    for name, strategy in (("NNI", nnis.TPE(seed=0)), ("ours", TPE(costs=landscape.costs))):
        scores = [score for _, score in run_table(strategy, landscape, 120)]
        gains[name] = np.mean(scores[-40:]) - np.mean(scores[:20])
    assert gains["NNI"] < -1
    assert gains["ours"] > 1


def plain_tpe(landscape: Landscape, **options: Any) -> TpeProposer:
    feasible = FeasibleSet(landscape.costs, Budget())
    remaining = Remaining(feasible, lambda sample: tuple(sample.values()))
    return TpeProposer(TpeOptions(**options), feasible, remaining, 0)


def test_tpe_prefers_what_good_ones_have_and_others_have_not() -> None:
    """By hand: of 16 scores the best one is good. With a prior of 1, l = (2, 1) / 3 and g = (1 + 5, 1 + 10) / 17."""
    landscape = Landscape(0, labels=1, values=2)
    proposer = plain_tpe(landscape, n_startup_jobs=1, gamma=0.25)
    for trial in range(16):
        proposer.observe(trial, {"b0": 0 if trial in (0, 3, 6, 9, 12, 15) else 1}, float(trial))
    good, ratio = proposer._estimate()
    assert good["b0"] == pytest.approx([2 / 3, 1 / 3])
    assert ratio["b0"] == pytest.approx([math.log(2 / 3 / (6 / 17)), math.log(1 / 3 / (11 / 17))])


def test_tpe_forgets_slowly() -> None:
    """The newest scores count 1, the oldest 1 / n, in between linearly."""
    proposer = plain_tpe(small(), linear_forgetting=2)
    oldest_first = np.array([0, 1, 1, 0, 0])
    weights = [1 / 5, 3 / 5, 1, 1, 1]
    zero, one = weights[0] + weights[3] + weights[4] + 1, weights[1] + weights[2] + 1
    assert proposer._density(oldest_first, 2) == pytest.approx([zero / (zero + one), one / (zero + one)])


def test_random_is_uniform_inside_the_budget() -> None:
    landscape = Landscape(3, labels=2, values=4)
    low, high = landscape.costs.reachable()["macs"]
    budget = Budget(max_macs=(low + high) // 2)
    strategy = Random(budget=budget, costs=landscape.costs, dedup=False)
    asked = run_table(strategy, landscape, 1500)
    counts: dict[tuple[int, ...], int] = {}
    for sample, _ in asked:
        key = tuple(sample.values())
        counts[key] = counts.get(key, 0) + 1
    inside = sum(budget.admits(landscape.costs.cost({"b0": a, "b1": b})) for a in range(4) for b in range(4))
    assert 2 < inside < 16
    assert len(counts) == inside
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_evolution_forgets_the_oldest_not_the_worst() -> None:
    landscape = Landscape(0, labels=4, values=4)
    strategy = RegularizedEvolution(costs=landscape.costs, population_size=5, sample_size=2)
    asked = run_table(strategy, landscape, 17)
    assert list(strategy.proposer.population) == asked[-5:]


def test_evolution_beats_random_search_at_equal_evaluations() -> None:
    """Best score of 100 architectures under a budget of 40% of the range, on 12 landscapes; paired, one-sided."""
    better, initial = [], []
    for seed in range(12):
        landscape = Landscape(seed)
        low, high = landscape.costs.reachable()["macs"]
        budget = Budget(max_macs=low + 4 * (high - low) // 10)
        evolution = RegularizedEvolution(budget=budget, costs=landscape.costs, seed=seed)
        evolved = [score for _, score in run_table(evolution, landscape, 100)]
        random = Random(budget=budget, costs=landscape.costs, seed=100 + seed)
        drawn = [score for _, score in run_table(random, landscape, 100)]
        better.append(max(evolved) - max(drawn))
        initial.append(np.mean(evolved[:20]) - np.mean(drawn[:20]))
    assert wilcoxon(better, alternative="greater").pvalue < 0.005
    # the initial phase is random search inside the budget: no sign that it is worse
    assert wilcoxon(initial, alternative="less").pvalue > 0.05
