"""What the folders of runs and of a comparison hold so far, read for a page; every part may still be missing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from experiments.options.config import SearchConfig
from experiments.options.files import read_config
from experiments.runs.files import Table, read_json
from experiments.runs.folder import RunFolder
from experiments.runs.records import SCORE_COLUMNS, metrics_rows, read_probabilities
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from strategies.budget.budget import format_count

T = TypeVar("T")

#: characters of a label
_LABEL = 30


@dataclass(frozen=True)
class Measure:
    """What architectures were scored by.

    Attributes:
        name: in words.
        is_loss: whether less is better; scores are then minus that.
    """

    name: str
    is_loss: bool

    @property
    def axis(self) -> str:
        """What an axis of it is called."""
        return self.name if self.is_loss else f"{self.name}, %"

    def shown(self, trial: Trial) -> float:
        """The number on that axis."""
        return -self.good(trial) if self.is_loss else 100 * self.good(trial)

    def good(self, trial: Trial) -> float:
        """The score: more is better."""
        assert trial.score is not None
        return trial.score


MEASURES = {
    "validation_accuracy": Measure("validation accuracy", is_loss=False),
    "negative_validation_loss": Measure("validation loss", is_loss=True),
    "negative_training_loss": Measure("training loss", is_loss=True),
}


@dataclass(frozen=True)
class Trial:
    """An architecture that was scored.

    Attributes:
        number: in the order of scoring, from 0.
        architecture: as text.
        score: None where the training diverged.
        macs: multiply-accumulates per image.
        params: parameters.
        rung: how often the same one was scored before, each time after more epochs.
        measure: what the score is.
    """

    number: int
    architecture: str
    score: float | None
    macs: int
    params: int
    rung: int
    measure: Measure

    def tip(self) -> dict[str, Any]:
        """What is shown of it when it is pointed at."""
        return tip(
            f"score {self.number + 1}",
            self.architecture,
            **{self.measure.axis: f"{self.measure.shown(self):.4g}"},
            MACs=format_count(self.macs),
            parameters=format_count(self.params),
        )


@dataclass(frozen=True)
class Compared:
    """A row of ``comparison.csv``: a network, its costs, and its test accuracy in [0, 1] over ``n`` trainings."""

    name: str
    family: str
    role: str
    architecture: str
    macs: int
    params: int
    accuracy: float
    std: float | None
    n: int
    lead: tuple[float, float | None, float | None, float | None] | None

    @property
    def short(self) -> str:
        """The name as a label: without its width, and cut where it is long."""
        name = re.sub(r" \(width [^)]*\)$", "", self.name)
        return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"


@dataclass(frozen=True)
class Ranking:
    """What `rank` found: its figures, and its architectures."""

    figures: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """A search; parts that are not there yet are None or empty.

    Attributes:
        folder: of the run.
        config: what was asked for.
        provenance: what made it.
        winner: what it found.
        trials: what it scored.
        measure: by what; None if it scores by probabilities.
        epochs: the figures of each epoch of a supernet.
        probabilities: epochs, and {label: {candidate: a probability for each}}.
        finalists: trainings of finalists that are done.
        ranking: what `rank` found.
    """

    folder: RunFolder
    config: SearchConfig
    provenance: Mapping[str, Any]
    winner: Architecture | None
    trials: Sequence[Trial]
    measure: Measure | None
    epochs: Sequence[Mapping[str, float]]
    probabilities: tuple[list[int], dict[str, dict[str, list[float]]]] | None
    finalists: int
    ranking: Ranking | None


def tip(title: str, architecture: str, **figures: str) -> dict[str, Any]:
    """What is shown of a network when it is pointed at."""
    return {"title": title, "figures": list(figures.items()), "architecture": architecture}


def read_run(folder: RunFolder) -> Run:
    """All that ``folder`` holds; InvalidRequest names the file that is damaged."""
    trials, measure = _read(folder.architectures, _trials) or ([], None)
    return Run(
        folder,
        read_config(folder.config),
        _read(folder.provenance, read_json) or {},
        folder.read_winner() if folder.winner.exists() else None,
        trials,
        measure,
        _read(folder.metrics, _epochs) or [],
        _read(folder.probabilities, read_probabilities),
        len(_read(folder.finalists, lambda path: Table(path, ("finalist", "seed")).rows) or []),
        _read(folder.rank / "rank.json", _ranking),
    )


def read_comparison(path: Path) -> tuple[list[Compared], pd.DataFrame] | None:
    """The networks of ``comparison.csv`` and the whole table; None if there is none."""
    return _read(path, _comparison)


def _read(path: Path, how: Callable[[Path], T]) -> T | None:
    """What ``how`` makes of a file, None if it is not there."""
    if not path.exists():
        return None
    try:
        return how(path)
    except (ValueError, KeyError, TypeError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InvalidRequest(f"report: {path} is damaged ({type(error).__name__}: {reason}); make it again") from None


def _trials(path: Path) -> tuple[list[Trial], Measure | None]:
    rows = Table(path, SCORE_COLUMNS).rows
    last = MEASURES.get(rows[-1]["measure"]) if rows else None
    trials: list[Trial] = []
    times: Counter[str] = Counter()
    for row in rows:
        measure = MEASURES.get(row["measure"])
        if measure is None or last is None or measure.is_loss != last.is_loss:
            continue
        score, text = float(row["score"]), row["architecture"]
        finite = score if math.isfinite(score) else None
        trials.append(Trial(len(trials), text, finite, int(row["macs"]), int(row["params"]), times[text], measure))
        times[text] += 1
    several = last is not None and len({trial.measure for trial in trials}) > 1
    return trials, replace(last, name="loss") if last is not None and several else last


def _epochs(path: Path) -> list[dict[str, float]]:
    return [
        {name: float(value) for name, value in row.items() if name != "phase" and value != ""}
        for row in metrics_rows(path)
        if row["phase"] == "search"
    ]


def _ranking(path: Path) -> Ranking:
    rows: list[dict[Any, Any]] = pd.read_csv(path.with_name("rank.csv")).to_dict("records")
    figures = read_json(path)
    _ = figures["verdict"]["trusted"], figures["kendall_tau_b"]["predicted"]["value"], figures["ranked_by"]
    return Ranking(figures, rows)


def _comparison(path: Path) -> tuple[list[Compared], pd.DataFrame]:
    frame = pd.read_csv(path)
    networks = []
    for row in frame.to_dict("records"):
        lead = None
        if "lead_mean" in row and not pd.isna(row["lead_mean"]):
            low, high, p = (_number(row.get(f"lead_{name}")) for name in ("low95", "high95", "p"))
            lead = (float(row["lead_mean"]), low, high, p)
        networks.append(
            Compared(
                str(row["network"]),
                str(row["family"]),
                str(row["role"]),
                str(row["architecture"]),
                int(row["macs"]),
                int(row["params"]),
                float(row["test_accuracy_mean"]),
                _number(row["test_accuracy_std"]),
                int(row["n"]),
                lead,
            )
        )
    return networks, frame


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
