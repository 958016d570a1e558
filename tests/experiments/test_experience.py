"""What a search by real trainings knows from earlier ones on other images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import tiny_config

from experiments.options.config import StrategyConfig
from experiments.runs.experience import BUILTIN, experience
from experiments.runs.scores import SCORES_FILE, Score, ScoreTable
from experiments.runs.task import SearchTask
from search_space import InvalidRequest
from search_space.candidates import SearchSpace
from strategies.multi_trial._surrogate import GaussianProcess
from strategies.multi_trial.predictor import SHORT_TRAININGS, kinds_of


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.create(width=0.25, image_size=16, in_channels=1, classes=10)


def losses(space: SearchSpace, rows: np.ndarray) -> np.ndarray:
    """0.1 for each block of xsep_k, and as much again where it downsamples."""
    blocks = [[space.choices[label][index] for label, index in enumerate(row)] for row in rows]
    return np.array([sum(0.1 * (1 + (b.stride == 2)) for b in own if b.family == "xsep") for own in blocks])


def table(space: SearchSpace, folder: Path, n: int) -> Path:
    rng, costs = np.random.default_rng(0), space.cost_table
    rows = np.stack([rng.integers(0, len(values), n) for values in costs.candidates.values()], axis=1)
    record = ScoreTable(folder / SCORES_FILE)
    for row, loss in zip(rows, losses(space, rows) + 0.05 * rng.normal(size=n), strict=True):
        record.add("seed0", space.architecture(costs.sample(row)), Score(0.5, float(loss), 1.0))
    return folder


def test_families_that_were_bad_are_expected_to_be_bad(space: SearchSpace, tmp_path: Path) -> None:
    known = experience(space, [str(table(space, tmp_path, 80))])
    for label, own, blocks in zip(space.labels, known.values(), space.choices, strict=True):
        xsep = np.array([block.family == "xsep" for block in blocks])
        assert own[xsep].max() < own[~xsep].mean() - 0.1, label
        assert np.ptp(own[xsep]) == 0, "kernel sizes and widths count nothing"
    down = next(label for label, blocks in zip(space.labels, space.choices, strict=True) if blocks[0].stride == 2)
    flat = next(label for label, blocks in zip(space.labels, space.choices, strict=True) if blocks[0].stride == 1)
    assert known[down].min() < known[flat].min()


def test_the_model_starts_from_it(space: SearchSpace, tmp_path: Path) -> None:
    """Ten scores without a meaning leave its order, and of 60 that say the contrary the model learns that."""
    known = experience(space, [str(table(space, tmp_path, 80))])
    costs, rng = space.cost_table, np.random.default_rng(1)
    sizes = [len(values) for values in costs.candidates.values()]
    rows = np.stack([rng.integers(0, size, 160) for size in sizes], axis=1)
    truth = losses(space, rows)
    process = GaussianProcess(sizes, kinds_of(costs), SHORT_TRAININGS, list(known.values()))
    process.fit(rows[:10], rng.normal(size=10), tune=True)
    assert np.corrcoef(process.predict(rows[60:])[0], -truth[60:])[0, 1] > 0.5
    process.fit(rows[:60], truth[:60], tune=True)
    assert np.corrcoef(process.predict(rows[60:])[0], truth[60:])[0, 1] > 0.5
    bare = GaussianProcess(sizes, kinds_of(costs), SHORT_TRAININGS)
    bare.fit(rows[:10], np.zeros(10), tune=True)
    assert np.ptp(bare.predict(rows)[0]) < 1e-9


def test_halving_starts_from_the_table_that_comes_with_it() -> None:
    config = tiny_config(strategy={"name": "halving", "options": {"rungs": 1}})
    known = SearchTask(config).table.experience
    assert known is not None
    assert any(np.ptp(own) > 0 for own in known.values())
    none = replace(config, strategy=StrategyConfig("halving", {"rungs": 1, "experience": []}))
    assert SearchTask(none).table.experience is None
    assert all((path / SCORES_FILE).is_file() for path in BUILTIN.values())


def test_a_table_that_cannot_be_used_is_named(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"^strategy\.options\.experience: 'nowhere' is neither a folder of"):
        experience(space, ["nowhere"])
    with pytest.raises(InvalidRequest, match=r"has 5 networks with a loss; 10 or more are needed$"):
        experience(space, [str(table(space, tmp_path, 5))])
