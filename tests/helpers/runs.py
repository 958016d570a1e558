"""What the tests of experiments have in common: small configs, and what is to be seen of a run afterwards."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from experiments.options.config import SearchConfig
from experiments.options.files import make_config


class Killed(BaseException):
    """Stands for a SIGKILL: nothing may catch it and go on."""


def tiny_values(**more: Any) -> dict[str, Any]:
    """A config, as YAML gives it, whose search takes about half a second: 80 digits at 8 pixels, two candidates."""
    return {
        "data": {"name": "digits", "image_size": 8, "max_train_images": 80},
        "space": {"width": 0.25, "operators": ["dw_k3", "skip"], "widths": [1.0]},
        "strategy": {"name": "gdas"},
        "search": {"epochs": 1, "batch_size": 32, "warmup_epochs": 0},
        "accelerator": "cpu",
        "jobs": 1,
        "finalists": 0,
        "fill": 0,
        **more,
    }


def tiny_config(**more: Any) -> SearchConfig:
    """`tiny_values` as a config."""
    return make_config(tiny_values(**more), "test")


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def outcome(out: Path) -> tuple[str, list[dict[str, str]], list[dict[str, str]]]:
    """All of a search that must not depend on how often it was interrupted: winner, scores, figures of each epoch."""
    metrics = rows(out / "metrics.csv") if (out / "metrics.csv").exists() else []
    figures = [{key: value for key, value in row.items() if key != "seconds"} for row in metrics]
    changes = rows(out / "probabilities.csv") if (out / "probabilities.csv").exists() else []
    return (out / "winner.json").read_text(), rows(out / "architectures.csv"), [*figures, *changes]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` by its path from there, but for those of trackers, which bear the time."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "tracking" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that begins with "sepnas: "; progress bars may have drawn over lines before it."""
    lines = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if "sepnas: " in line]
    assert len(lines) == 1
    assert lines[0].startswith("sepnas: ")
    return lines[0]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below ``folder`` by its path from there; None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
