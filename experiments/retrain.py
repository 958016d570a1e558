"""Retraining by one recipe and several seeds; what is done is not done again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from evaluators.images import ImageData
from evaluators.retraining import retrain
from evaluators.trainer import CHECKPOINT_FILE, Accelerator
from experiments.config import RetrainConfig
from experiments.files import read_json, sweep, write_json
from experiments.records import metrics_rows, metrics_writer
from experiments.run_folder import check_writable, first_difference
from search_space.architecture import Architecture
from search_space.atomic import is_temporary
from search_space.errors import InvalidRequest
from search_space.network_cost import cost
from search_space.serialization import load_architecture, save_architecture
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE, save_weights

RESULT_FILE = "result.json"
DATA_FILE = "data.json"
ABOUT_FILE = "about.json"


@dataclass(frozen=True)
class Result:
    """Test accuracies of one network over seeds."""

    name: str
    architecture: Architecture
    seeds: list[int]
    accuracies: list[float]
    seconds: list[float]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(pd.Series(self.accuracies).mean())

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1); NaN for a single seed."""
        return float(pd.Series(self.accuracies).std())


def retrain_all(
    name: str,
    architecture: Architecture,
    data: ImageData,
    config: RetrainConfig,
    folder: Path,
    *,
    data_config: dict[str, Any],
    accelerator: Accelerator = "auto",
    overwrite: bool = False,
) -> Result:
    """Train ``architecture`` once for each seed under ``folder/<seed>``.

    A seed whose result is there is not trained again; one that was killed goes on from its last whole epoch.
    InvalidRequest if the folder holds results of another architecture, recipe or data (unless ``overwrite``).
    """
    about = {
        "recipe": asdict(config.recipe),
        "train_on": config.train_on,
        "data": data_config,
    }
    _claim(folder, architecture, about, overwrite=overwrite)
    results = []
    for seed in config.seeds:
        home = folder / f"seed{seed}"
        home.mkdir(exist_ok=True)
        sweep(home)
        if not (home / RESULT_FILE).exists():
            _train_one(name, architecture, data, config, seed, home, accelerator)
        (home / CHECKPOINT_FILE).unlink(missing_ok=True)
        results.append(read_json(home / RESULT_FILE))
    return Result(
        name=name,
        architecture=architecture,
        seeds=list(config.seeds),
        accuracies=[result["test_accuracy"] for result in results],
        seconds=[result["seconds"] for result in results],
    )


def _claim(folder: Path, architecture: Architecture, about: dict[str, Any], *, overwrite: bool) -> None:
    """Make sure that what ``folder`` holds was made the same way, or clear it if ``overwrite``."""
    check_writable("out", folder)
    recorded, known = folder / ABOUT_FILE, folder / ARCHITECTURE_FILE
    if recorded.exists():
        difference = first_difference(read_json(recorded), about)
        if difference is None and known.exists() and load_architecture(known) != architecture:
            difference = "the architecture is another one"
        if difference is not None:
            if not overwrite:
                raise InvalidRequest(
                    f"out: {folder} holds results made another way: {difference}; --overwrite deletes them"
                )
            for old in folder.glob("seed*/*"):
                old.unlink()
    elif folder.is_dir() and (foreign := sorted(entry.name for entry in folder.iterdir() if not is_temporary(entry))):
        raise InvalidRequest(f"out: {folder} holds {foreign[0]}, which is no result of retraining; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    # first: it marks the folder as ours
    write_json(recorded, about)
    save_architecture(architecture, known)


def _train_one(
    name: str,
    architecture: Architecture,
    data: ImageData,
    config: RetrainConfig,
    seed: int,
    home: Path,
    accelerator: Accelerator,
) -> None:
    trained = retrain(
        architecture,
        data,
        config.recipe,
        seed=seed,
        train_on=config.train_on,
        accelerator=accelerator,
        folder=home,
        title=f"{name}, seed {seed}",
        on_epoch=metrics_writer(home / "metrics.csv", "retrain"),
    )
    save_weights(trained.network, home / WEIGHTS_FILE)
    write_json(
        home / DATA_FILE,
        {
            "name": data.name,
            "classes": list(data.classes),
            "image_size": data.image_size,
            "channels": data.channels,
            "mean": list(data.mean),
            "std": list(data.std),
        },
    )
    own = cost(architecture)
    # of all epochs: a resumed training has run for longer than this process
    seconds = sum(float(row["seconds"]) for row in metrics_rows(home / "metrics.csv"))
    # last: its presence says that the seed is done
    write_json(
        home / RESULT_FILE,
        {
            "seed": seed,
            "test_accuracy": trained.accuracy,
            "test_loss": trained.loss,
            "seconds": round(seconds, 2),
            "macs": own.macs,
            "params": own.params,
            "device": "cpu" if accelerator == "cpu" or not torch.cuda.is_available() else torch.cuda.get_device_name(),
        },
    )
    print(f"{name}, seed {seed}: test accuracy {trained.accuracy:.2%} ({seconds:.0f} s)")
