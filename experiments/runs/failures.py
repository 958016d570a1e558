"""Trials that come to nothing: for what reason, whether the trial is to blame, and when there are too many of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from evaluators.training.run import TrainingDiverged
from experiments.runs.errors import TooManyFailed, is_disk_full, is_memory_full
from experiments.runs.files import Table
from experiments.runs.records import Scored
from search_space.architecture import Architecture
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest

#: scored trials before the share of those that failed says anything
LEAST_TRIALS = 8
#: characters of a reason
_LONGEST = 200


def reason_of(error: Exception) -> str:
    """One line that says why the trial that raised ``error`` failed.

    Raises ``error`` where the next trial would fare no better and this one can be repeated when that is mended: a
    request that cannot work, a full disk, files that cannot be read or written, a package that is missing.
    """
    elsewhere = isinstance(error, InvalidRequest | OSError | ImportError) and not is_memory_full(error)
    if elsewhere or is_disk_full(error):
        raise error
    text = str(error) if isinstance(error, TrainingDiverged) else f"{type(error).__name__}: {error}"
    return plain(" ".join(text.split()), _LONGEST)


class FailedShare:
    """Counts trials and those that failed.

    Args:
        most: share of the trials that may fail.
    """

    def __init__(self, most: float) -> None:
        self.most = most
        self._trials = 0
        self._reasons: list[str] = []

    def count(self, reason: str) -> None:
        """One more, failed if there is a reason; errors as of `check_share`."""
        self._trials += 1
        if reason:
            self._reasons.append(reason)
        check_share(self._trials, self._reasons, self.most)


def check_share(trials: int, reasons: Sequence[str], most: float, failed: int | None = None) -> None:
    """`TooManyFailed` if more than the share ``most`` of ``trials``, `LEAST_TRIALS` at least, failed.

    ``failed`` of them did, where not all ``reasons`` are known.
    """
    failed = len(reasons) if failed is None else failed
    if trials >= LEAST_TRIALS and failed > most * trials:
        raise TooManyFailed(
            f"{failed} of {trials} trials failed, more than max_failed {most:g} allows; {mostly(reasons)}"
        )


def mostly(reasons: Sequence[str]) -> str:
    """The most frequent reason; numbers in it, as that of the step, do not make it another one."""
    kinds = [re.sub(r"\d+", "0", reason) for reason in reasons]
    if not reasons:
        return "none of the reasons is on record"
    kind, count = Counter(kinds).most_common(1)[0]
    return f"most often ({count} times): {reasons[kinds.index(kind)]}"


class Failures:
    """``failures.csv``: the trials that failed, each with its reason.

    Args:
        path: of the file, which is there once something has failed.
        most: share of the trials that may fail.
    """

    def __init__(self, path: Path, most: float) -> None:
        self.most = most
        self._table = Table(path, ("trial", "reason", "architecture"), {"trial": int, "reason": str})

    def add(self, trial: int, reason: str, architecture: Architecture) -> None:
        """Record one more, before its score; a trial that is repeated, as a kill came between the two, replaces it."""
        kept = [row for row in self._table.rows if int(row["trial"]) < trial]
        if len(kept) != len(self._table.rows):
            self._table.keep(kept)
        self._table.append({"trial": trial, "reason": reason, "architecture": architecture})

    def check(self, scored: Sequence[Scored]) -> None:
        """`TooManyFailed` if more than the share allowed of ``scored``, `LEAST_TRIALS` at least, have no score."""
        check_share(len(scored), self._reasons, self.most, sum(not math.isfinite(one.score) for one in scored))

    def check_some_left(self, scored: Sequence[Scored]) -> None:
        """`TooManyFailed` if trials failed and no other has a score."""
        if self._table.rows and not any(math.isfinite(one.score) for one in scored):
            raise TooManyFailed(f"each of {len(scored)} trials failed; {mostly(self._reasons)}")

    @property
    def _reasons(self) -> list[str]:
        return [row["reason"] for row in self._table.rows]
