"""Searches that take about a second, by strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from experiments.cli import main
from helpers.runs import tiny_values

OPERATORS = ["dw_k3", "sep_k3", "skip"]
BUDGET = 60_000
STRATEGIES: dict[str, dict[str, Any]] = {
    "gdas": {"name": "gdas"},
    "darts": {"name": "darts", "options": {"warmup_epochs": 1}},
    "evolution": {"name": "evolution", "options": {"trials": 6, "population_size": 3, "sample_size": 2}},
    "training": {
        "name": "evolution",
        "options": {"trials": 3, "population_size": 2, "sample_size": 1, "scoring": "training"},
    },
}

#: of strategies without probabilities
RUN_FILES = {
    "config.yaml",
    "provenance.json",
    "metrics.csv",
    "architectures.csv",
    "winner.json",
}


def config(folder: Path, strategy: str, **search: Any) -> Path:
    """A config file whose search takes about a second."""
    values = tiny_values(
        space={"width": 0.25, "operators": OPERATORS, "widths": [1.0]},
        budget={"max_macs": BUDGET},
        strategy=STRATEGIES[strategy],
        search={"epochs": 2, "batch_size": 32, "learning_rate": 0.05, **search},
    )
    path = folder / f"{strategy}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(folder: Path, strategy: str, *more: str, name: str = "run") -> Path:
    """The folder of a search that is done, with options ``more``."""
    out = folder / name
    assert main(["search", str(config(folder, strategy)), "--out", str(out), *more]) == 0
    return out
