"""Small spaces and tables that the strategy tests share."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nni
import numpy as np
import torch
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace
from torch import Tensor, nn

from evaluators.data.images import ImageData, ImageSet, channel_statistics
from evaluators.training.recipes import Recipe
from evaluators.training.supernet import supernet_evaluator
from search_space.architecture import Architecture
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.hand_designed import baseline
from search_space.space import SepConvSpace
from strategies import Budget

OPERATORS = ("dw_k3", "dw_k7", "xsep_k5", "sep_k3", "skip")


def random_table(rng: np.random.Generator, labels: int, candidates: int, largest: int = 10**6) -> CostTable:
    """Random costs, with fixed parts."""
    names = [f"block{index}" for index in range(labels)]
    return CostTable(
        candidates={name: tuple(f"op{k}" for k in range(candidates)) for name in names},
        costs={metric: {name: rng.integers(0, largest, candidates) for name in names} for metric in ("macs", "params")},
        fixed={"macs": int(rng.integers(0, largest)), "params": int(rng.integers(0, largest))},
    )


def save_costs(path: Path, metric: str, unit: str, fixed: float, costs: Mapping[str, Mapping[str, float]]) -> None:
    """A cost file, as `search_space.cost_file.load_costs` reads it."""
    header = {"format": "sepnas-costs", "version": 1, "metric": metric, "unit": unit, "fixed": fixed}
    path.write_text(json.dumps({**header, "costs": costs}), encoding="utf-8")


def all_samples(table: CostTable) -> Iterator[dict[str, str]]:
    """Every architecture of a small table."""
    for values in itertools.product(*table.candidates.values()):
        yield dict(zip(table.labels, values, strict=True))


def small_space() -> SepConvSpace:
    """A quarter-width MobileNetV3-Small for 8x8 grey images."""
    return SepConvSpace(
        SearchSpace.create(image_size=8, in_channels=1, classes=4, width=0.25, operators=OPERATORS, widths=(1.0,))
    )


def small_images(count: int = 32) -> ImageData:
    """Grey 8x8 images of four classes that differ in brightness of their quarters."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 60, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    for index, label in enumerate(labels.tolist()):
        row, column = divmod(label, 2)
        images[index, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 150
    image_set = ImageSet(images, labels)
    mean, std = channel_statistics(images)
    return ImageData("quarters", tuple("abcd"), image_set, image_set, image_set, mean, std)


def small_network(name: str = "mobilenetv3-small") -> Architecture:
    """A hand-designed network for `small_images`."""
    return baseline(name, image_size=8, in_channels=1, classes=4, width=0.25)


def run_one_shot(
    strategy: Any, space: ModelSpace, *, epochs: int = 1, batch_size: int = 16, clips: bool = True
) -> None:
    """Run a one-shot strategy as the product does, on the CPU."""
    evaluator = supernet_evaluator(
        small_images(),
        Recipe(epochs=epochs, batch_size=batch_size, warmup_epochs=0, learning_rate=0.05),
        accelerator="cpu",
        clips_gradients=clips,
    )
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())


