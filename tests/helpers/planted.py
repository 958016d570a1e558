"""Problems whose best architecture is known: four choices among four candidates of which one is the cleanest.

The candidates of a choice are alike but for what handicaps them: noise on their output, in proportion to it so that no
later layer can scale it away, or inputs that they do not see. The cleaner a candidate, the dearer it is.

In ``tests/``, ``python -m helpers.planted 10 gdas,enas warmup_epochs=0`` prints what strategies find in ten searches of
each form, and ``--fidelity`` before it how well their gradient ranks candidates.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.cost_table import CostTable
from strategies import Budget
from strategies.one_shot.enas import EnasModule
from strategies.registry import STRATEGIES, make

Form = Literal["parallel", "chain", "chain-bn", "residual"]
Handicap = Literal["noise", "blind"]
FORMS: tuple[Form, ...] = ("parallel", "chain", "chain-bn", "residual")

LAYERS, CANDIDATES, GROUP, CLASSES = 4, 4, 6, 8
#: Standard deviation inside a cluster; their centres are 1 apart from 0 in every direction.
SPREAD = 1.0
#: Standard deviation of the noise in that of the output, of the cleanest candidate first.
NOISE = (0.0, 0.7, 1.1, 1.5)
#: Share of the inputs that a candidate does not see.
BLIND = (0.0, 0.34, 0.5, 0.67)
#: Costs of the cleanest candidate first; how dear a layer is differs.
COSTS = (4, 3, 2, 1)
LAYER_COSTS = (10, 17, 13, 8)


class Handicapped(nn.Module):
    """A linear layer, perhaps with a norm and a skip, whose output is noisy or whose input is partly hidden."""

    def __init__(self, inputs: int, outputs: int, handicap: Handicap, level: int, form: Form, hidden: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(self.linear.weight)
        self.norm = nn.BatchNorm1d(outputs) if form in ("chain-bn", "residual") else nn.Identity()
        self.noise = NOISE[level] if handicap == "noise" else 0.0
        self.skips = form == "residual"
        seen = torch.ones(inputs)
        if handicap == "blind":
            seen[hidden[: round(BLIND[level] * inputs)]] = 0
        self.register_buffer("seen", seen, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.seen
        y = F.leaky_relu(self.norm(self.linear(x)), 0.2)
        y = x + y if self.skips else y
        return y + self.noise * y.detach().square().mean().sqrt() * torch.randn_like(y) if self.noise else y


def shapes(form: Form) -> list[tuple[int, int]]:
    """(inputs, outputs) of the four layers."""
    if form == "parallel":
        return [(GROUP, 16)] * LAYERS
    return [(24, 24)] * LAYERS if form == "residual" else [(24, 32), (32, 28), (28, 24), (24, 20)]


class PlantedSpace(ModelSpace):
    """Four choices beside each other, one after the other, or as residual blocks."""

    def __init__(self, form: Form, handicap: Handicap, orders: Sequence[Sequence[int]], seed: int = 0) -> None:
        super().__init__()
        self.form = form
        generator = torch.Generator().manual_seed(seed)
        widths = shapes(form)
        self.stem = nn.Linear(LAYERS * GROUP, 24) if form == "residual" else nn.Identity()
        self.layers = nn.ModuleList()
        for index, ((inputs, outputs), order) in enumerate(zip(widths, orders, strict=True)):
            hidden = torch.randperm(inputs, generator=generator)
            self.layers.append(
                LayerChoice(
                    {f"level{k}": Handicapped(inputs, outputs, handicap, k, form, hidden) for k in order},
                    label=f"layer{index}",
                )
            )
            first = self.layers[-1]["level0"].linear
            for k in range(1, CANDIDATES):  # alike but for their handicaps
                self.layers[-1][f"level{k}"].linear.load_state_dict(first.state_dict())
        self.classifier = nn.Linear(LAYERS * 16 if form == "parallel" else widths[-1][1], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, list(self.layers))

    def run(self, x: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """The logits by these four layers."""
        x = self.stem(x)
        if self.form == "parallel":
            groups = x.split(GROUP, dim=1)
            x = torch.cat([layer(group) for layer, group in zip(layers, groups, strict=True)], dim=1)
        else:
            for layer in layers:
                x = layer(x)
        return self.classifier(x)

    def run_path(self, x: Tensor, levels: Sequence[int]) -> Tensor:
        """The logits by one candidate of each choice, whatever a strategy has made of the choices."""
        return self.run(x, [layer[f"level{k}"] for layer, k in zip(self.layers, levels, strict=True)])


@dataclass(frozen=True)
class Batches:
    """Vectors of eight classes, two clusters each; every group of six numbers tells a part."""

    inputs: Tensor
    labels: Tensor

    @classmethod
    def drawn(cls, seed: int, count: int, draw: int) -> Batches:
        means = torch.randn(2 * CLASSES, LAYERS * GROUP, generator=torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(1000 * seed + draw)
        clusters = torch.randint(0, 2 * CLASSES, (count,), generator=generator)
        inputs = means[clusters] + SPREAD * torch.randn(count, LAYERS * GROUP, generator=generator)
        return cls(inputs, clusters % CLASSES)

    def shuffled(self, size: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), generator=generator)
        return [(self.inputs[part], self.labels[part]) for part in order.split(size)]


class Task(LightningModule):
    """Classification by stochastic gradient descent that cools down."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch[0])
        self.log("val_loss", F.cross_entropy(logits, batch[1]))
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.03, momentum=0.9, weight_decay=1e-4)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)]


