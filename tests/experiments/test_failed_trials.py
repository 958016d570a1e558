"""Trials that fail: the search goes on without them, says why they failed, and stops if too many do."""

from __future__ import annotations

import errno
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.processes import DiesOnce, die, size_of_second, wait_and_return
from helpers.runs import Killed, complaint, outcome, rows
from helpers.searches import config, run

import experiments.runs.engine as engine_module
import experiments.runs.trainings as trainings_module
from evaluators.training.pools import Call, ProcessDied, SharedPool, TimeLimitPassed
from evaluators.training.run import TrainingDiverged
from experiments.cli import main
from experiments.runs.failures import reason_of
from experiments.runs.records import ScoreRecord
from search_space.base.errors import InvalidRequest

TRIALS = ("--strategy.options.trials", "10")


def failing(patch: pytest.MonkeyPatch, error: Callable[[int], Exception | None]) -> list[int]:
    """Let the training of candidate n raise ``error(n)``, if that is one; the list gets the others."""
    trained: list[int] = []

    def retrain(*arguments: Any, **options: Any) -> Any:
        number = int(arguments[3].title.removeprefix("candidate "))
        if (failure := error(number)) is not None:
            raise failure
        trained.append(number)
        return original(*arguments, **options)

    original = trainings_module.retrain
    patch.setattr(trainings_module, "retrain", retrain)
    return trained


def test_a_trial_that_fails_has_no_score_but_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [
        torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
        TrainingDiverged("the loss is nan"),
    ]
    with monkeypatch.context() as patch:
        failing(patch, lambda number: errors[number] if number < 2 else None)
        out = run(tmp_path, "training")
    scored = rows(out / "architectures.csv")
    assert [row["score"] == "nan" for row in scored] == [True, True, False]
    assert rows(out / "failures.csv") == [
        {"trial": "0", "reason": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"}
        | {"architecture": scored[0]["architecture"]},
        {"trial": "1", "reason": "the loss is nan", "architecture": scored[1]["architecture"]},
    ]
    assert (out / "winner.json").exists()


def test_a_search_without_failures_keeps_no_file_of_them(resumable: tuple[str, Path]) -> None:
    assert not (resumable[1] / "failures.csv").exists()


def test_a_kill_between_the_two_tables_leaves_one_row_of_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any) -> None:
        raise Killed

    given = str(config(tmp_path, "training"))
    with monkeypatch.context() as patch:
        failing(patch, lambda number: ValueError("odd") if number == 0 else None)
        whole = run(tmp_path, "training", name="whole")
        with patch.context() as deadly:
            deadly.setattr(ScoreRecord, "add", die)
            with pytest.raises(Killed):
                main(["search", given, "--out", str(tmp_path / "out")])
        assert len(rows(tmp_path / "out" / "failures.csv")) == 1
        assert main(["search", given, "--out", str(tmp_path / "out"), "--resume"]) == 0
    assert outcome(tmp_path / "out") == outcome(whole)
    assert (tmp_path / "out" / "failures.csv").read_text() == (whole / "failures.csv").read_text()


def test_more_failures_than_allowed_stop_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", str(config(tmp_path, "training")), *TRIALS, "--out", str(tmp_path / "out")]

    errors = {number: RuntimeError(f"CUDA out of memory at step {number}") for number in (1, 3, 4, 6)}
    trained = failing(monkeypatch, lambda number: ValueError("odd") if number == 5 else errors.get(number))
    assert main(command) == 1
    assert complaint(capsys) == (
        "sepnas: 5 of 8 trials failed, more than max_failed 0.5 allows; most often (4 times): RuntimeError: CUDA out of"
        " memory at step 1"
    )
    assert trained == [0, 2, 7]
    assert not (tmp_path / "out" / "winner.json").exists()


def test_a_stopped_search_goes_on_where_more_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", str(config(tmp_path, "training")), *TRIALS, "--out", str(tmp_path / "out")]
    failing(monkeypatch, lambda number: ValueError("odd") if number < 7 else None)
    assert main(command) == 1
    first = complaint(capsys)
    assert "7 of 8 trials failed, more than max_failed 0.5 allows; most often (7 times): ValueError: odd" in first
    assert main([*command, "--resume"]) == 1
    assert complaint(capsys) == first
    assert main([*command, "--resume", "--max_failed", "0.9"]) == 0
    assert len(rows(tmp_path / "out" / "failures.csv")) == 7


