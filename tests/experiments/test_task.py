"""How often a command lists its data set, proves its budget and decodes its images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import tiny_config
from PIL import Image

import evaluators.data.load as load_module
import experiments.runs.task as task_module
from experiments.comparison.compare import compare
from experiments.options.config import SearchConfig
from experiments.rank.rank import rank
from experiments.runs.task import SearchTask
from experiments.search.search import search
from search_space.base.errors import InvalidRequest
from strategies.budget.feasible import FeasibleSet

EVOLUTION = {
    "name": "evolution",
    "options": {"trials": 2, "population_size": 1, "sample_size": 1, "calibration_images": 32},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each expensive thing has been done so far."""
    done: Counter[str] = Counter()

    def counted(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            done[label] += 1
            return original(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    counted(load_module, "find_source", "listed")
    counted(task_module, "load_data", "decoded")
    counted(FeasibleSet, "__init__", "proven")
    return done


@pytest.fixture
def headers(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the headers of image files have been read for their colours."""
    done: Counter[str] = Counter()

    def any_colour(pictures: Any) -> bool:
        done["headers"] += 1
        return original(pictures)

    original = load_module.any_colour
    monkeypatch.setattr(load_module, "any_colour", any_colour)
    return done


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 80 grey images in two classes."""
    for label in range(2):
        home = tmp_path / "pictures" / f"class{label}"
        home.mkdir(parents=True)
        for index in range(40):
            pixels = np.random.default_rng(index).integers(0, 100, (8, 8)) + 100 * label
            Image.fromarray(pixels.astype(np.uint8)).save(home / f"{index}.png")
    return tmp_path / "pictures"


def config(**more: Any) -> SearchConfig:
    training = {"recipe": {"epochs": 1, "batch_size": 32, "warmup_epochs": 0}, "seeds": [0]}
    return tiny_config(**{"budget": {"max_macs": 120_000}, "retrain": training, **more})


@pytest.mark.parametrize("strategy", [{"name": "gdas"}, EVOLUTION], ids=lambda strategy: str(strategy["name"]))
def test_a_search_does_each_once(tmp_path: Path, calls: Counter[str], strategy: dict[str, Any]) -> None:
    search(config(strategy=strategy), tmp_path / "run")
    assert calls == {"listed": 1, "decoded": 1, "proven": 1}


def test_a_comparison_of_runs_and_baselines_does_each_once(tmp_path: Path, calls: Counter[str]) -> None:
    configs = [config(), config(strategy=EVOLUTION)]
    runs = [search(own, tmp_path / own.strategy.name) for own in configs]
    calls.clear()
    compare(runs, configs, ["mobilenetv3-small", "mobilenetv3-small-xsep"], tmp_path / "report")
    assert calls == {"listed": 1, "decoded": 1}


def test_a_ranking_does_each_once(tmp_path: Path, calls: Counter[str]) -> None:
    own = config(strategy=EVOLUTION)
    run = search(own, tmp_path / "run")
    calls.clear()
    rank(run, own, n=5, seeds=[0])
    assert calls == {"listed": 1, "decoded": 1, "proven": 1}


def test_a_budget_is_refused_before_images_are_decoded(
    pictures: Path, calls: Counter[str], headers: Counter[str]
) -> None:
    task = SearchTask(config(data={"name": str(pictures), "image_size": 8}, budget={"max_macs": 10}))
    with pytest.raises(InvalidRequest, match="budget"):
        task.check()
    assert calls == {"listed": 1, "proven": 1}
    assert headers == {"headers": 1}
    assert task.space.skeleton.in_channels == 1


def test_the_colours_of_a_folder_are_looked_at_once(pictures: Path, headers: Counter[str]) -> None:
    task = SearchTask(config(data={"name": str(pictures), "image_size": 8}))
    task.check()
    task.announce()
    assert task.data.channels == 1
    assert headers == {"headers": 1}
