"""What trainings of architectures gave, and tables of it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from experiments.runs.files import Table
from search_space.architecture import Architecture
from search_space.notation import parse
from strategies.options import Score as ScoreName

SCORES_FILE = "scores.csv"


class Score(NamedTuple):
    """Accuracy in [0, 1] and loss on the validation images, nan if the training failed; the seconds it took.

    ``training_loss`` is the mean over the last epoch, nan where no epoch is on record; ``reason`` is why the training
    failed if it did, as because the loss diverged.
    """

    accuracy: float
    loss: float
    seconds: float
    training_loss: float = math.nan
    reason: str = ""

    def score(self, name: ScoreName) -> float:
        """What strategies call so; more is better."""
        values = {
            "validation_accuracy": self.accuracy,
            "negative_validation_loss": -self.loss,
            "negative_training_loss": -self.training_loss,
        }
        return values[name]


class ScoreTable:
    """``scores.csv``: what each training, or each measurement, of an architecture gave, as it came."""

    def __init__(self, path: Path) -> None:
        columns = ("measure", "accuracy", "loss", "seconds", "architecture")
        self._table = Table(path, columns, dict(zip(columns, (str, float, float, float, parse), strict=True)))
        self._known = {
            (row["measure"], row["architecture"]): Score(
                float(row["accuracy"]), float(row["loss"]), float(row["seconds"])
            )
            for row in self._table.rows
        }

    def get(self, measure: str, architecture: Architecture) -> Score | None:
        """The score on record, if there is one."""
        return self._known.get((measure, str(architecture)))

    def add(self, measure: str, architecture: Architecture, score: Score) -> None:
        """Record one more."""
        numbers = {"accuracy": repr(score.accuracy), "loss": repr(score.loss), "seconds": f"{score.seconds:.2f}"}
        self._table.append({"measure": measure, **numbers, "architecture": str(architecture)})
        self._known[measure, str(architecture)] = score

    def trained(self) -> dict[Architecture, dict[int, Score]]:
        """{architecture: {seed: score}} of all trainings, in the order in which architectures were first trained."""
        found: dict[Architecture, dict[int, Score]] = {}
        for (measure, text), score in self._known.items():
            if (seed := re.fullmatch(r"seed(\d{1,10})", measure)) is not None:
                found.setdefault(parse(text), {})[int(seed[1])] = score
        return found