def test_where_every_trial_fails_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, lambda number: TrainingDiverged(f"candidate {number}: the loss is nan at step {number}"))
    assert main(["search", str(config(tmp_path, "training")), "--out", str(tmp_path / "out")]) == 1
    assert "each of 3 trials failed; most often (3 times): candidate 0: the loss is nan" in complaint(capsys)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk: no space"),
        (InvalidRequest("data: is odd"), "data: is"),
    ],
)
def test_what_is_no_fault_of_the_trial_stops_the_search_and_is_no_failure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    words: str,
) -> None:
    whole = run(tmp_path, "training", name="whole")
    command = ["search", str(tmp_path / "training.yaml"), "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        failing(patch, lambda number: error if number == 1 else None)
        capsys.readouterr()
        assert main(command) == 2
        assert words in complaint(capsys)
    assert not (tmp_path / "out" / "failures.csv").exists()
    assert main([*command, "--resume"]) == 0
    assert outcome(tmp_path / "out") == outcome(whole)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, "Too many open files"), RuntimeError("No space left on device"), ImportError("no kornia")],
)
def test_troubles_of_the_machine_are_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        reason_of(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "OSError: [Errno 12] Cannot allocate memory"),
        (MemoryError(), "MemoryError:"),
        (TrainingDiverged("net: the loss is nan"), "net: the loss is nan"),
        (ValueError("a\x1b[31m\nb"), "ValueError: a [31m b"),
    ],
)
def test_reasons_are_one_line_without_control_characters(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
    assert len(reason_of(ValueError("x" * 1000))) <= 200


def test_a_candidate_whose_process_is_killed_twice_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        """A `SharedPool` in this process, whose second call dies."""

        def __init__(self, processes: int, shared: Any, *others: Any) -> None:
            self.shared = shared
            self.calls = 0

        def submit(self, function: Callable[..., Any], *arguments: Any) -> Call[Any]:
            call: Call[Any] = Call()
            self.calls += 1
            if self.calls == 2:
                call.set_exception(ProcessDied("its process was ended by SIGKILL, twice (out of memory?)"))
            else:
                call.make(lambda: function(self.shared, *arguments))
            return call

        def close(self) -> None:
            pass

    monkeypatch.setattr(engine_module, "SharedPool", Pool)
    out = run(tmp_path, "training", "--jobs", "2", "--strategy.options.ahead", "2")
    assert [row["score"] == "nan" for row in rows(out / "architectures.csv")] == [False, True, False]
    (failed,) = rows(out / "failures.csv")
    assert failed["reason"] == "ProcessDied: its process was ended by SIGKILL, twice (out of memory?)"
    first, second, _ = rows(out / "trials.csv")
    assert second["reason"] == failed["reason"]
    assert (second["validation_accuracy"], second["architecture"]) == ("nan", failed["architecture"])
    assert float(first["validation_accuracy"]) == float(rows(out / "architectures.csv")[0]["score"])
    assert (first["node"], first["attempts"], first["reason"]) == (platform.node(), "1", "")
    assert first["seed"] != second["seed"]
    assert float(first["seconds"]) > 0


# --- processes ---


def test_a_call_whose_process_is_killed_is_repeated_once_and_takes_no_other_with_it(tmp_path: Path) -> None:
    pool = SharedPool(2, 5)
    try:
        once, always = pool.submit(die, tmp_path / "once"), pool.submit(die, None)
        with pytest.raises(ProcessDied, match=r"^its process was ended by SIGKILL, twice \(out of memory\?\)$"):
            always.result()
        assert once.result() == 5
        (tmp_path / "there").touch()
        assert [pool.submit(die, tmp_path / "there").result() for _ in range(2)] == [5, 5], "the pool lives on"
    finally:
        pool.close()


def test_a_process_that_is_killed_before_it_has_taken_what_it_is_given_is_begun_anew(tmp_path: Path) -> None:
    pool = SharedPool(1, (DiesOnce(tmp_path / "once"), bytes(1 << 20)))  # more than a pipe holds
    try:
        call = pool.submit(size_of_second)
        assert call.result(timeout=100) == 1 << 20
        assert call.attempts == 2
    finally:
        pool.close()


def test_a_call_that_takes_too_long_is_ended_and_not_repeated() -> None:
    pool = SharedPool(1, None, limit=0.3, retries=3)
    try:
        late, quick = pool.submit(wait_and_return, 1000), pool.submit(wait_and_return, 0)
        with pytest.raises(TimeLimitPassed, match=r"^it took longer than trial_time allows \(0\.3 s\)$"):
            late.result()
        assert quick.result() == 0
        assert late.attempts == 1
        assert late.seconds < 100
    finally:
        pool.close()


def test_a_call_whose_process_dies_too_often_says_so() -> None:
    pool = SharedPool(1, 5, retries=0)
    try:
        with pytest.raises(ProcessDied, match=r"^its process was ended by SIGKILL \(out of memory\?\)$"):
            pool.submit(die, None).result()
    finally:
        pool.close()


def test_calls_that_were_not_begun_are_cancelled_with_their_pool() -> None:
    pool = SharedPool(1, None)
    calls = [pool.submit(wait_and_return, 1000) for _ in range(3)]
    while not calls[0].running():
        time.sleep(0.01)
    pool.close()
    assert isinstance(calls[0].exception(timeout=10), ProcessDied)
    assert calls[1].cancelled()
    assert calls[2].cancelled()