class _Driven:
    """Stands in a one-shot module for what Lightning's trainer does: the same steps, a third of the time."""

    trainer: Any

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept."""

    def manual_backward(self, loss: Tensor, **kwargs: Any) -> None:
        loss.backward(**kwargs)

    def architecture_optimizers(self) -> Any:
        return self.driven[-1]

    def advance_optimization(self, loss: Tensor, batch_idx: int, clip: float | None = None) -> None:
        self.driven[0].zero_grad()
        loss.backward()
        self.driven[0].step()

    def advance_lr_schedulers(self, batch_idx: int) -> None:
        self.driven_schedule.step()


def drive(strategy: Any, space: ModelSpace, train: Batches, val: Batches, epochs: int, batch: int, seed: int) -> Any:
    """Run a one-shot strategy's own steps on the CPU; its module."""
    task = Task(steps=epochs * -(-len(train.labels) // batch))
    model = strategy.mutate_model(space)
    task.set_model(model)
    module = strategy.configure_oneshot_module(task)
    module.__class__ = type("Driven", (_Driven, type(module)), {"trainer": None, "driven": None})
    module.trainer = SimpleNamespace(current_epoch=0, max_epochs=epochs)
    optimizers, schedules = module.configure_optimizers()
    module.driven, module.driven_schedule = optimizers, schedules[0]
    generator = torch.Generator().manual_seed(seed)
    module.train()
    index = 0
    for epoch in range(epochs):
        module.trainer.current_epoch = epoch
        if hasattr(type(module), "arch_parameters"):
            module.on_train_epoch_start()
        for ours, theirs in zip(train.shuffled(batch, generator), val.shuffled(batch, generator), strict=True):
            module.training_step({"train": ours, "val": theirs}, index)
            index += 1
    return module


def cost_table(orders: Sequence[Sequence[int]]) -> CostTable:
    names = [f"layer{index}" for index in range(LAYERS)]
    macs = {
        name: np.array([LAYER_COSTS[i] * COSTS[k] for k in order])
        for i, (name, order) in enumerate(zip(names, orders, strict=True))
    }
    return CostTable(
        {name: tuple(f"level{k}" for k in order) for name, order in zip(names, orders, strict=True)},
        {"macs": macs, "params": {name: np.ones(CANDIDATES, dtype=int) for name in names}},
        {"macs": 5, "params": 5},
    )


#: Excludes the all-best choice, which costs 192: four in five of that.
BUDGET = Budget(max_macs=5 + 150)
#: {form: accuracy of every architecture, in the order of `ARCHITECTURES`}: each trained alone for 20 epochs on two
#: problems, judged on 4,096 fresh vectors
VALUES: dict[Form, list[float]] = json.loads((Path(__file__).parents[1] / "golden" / "planted_values.json").read_text())
#: Levels of the four layers.
ARCHITECTURES = list(itertools.product(range(CANDIDATES), repeat=LAYERS))


def value(form: Form, levels: Sequence[int]) -> float:
    """Accuracy of an architecture over that of the best inside `BUDGET`."""
    macs = np.array([5 + sum(LAYER_COSTS[i] * COSTS[level] for i, level in enumerate(own)) for own in ARCHITECTURES])
    inside = np.array(VALUES[form])[macs <= BUDGET.max_macs]
    return VALUES[form][ARCHITECTURES.index(tuple(levels))] / inside.max()


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        levels: of each layer in what is exported, 0 the cleanest.
        best_of_shortlist: levels of those of the 16 most probable whose validation loss in the supernet is the lowest.
        entropy: of the beliefs about a choice at the end, in nats.
        seconds: that the search took, of one thread.
    """

    levels: tuple[int, ...]
    best_of_shortlist: tuple[int, ...]
    entropy: float
    seconds: float


@dataclass(frozen=True)
class _Trained:
    strategy: Any
    space: PlantedSpace
    module: Any
    orders: list[list[int]]
    val: Batches


def _train(make_strategy: Any, form: Form, handicap: Handicap, seed: int, epochs: int, **options: Any) -> _Trained:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(CANDIDATES).tolist() for _ in range(LAYERS)]
    torch.manual_seed(seed)
    space = PlantedSpace(form, handicap, orders, seed)
    strategy = make_strategy(costs=cost_table(orders), seed=seed, **options)
    val = Batches.drawn(seed, 1024, 1)
    module = drive(strategy, space, Batches.drawn(seed, 1024, 0), val, epochs, 64, seed)
    return _Trained(strategy, space, module, orders, val)


def search(
    make_strategy: Any,
    form: Form,
    handicap: Handicap = "noise",
    *,
    budget: Budget | None = None,
    seed: int = 0,
    epochs: int = 20,
) -> Found:
    """Let a strategy search 1,024 vectors, and 1,024 more for validation, in steps of 64."""
    started = time.process_time()
    trained = _train(make_strategy, form, handicap, seed, epochs, budget=budget)
    seconds = time.process_time() - started
    shortlist = [levels_of(sample) for sample in trained.strategy.export_samples(16)]
    with torch.no_grad():
        losses = [
            F.cross_entropy(trained.space.run_path(trained.val.inputs, levels), trained.val.labels).item()
            for levels in shortlist
        ]
    entropies = [-(np.exp(logs) * logs).sum() for logs in trained.strategy.log_probabilities().values()]
    best = shortlist[int(np.argmin(losses))]
    return Found(levels_of(trained.strategy.export_sample()), best, float(np.mean(entropies)), seconds)


def levels_of(sample: dict[str, str]) -> tuple[int, ...]:
    """The level that each layer of a sample has."""
    return tuple(int(sample[f"layer{index}"][-1]) for index in range(LAYERS))


class _Recorder:
    """An optimizer that steps nowhere and keeps the sum of the gradients."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.sums = [torch.zeros_like(p) for p in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        for parameter, total in zip(self.parameters, self.sums, strict=True):
            if parameter.grad is not None:
                total += parameter.grad


def fidelity(
    make_strategy: Any,
    form: Form,
    handicap: Handicap = "noise",
    *,
    seed: int = 0,
    epochs: int = 20,
    steps: int = 320,
    paths: int = 32,
) -> float:
    """How well a strategy's mean architecture gradient ranks candidates in a trained supernet; 1 is as their losses do.

    It is the rank correlation, mean over the choices, with the loss of networks that have the candidate, the other
    layers being drawn uniformly.
    """
    trained = _train(make_strategy, form, handicap, seed, epochs, warmup_epochs=epochs)
    module = trained.module
    module.trainer.current_epoch = epochs
    is_policy = isinstance(module, EnasModule)
    if not is_policy:
        module.on_train_epoch_start()  # the warm-up is over
    recorder = _Recorder(list(module.policy.logits) if is_policy else list(module.alphas.values()))
    module.driven = [module.driven[0], recorder]
    step = module._policy_step if is_policy else module._architecture_step
    generator = torch.Generator().manual_seed(seed)
    done = 0
    while done < steps:
        for batch in trained.val.shuffled(64, generator):
            step(batch, done)
            done += 1
    losses = np.zeros((LAYERS, CANDIDATES))
    with torch.no_grad():
        for layer, column in itertools.product(range(LAYERS), range(CANDIDATES)):
            for draw in range(paths):  # the same others for every candidate of a layer
                levels = np.random.default_rng(draw).integers(0, CANDIDATES, LAYERS)
                levels[layer] = trained.orders[layer][column]
                logits = trained.space.run_path(trained.val.inputs, levels)
                losses[layer, column] += F.cross_entropy(logits, trained.val.labels).item() / paths
    correlations = [spearmanr(total.numpy(), own).statistic for total, own in zip(recorder.sums, losses, strict=True)]
    return float(np.mean(correlations))


def _row(*cells: Any) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def main(arguments: Sequence[str]) -> None:
    """Print a table of what is found: [--fidelity] SEEDS [NAME,...] [OPTION=VALUE ...]."""
    torch.set_num_threads(1)
    of_gradients = arguments[0] == "--fidelity"
    seeds, names, *given = [*arguments[of_gradients:], "all"][: max(2, len(arguments) - of_gradients)]
    options = {name: json.loads(text) for name, text in (one.split("=") for one in given)}
    one_shot = [name for name, strategy in STRATEGIES.items() if strategy.kind == "one-shot"]
    problems: list[tuple[Form, Handicap]] = [*((form, "noise") for form in FORMS), ("parallel", "blind")]  # type: ignore[misc]
    for name, (form, handicap) in itertools.product(one_shot if names == "all" else names.split(","), problems):
        strategy = partial(make, name, **options)
        if of_gradients:
            correlations = [fidelity(strategy, form, handicap, seed=seed) for seed in range(int(seeds))]
            _row(name, form, handicap, seeds, _mean(correlations))
            continue
        for budget in (None, BUDGET) if handicap == "noise" else (None,):
            results = [search(strategy, form, handicap, budget=budget, seed=seed) for seed in range(int(seeds))]
            exported = _mean([value(form, one.levels) for one in results])
            shortlisted = _mean([value(form, one.best_of_shortlist) for one in results])
            clean = f"{sum(one.levels.count(0) for one in results)}/{LAYERS * len(results)}"
            means = (f"{np.mean([getattr(one, field) for one in results]):.2f}" for field in ("entropy", "seconds"))
            values = (exported, shortlisted) if budget else ("", "")
            _row(name, form, handicap, "budget" if budget else "free", len(results), clean, *values, *means)


if __name__ == "__main__":
    main(sys.argv[1:])
