"""Supernets that two processes train together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.spaces import small_images
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from evaluators.training.processes import run_together
from evaluators.training.recipes import Recipe
from evaluators.training.supernet import supernet_evaluator
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.one_shot.base import OneShotSearch
from strategies.one_shot.supernet import RandomOneShot
from strategies.registry import make

COSTS = CostTable(
    candidates=dict.fromkeys(("first", "second"), ("narrow", "wide")),
    costs={metric: {label: np.array([1, 25]) for label in ("first", "second")} for metric in ("macs", "params")},
    fixed={"macs": 0, "params": 0},
)
STRATEGIES = ("darts", "gumbel-darts", "gdas", "proxyless", "enas", "uniform", "sandwich")


class Plain(ModelSpace):
    """Two choices and no batch norm, whose statistics are those of a process's share of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = LayerChoice({"narrow": nn.Conv2d(1, 4, 1), "wide": nn.Conv2d(1, 4, 5, padding=2)}, label="first")
        self.second = LayerChoice({"narrow": nn.Conv2d(4, 4, 1), "wide": nn.Conv2d(4, 4, 5, padding=2)}, label="second")
        self.classifier = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(torch.relu(self.first(x)))
        return self.classifier(nn.functional.adaptive_avg_pool2d(torch.relu(x), 4).flatten(1))


def learn(name: str, processes: int) -> dict[str, Any]:
    """What one of ``processes`` has learnt, as lists: weights, log-probabilities and the architecture exported."""
    torch.manual_seed(0)
    space = Plain()
    # 30 images in batches of 7: unequal shares of 3 and 4, and a last batch of 2 that is too small to be shared
    data = small_images(30)
    recipe = Recipe(epochs=2, batch_size=7, warmup_epochs=0, learning_rate=0.1, gradient_clip=0.5)
    common: dict[str, Any] = {"budget": Budget(max_macs=30), "costs": COSTS, "seed": 3}
    if name in ("uniform", "sandwich"):
        strategy: Any = RandomOneShot(sampling=name, **common)
    else:
        strategy = make(name, gradient_clip_val=recipe.gradient_clip, **common)
    clips = isinstance(strategy, OneShotSearch)
    evaluator = supernet_evaluator(data, recipe, accelerator="cpu", clips_gradients=clips, devices=processes)
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    logs = {label: own.tolist() for label, own in strategy.log_probabilities().items()} if clips else {}
    mutated = evaluator.trainer.lightning_module.training_module.model
    return {
        "weights": [parameter.detach().flatten().tolist() for parameter in mutated.parameters()],
        "logs": logs,
        "sample": strategy.export_sample() if clips else {},
        "world": evaluator.trainer.world_size,
    }


def learn_all(names: tuple[str, ...], processes: int, report: Any = None) -> list[dict[str, Any]]:
    """`learn` by each strategy; what the processes have learnt must be the same to the bit."""
    results = []
    for name in names:
        results.append(learn(name, processes))
        if processes > 1:
            everyone: list[Any] = [None] * processes
            torch.distributed.all_gather_object(everyone, results[-1])
            assert all(one == everyone[0] for one in everyone), f"{name}: the processes went apart"
    return results


@pytest.fixture(scope="module")
def learnt() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """{strategy: what one process and what two have learnt}."""
    together = run_together(learn_all, (STRATEGIES, 2), 2, None)
    return dict(zip(STRATEGIES, zip(learn_all(STRATEGIES, 1), together, strict=True), strict=True))


@pytest.mark.parametrize("name", STRATEGIES)
def test_two_processes_learn_what_one_does(name: str, learnt: dict[str, Any]) -> None:
    alone, together = learnt[name]
    assert (alone["world"], together["world"]) == (1, 2)
    for first, second in zip(alone["weights"], together["weights"], strict=True):
        assert second == pytest.approx(first, rel=1e-3, abs=1e-5)
    for label, logs in alone["logs"].items():
        assert together["logs"][label] == pytest.approx(logs, abs=1e-3)
        assert len(set(np.round(logs, 4))) > 1, "nothing learnt"
    assert together["sample"] == alone["sample"]
