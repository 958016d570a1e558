"""The tables a run writes as it goes: figures of each epoch, architectures that were scored."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runs.files import Table
from search_space.architecture import Architecture
from search_space.network_cost import cost
from search_space.notation import parse

_METRICS = (
    *("phase", "epoch", "seconds", "train_loss", "train_accuracy", "val_loss", "val_accuracy"),
    *("architecture_entropy", "expected_macs", "expected_params"),
)
#: a row of `architectures.csv`
SCORE_COLUMNS = ("trial", "measure", "score", "accuracy", "macs", "params", "architecture")
_METRICS_KINDS: Mapping[str, Callable[[str], Any]] = {"phase": str, "epoch": int, "seconds": float}


def metrics_writer(path: Path, phase: str) -> Callable[[dict[str, float]], None]:
    """A callback that adds the figures of an epoch of ``phase``; epochs that a resumed run repeats replace old rows.

    A figure without a column is a mistake of ours (ValueError), but in a search: strategies, NNI's among them, log more
    than belongs in a table of epochs.
    """
    table = Table(path, _METRICS, _METRICS_KINDS)

    def write(figures: dict[str, float]) -> None:
        unknown = sorted(set(figures) - set(_METRICS))
        if unknown and phase != "search":
            raise ValueError(f"{path.name} has no column for {', '.join(unknown)}")
        epoch = int(figures["epoch"])
        kept = [row for row in table.rows if row["phase"] != phase or int(row["epoch"]) < epoch]
        if len(kept) != len(table.rows):
            table.keep(kept)
        rounded = {key: f"{value:.6g}" for key, value in figures.items()}
        table.append({**rounded, "phase": phase, "epoch": epoch})

    return write


def metrics_rows(path: Path) -> list[dict[str, str]]:
    """The rows that `metrics_writer` left."""
    return Table(path, _METRICS, _METRICS_KINDS).rows


def write_probabilities(path: Path, epoch: int, probabilities: Mapping[str, Mapping[str, float]]) -> None:
    """Add the row of ``epoch``: {label: {candidate: probability}}; epochs that a resumed run repeats replace old rows.

    A column is called by label and candidate, a space between them. Labels hold none.
    """
    columns = [f"{label} {candidate}" for label, each in probabilities.items() for candidate in each]
    values = [value for each in probabilities.values() for value in each.values()]
    table = Table(path, ["epoch", *columns], {"epoch": int})
    kept = [row for row in table.rows if int(row["epoch"]) < epoch]
    if len(kept) != len(table.rows):
        table.keep(kept)
    table.append({"epoch": epoch} | {name: f"{value:.4g}" for name, value in zip(columns, values, strict=True)})


def read_probabilities(path: Path) -> tuple[list[int], dict[str, dict[str, list[float]]]]:
    """What `write_probabilities` left: the epochs, and {label: {candidate: a probability for each}}."""
    with path.open(newline="", encoding="utf-8") as stream:
        columns = next(csv.reader(stream), [])
    rows = Table(path, columns, {"epoch": int} | dict.fromkeys(columns[1:], float)).rows
    result: dict[str, dict[str, list[float]]] = {}
    for column in columns[1:]:
        label, _, candidate = column.partition(" ")
        result.setdefault(label, {})[candidate] = [float(row[column]) for row in rows]
    return [int(row["epoch"]) for row in rows], result


class TrialRecord:
    """``trials.csv``: every training that ended, in the order in which it was waited for, also one that was repeated
    after a kill: where and how long it ran, in how many attempts, with what result or why without.

    Args:
        path: of the file.
        metrics: columns of its own between seed and node.
    """

    def __init__(self, path: Path, metrics: Sequence[str] = ("validation_accuracy", "validation_loss")) -> None:
        self._table = Table(path, ("title", "seed", *metrics, "node", "seconds", "attempts", "reason", "architecture"))

    def add(self, *, seconds: float, **values: object) -> None:
        """Add the row of one more."""
        self._table.append(values | {"seconds": f"{seconds:.3f}"})


class Judged(NamedTuple):
    """What was found of an architecture: its score, of which more is better and nan says that it failed; and its
    accuracy on the validation images, nan where it is not known."""

    score: float
    accuracy: float = math.nan


@dataclass(frozen=True)
class Scored:
    """An architecture, its score (minus a loss, say, or the log-probability of a differentiable search), and its
    accuracy on the validation images, nan where it is not known."""

    architecture: Architecture
    score: float
    accuracy: float = math.nan


class ScoreRecord:
    """``architectures.csv``: every scored architecture in order. A resumed search is answered from it.

    ``measures`` name what is scored when an architecture is scored for the first time, the second, and so on.
    """

    def __init__(self, path: Path, measures: Sequence[str]) -> None:
        self._measures = measures
        self._times: Counter[Architecture] = Counter()
        kinds: dict[str, Callable[[str], Any]] = {"score": float, "accuracy": _or_nan, "architecture": parse}
        self._table = Table(path, SCORE_COLUMNS, kinds)
        self.scored = [_scored(row) for row in self._table.rows if row["measure"] in measures]
        self._times.update(scored.architecture for scored in self.scored)

    def add(self, architecture: Architecture, score: float, accuracy: float = math.nan) -> None:
        """Record one more."""
        measure = self._measures[min(self._times[architecture], len(self._measures) - 1)]
        row = {"measure": measure, "score": repr(score), "accuracy": "" if math.isnan(accuracy) else repr(accuracy)}
        row |= {"trial": str(len(self.scored)), "architecture": str(architecture)}
        self._table.append(row | asdict(cost(architecture)))
        self.scored.append(_scored(row))
        self._times[architecture] += 1

    def ranked(self, believed: Sequence[float] | None = None, *, trained_on: bool = False) -> list[Architecture]:
        """The architectures that have a score, the best first, of equals the cheaper one; RuntimeError if none has.

        ``believed`` are scores to rank by in the place of those on record, in their order.
        With ``trained_on`` an architecture that is scored again has been trained on meanwhile: its last score counts,
        and only those that were scored most often are ranked.
        """
        scores = [scored.score for scored in self.scored] if believed is None else believed
        finite = [
            Scored(scored.architecture, score)
            for scored, score in zip(self.scored, scores, strict=True)
            if math.isfinite(score)
        ]
        if not finite:
            raise RuntimeError("every candidate's training diverged; lower search.learning_rate")
        if trained_on:
            times = Counter(scored.architecture for scored in finite)
            most = max(times.values())
            last = {scored.architecture: scored for scored in finite}
            finite = [scored for scored in last.values() if times[scored.architecture] == most]
        finite.sort(key=lambda scored: (-scored.score, cost(scored.architecture).macs))
        return list(dict.fromkeys(scored.architecture for scored in finite))


def _scored(row: Mapping[str, str]) -> Scored:
    score, accuracy = float(row["score"]), _or_nan(row["accuracy"])
    if row["measure"] == "validation_accuracy":  # also where an earlier version wrote it
        accuracy = score
    return Scored(parse(row["architecture"]), score, accuracy)


def _or_nan(text: str) -> float:
    """The number that ``text`` is, nan if it is empty."""
    return float(text or math.nan)
