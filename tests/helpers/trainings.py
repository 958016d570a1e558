"""Finished searches without the searching, and what trainings leave in their folders."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.options.config import SearchConfig
from experiments.options.files import read_config
from experiments.runs.folder import open_run
from experiments.runs.provenance import provenance
from helpers.runs import contents, tiny_values
from search_space.architecture import Architecture
from search_space.hand_designed import baseline
from search_space.serialization import save_architecture

#: a training of about half a second
RECIPE = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05, "warmup_epochs": 0}
SEED_FILES = {"result.json", "weights.safetensors", "data.json", "metrics.csv"}


def make_run(folder: Path, operator: str = "sep_k3", **more: Any) -> Path:
    """The folder of a finished search, without the searching."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    given = folder.parent / f"{folder.name}.yaml"
    recipe = {"epochs": 2, "batch_size": 32, "learning_rate": 0.05}
    given.write_text(
        yaml.safe_dump(
            tiny_values(**{"budget": {"max_macs": "80k"}, "retrain": {"recipe": recipe, "seeds": [0, 1]}, **more})
        )
    )
    run = open_run(folder, read_config(given).as_dict(), provenance(0, "cpu"), overwrite=False)
    network = architecture()
    blocks = tuple(replace(block, operator=operator, expanded_channels=0, se_channels=0) for block in network.blocks)
    save_architecture(replace(network, blocks=blocks), run.winner)
    return folder


def architecture() -> Architecture:
    """A small network for the images of `tiny_values`."""
    return baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.25)


def train(config: SearchConfig, folder: Path) -> Any:
    """The `Result` of `architecture`, retrained as the config says."""
    from experiments.runs.task import DataTask  # tests of the other packages need none of this
    from experiments.training.retrain import retrain_all

    data, about = DataTask(config.data, config.seed).data, {"any": 1}
    return retrain_all(
        "net", architecture(), data, config.retrain, folder, data_config=about, accelerator="cpu", engine=config
    )


def files(folder: Path) -> set[str]:
    """Every file below, by its path from there."""
    return set(contents(folder))


def result(folder: Path, seed: int) -> dict[str, Any]:
    """What the training by ``seed`` left."""
    return json.loads((folder / f"seed{seed}" / "result.json").read_text())


def pretend(patch: pytest.MonkeyPatch, accuracy: Callable[[str, int], float]) -> list[tuple[str, int]]:
    """Let trainings of networks take no time and leave a result: ``accuracy`` of the network's name and the seed.

    The list gets (name, seed) of each.
    """
    import experiments.training.retrain as retrain_module  # tests of the other packages need none of this

    trained: list[tuple[str, int]] = []
    parameters = inspect.signature(retrain_module._train_one)

    def train(*arguments: Any) -> dict[str, Any]:
        given = parameters.bind(*arguments).arguments
        name, seed, home = given["name"], given["seed"], given["home"]
        trained.append((name, seed))
        figures = {"test_accuracy": accuracy(name, seed), "seconds": 1.0, "test_images": 360}
        made = {**figures, "provenance": provenance(0, "cpu")}
        home.mkdir(exist_ok=True)
        (home / "result.json").write_text(json.dumps(made))
        return made

    patch.setattr(retrain_module, "_train_one", train)
    return trained