class ForeignSpace(ModelSpace):
    """A space that somebody else wrote: two labelled choices on 8x8 grey images, no cost table of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = LayerChoice({"narrow": nn.Conv2d(1, 4, 1), "wide": nn.Conv2d(1, 4, 5, padding=2)}, label="first")
        self.second = LayerChoice({"narrow": nn.Conv2d(4, 4, 1), "wide": nn.Conv2d(4, 4, 5, padding=2)}, label="second")
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(x)).mean((2, 3)))


FOREIGN_COSTS = CostTable(
    candidates={"first": ("narrow", "wide"), "second": ("narrow", "wide")},
    costs={
        "macs": {"first": np.array([256, 6400]), "second": np.array([1024, 25600])},
        "params": {"first": np.array([8, 104]), "second": np.array([20, 404])},
    },
    fixed={"macs": 16, "params": 20},
)


class TabularSpace(ModelSpace):
    """Labels and values and nothing else; what is frozen tells its ``sample``."""

    def __init__(self, candidates: Mapping[str, Sequence[Any]]) -> None:
        super().__init__()
        for label, values in candidates.items():
            self.add_mutable(nni.choice(label, list(values)))

    def freeze(self, sample: dict[str, Any]) -> nn.Module:
        self.validate(sample)
        frozen = nn.Identity()
        frozen.sample = dict(sample)
        return frozen


class Landscape:
    """A table of scores over a `TabularSpace`: a part for each label and one for each pair of neighbouring labels.

    ``share`` of the variance comes from the pairs, so that labels matter alone and together, as operators of a network
    do. Values of the labels are whole numbers.
    """

    def __init__(self, seed: int, labels: int = 8, values: int = 5, share: float = 0.4) -> None:
        rng = np.random.default_rng(seed)
        self.candidates = {f"b{index}": tuple(range(values)) for index in range(labels)}
        self.alone = rng.normal(size=(labels, values)) * np.sqrt(1 - share)
        self.pairs = rng.normal(size=(labels - 1, values, values)) * np.sqrt(share)
        # dearer values are a little better, as in real spaces
        macs = rng.integers(10, 1000, (labels, values))
        self.alone += macs / 1000
        self.costs = CostTable(
            candidates=self.candidates,
            costs={
                "macs": dict(zip(self.candidates, macs, strict=True)),
                "params": {name: rng.integers(1, 50, values) for name in self.candidates},
            },
            fixed={"macs": 5, "params": 7},
        )

    def space(self) -> TabularSpace:
        return TabularSpace(self.candidates)

    def __call__(self, sample: Mapping[str, Any]) -> float:
        chosen = [sample[label] for label in self.candidates]
        alone = sum(self.alone[index, value] for index, value in enumerate(chosen))
        pairs = sum(self.pairs[index, a, b] for index, (a, b) in enumerate(itertools.pairwise(chosen)))
        return float(alone + pairs)


def run_trials(
    strategy: Any,
    space: ModelSpace,
    score: Callable[[Any], float],
    trials: int,
    state: dict[str, Any] | None = None,
) -> list[tuple[dict[str, Any], float]]:
    """Run a multi-trial strategy of ours or of NNI's, from ``state`` on; (sample, metric) in the order of asking.

    ``score`` is given what ``space.freeze`` makes.
    """

    def evaluate(model: Any) -> None:
        nni.report_final_result(score(model))

    engine = SequentialExecutionEngine(max_model_count=trials)
    strategy.initialize(RawFormatModelSpace(space, FunctionalEvaluator(evaluate)), engine)
    if state is not None:
        strategy.load_state_dict(state)
    strategy.run()
    return [(model.sample, model.metric) for model in engine.list_models()]


def run_table(
    strategy: Any,
    landscape: Landscape,
    trials: int,
    *,
    score: Callable[[Mapping[str, Any]], float] | None = None,
    state: dict[str, Any] | None = None,
) -> list[tuple[dict[str, Any], float]]:
    """`run_trials` on a `Landscape`, or on its space with another ``score`` of samples."""
    scored = landscape if score is None else score
    return run_trials(strategy, landscape.space(), lambda frozen: scored(frozen.sample), trials, state)


def never() -> FunctionalEvaluator:
    """An evaluator that must not be asked."""

    def fail(model: Any) -> None:
        raise AssertionError("a trial was started")

    return FunctionalEvaluator(fail)


def random_budget(rng: np.random.Generator, table: CostTable) -> Budget:
    """A budget around a random architecture, so that something is inside: one to four bounds, loose or tight."""
    inside = table.cost(table.sample(np.array([rng.integers(len(values)) for values in table.candidates.values()])))
    bounds = {}
    for metric, (low, high) in table.reachable().items():
        slack = (high - low) * 10 ** rng.uniform(-3, 0)
        if rng.uniform() < 0.8:
            bounds[f"max_{metric}"] = int(inside[metric] + slack * rng.uniform())
        if rng.uniform() < 0.4:
            bounds[f"min_{metric}"] = max(0, int(inside[metric] - slack * rng.uniform()))
    return Budget(**bounds)
