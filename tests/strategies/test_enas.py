"""ENAS: its policy, what it is rewarded with, and that it learns, without tianshou."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from helpers.spaces import FOREIGN_COSTS, ForeignSpace, Landscape, run_one_shot, small_images
from scipy.stats import chisquare
from torch import nn

from evaluators.training.recipes import Recipe
from evaluators.training.supernet import supernet_evaluator
from search_space.base.errors import InvalidRequest
from strategies import ENAS, Budget, FeasibleSet
from strategies.one_shot.enas import EnasModule, FactorisedPolicy
from strategies.one_shot.options import EnasOptions


def policy_of(landscape: Landscape, share: float = 1.0, seed: int = 0) -> FactorisedPolicy:
    low, high = landscape.costs.reachable()["macs"]
    policy = FactorisedPolicy(FeasibleSet(landscape.costs, Budget(max_macs=int(low + share * (high - low)))))
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for logits in policy.logits:
            logits.copy_(torch.tensor(rng.normal(size=len(logits))))
    return policy


def log_probability(policy: FactorisedPolicy, sample: dict[str, Any]) -> torch.Tensor:
    """Without the budget, with gradient."""
    chosen = policy.feasible.table.indices(sample).tolist()
    return torch.stack([torch.log_softmax(own, -1)[i] for own, i in zip(policy.logits, chosen, strict=True)]).sum()


def inside(policy: FactorisedPolicy) -> list[dict[str, Any]]:
    table = policy.feasible.table
    every = [dict(zip(table.labels, values, strict=True)) for values in itertools.product(*table.candidates.values())]
    return [sample for sample in every if policy.feasible.admits(sample)]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_draws_follow_the_policy_restricted_to_the_budget(share: float) -> None:
    policy = policy_of(Landscape(1, labels=2, values=3), share)
    samples = inside(policy)
    assert len(samples) == 9 if share == 1.0 else 2 < len(samples) < 9
    with torch.no_grad():
        p = torch.stack([log_probability(policy, sample).exp() for sample in samples])
    p = p / p.sum()
    generator = torch.Generator().manual_seed(0)
    draws = [policy.draw(generator) for _ in range(2000)]
    counts = [draws.count(sample) for sample in samples]
    assert sum(counts) == len(draws), "a draw was outside"
    assert chisquare(counts, (p.double() * len(draws)).numpy(), sum_check=False).pvalue > 0.001


def test_a_budget_that_the_policy_all_but_misses_is_kept() -> None:
    landscape = Landscape(0, labels=8, values=5)
    policy = FactorisedPolicy(FeasibleSet(landscape.costs, Budget(max_macs=landscape.costs.reachable()["macs"][0])))
    with torch.no_grad():
        for logits, dearest in zip(policy.logits, landscape.costs.costs["macs"].values(), strict=True):
            logits[int(dearest.argmax())] = 20.0
    sample = policy.draw(torch.Generator().manual_seed(0))
    assert landscape.costs.cost(sample)["macs"] == landscape.costs.reachable()["macs"][0]


def test_log_probability_and_entropy_are_those_of_the_product() -> None:
    policy = policy_of(Landscape(2, labels=3, values=3))
    samples = inside(policy)
    with torch.no_grad():
        logs = torch.stack([log_probability(policy, sample) for sample in samples]).double()
        assert logs.exp().sum().item() == pytest.approx(1, abs=1e-6)
        assert policy.entropy().item() == pytest.approx(-(logs.exp() * logs).sum().item(), abs=1e-5)
    assert policy.log_probabilities()["b1"] == pytest.approx(torch.log_softmax(policy.logits[1].detach(), 0).numpy())


class Optimised(EnasModule):
    """Without a Trainer."""

    def __init__(self, policy: FactorisedPolicy, learning_rate: float, entropy_weight: float = 0.0) -> None:
        super().__init__(
            nn.Identity(),
            policy,
            EnasOptions(policy_learning_rate=learning_rate, entropy_weight=entropy_weight),
            generator=torch.Generator().manual_seed(0),
        )
        self.optimizer = self.configure_architecture_optimizers()

    def architecture_optimizers(self) -> Any:
        return self.optimizer

    def manual_backward(self, loss: Any, *args: Any, **kwargs: Any) -> None:
        loss.backward()


def test_the_mean_update_is_the_gradient_of_the_restricted_policys_expected_reward() -> None:
    """By enumeration: d/d logits of sum_x p(x) R(x) / sum_x p(x) over the architectures inside the budget."""
    landscape = Landscape(4, labels=2, values=3)
    policy = policy_of(landscape, 0.5)
    samples = inside(policy)
    rewards = torch.tensor([landscape(sample) for sample in samples])
    p = torch.stack([log_probability(policy, sample) for sample in samples]).exp()
    exact = torch.cat(torch.autograd.grad((p * rewards).sum() / p.sum(), list(policy.logits)))

    module = Optimised(policy, learning_rate=1e-30)
    total = torch.zeros_like(exact)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        drawn, q = policy.draw_alike(generator, 9)  # of two labels that is everything inside
        module.update_policy(drawn, q, [landscape(sample) for sample in drawn])
        total -= torch.cat([torch.zeros(3) if own.grad is None else own.grad for own in policy.logits])
    assert torch.cosine_similarity(total, exact, dim=0) > 0.99


@pytest.mark.parametrize(("share", "labels"), [(1.0, 1), (0.5, 2)])
def test_paths_that_are_compared_differ_in_one_label_or_in_two_inside_a_budget(share: float, labels: int) -> None:
    policy = policy_of(Landscape(5, labels=6, values=4), share)
    if share == 1.0:
        policy.feasible = FeasibleSet(policy.feasible.table, Budget())
    generator = torch.Generator().manual_seed(0)
    differed = set()
    for _ in range(30):
        samples, q = policy.draw_alike(generator, 4)
        assert q.sum().item() == pytest.approx(1)
        assert all(policy.feasible.admits(sample) for sample in samples)
        assert len({tuple(sample.values()) for sample in samples}) == len(samples) <= 4
        several = {label for label in samples[0] if len({sample[label] for sample in samples}) > 1}
        assert len(several) <= labels
        differed |= several
    assert differed == set(policy.feasible.table.labels)


def test_the_policy_learns_a_landscape_and_the_scale_of_rewards_does_not_matter() -> None:
    landscape = Landscape(6, labels=5, values=4, share=0.2)
    exports = []
    for scale in (1.0, 1000.0):
        policy = FactorisedPolicy(FeasibleSet(landscape.costs, Budget(max_macs=2500)))
        module = Optimised(policy, learning_rate=0.1)
        generator = torch.Generator().manual_seed(1)
        for _ in range(200):
            drawn, q = policy.draw_alike(generator, 4)
            module.update_policy(drawn, q, [scale * landscape(sample) for sample in drawn])
        exports.append(policy.feasible.best(policy.log_probabilities()))
    scores = sorted((landscape(sample) for sample in inside(policy)), reverse=True)
    assert landscape(exports[0]) >= scores[len(scores) // 100], "not among the best hundredth"
    assert exports[0] == exports[1]


def test_equal_rewards_teach_nothing_but_the_entropy_pulls_to_uniform() -> None:
    policy = policy_of(Landscape(2, labels=2, values=3))
    samples, q = policy.draw_alike(torch.Generator().manual_seed(0), 9)
    before = policy.entropy().item()
    Optimised(policy, learning_rate=0.1).update_policy(samples, q, [0.5] * len(samples))
    assert policy.entropy().item() == before
    Optimised(policy, learning_rate=0.1, entropy_weight=1.0).update_policy(samples, q, [0.5] * len(samples))
    assert policy.entropy().item() > before


class Rewarded(ForeignSpace):
    """Its wide layers give the right answer for the brightness of quarters no better; rewards come from the test."""


def search(strategy: ENAS, reward: Any, epochs: int = 20) -> Any:
    """Train with a validation step that logs ``reward(space)``; returns the one-shot module."""
    space = Rewarded()
    evaluator = supernet_evaluator(
        small_images(),
        Recipe(epochs=epochs, batch_size=8, warmup_epochs=0, learning_rate=0.05),
        accelerator="cpu",
        clips_gradients=True,
    )
    task = evaluator.module

    def validation_step(batch: Any, batch_idx: int) -> None:
        for name, value in reward(space).items():
            task.log(name, value)

    task.validation_step = validation_step
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace

    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    return strategy.oneshot_module


def chosen(space: Any) -> dict[str, str]:
    return {"first": space.first._sampled, "second": space.second._sampled}


def test_the_supernet_search_finds_what_is_rewarded_and_stays_inside() -> None:
    paths = []

    def reward(space: Any) -> dict[str, float]:
        paths.append(chosen(space))
        return {"val_loss": 1.0, "val_accuracy": float(chosen(space)["first"] == "wide")}

    strategy = ENAS(
        budget=Budget(max_macs=8000), costs=FOREIGN_COSTS, policy_learning_rate=0.3, reward_metric_name="val_accuracy"
    )
    search(strategy, reward)
    assert {path["second"] for path in paths} == {"narrow"}, "a wide second layer is outside the budget"
    assert {path["first"] for path in paths} == {"narrow", "wide"}
    assert strategy.export_sample() == {"first": "wide", "second": "narrow"}
    assert np.exp(strategy.log_probabilities()["first"][1]) > 0.9
    (model,) = strategy.list_models()
    assert model.sample == strategy.export_sample()


def test_warmup_asks_for_no_reward() -> None:
    def reward(space: Any) -> dict[str, float]:
        raise AssertionError("a reward was asked for")

    strategy = ENAS(costs=FOREIGN_COSTS, warmup_epochs=2)
    search(strategy, reward, epochs=2)
    assert all(p == pytest.approx(np.log([0.5, 0.5])) for p in strategy.log_probabilities().values())


@pytest.mark.parametrize(
    ("wanted", "logged", "message"),
    [
        (None, {"a": 1.0, "b": 2.0}, r"reward_metric_name: None does not say which of these to take: a, b; name one"),
        ("f1", {"a": 1.0}, r"reward_metric_name: 'f1' is not logged in validation_step; logged are a"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_an_unclear_reward_is_refused(wanted: str | None, logged: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        search(ENAS(costs=FOREIGN_COSTS, reward_metric_name=wanted), lambda space: logged, epochs=2)


@pytest.mark.parametrize(
    ("wanted", "logged", "value"),
    [
        ("val_loss", {"val_loss": 1.0, "val_accuracy": 2.0, "default": 3.0}, 1.0),
        ("default", {"val_loss": 1.0, "val_accuracy": 2.0, "default": 3.0}, 3.0),
        (None, {"val_loss": 1.0, "val_accuracy": 2.0, "default": 3.0}, 3.0),
        (None, {"val_loss": 1.0, "val_accuracy": 2.0}, -1.0),
        (None, {"val_loss": 1.0, "other_loss": 4.0, "val_accuracy": 2.0}, 2.0),
        (None, {"f1": 5.0}, 5.0),
    ],
)
def test_the_named_metric_or_the_default_or_the_loss_is_the_reward(
    wanted: str | None, logged: dict[str, float], value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[float] = set()
    monkeypatch.setattr(EnasModule, "update_policy", lambda self, paths, share, rewards: seen.update(rewards))
    search(ENAS(costs=FOREIGN_COSTS, reward_metric_name=wanted), lambda space: logged, epochs=2)
    assert seen == {value}


def test_rewards_change_no_batch_statistics_and_no_weights() -> None:
    space = ForeignSpace()
    space.norm = nn.BatchNorm2d(4)
    space.forward = lambda x: space.classifier(space.norm(space.second(space.first(x))).mean((2, 3)))  # type: ignore[method-assign]
    strategy = ENAS(costs=FOREIGN_COSTS)
    run_one_shot(strategy, space, epochs=1, batch_size=16)  # two steps, with rewards each
    assert space.norm.num_batches_tracked.item() == 2


def test_too_few_paths_to_compare_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"paths_per_step: 1 must be a whole number of at least 2"):
        ENAS(paths_per_step=1)


def test_state_travels_with_a_checkpoint() -> None:
    landscape = Landscape(1, labels=2, values=3)
    first, second = (Optimised(policy_of(landscape, seed=seed), 0.1) for seed in (1, 2))
    first.policy.draw(first.generator)
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    second.load_state_dict(first.state_dict())
    draws = [[module.policy.draw(module.generator) for _ in range(10)] for module in (first, second)]
    assert draws[0] == draws[1]
