"""No interruption of a search changes or loses anything."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import Killed, complaint, contents, outcome
from helpers.searches import RUN_FILES, config, run

import experiments.runs.trainings as trainings_module
import experiments.search.trials as trials_module
from evaluators.training import callbacks as callbacks_module
from experiments.cli import main
from experiments.options.files import read_config
from experiments.runs.files import Table
from experiments.runs.records import SCORE_COLUMNS
from experiments.search.search import search

ROOT = Path(__file__).resolve().parents[2]


# --- interruptions ---


def failing_replace(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException, *, after: bool) -> None:
    """Make the ``at``-th renaming of a file raise, before it is done or right after; all that follow are undone."""
    calls = 0

    def replace(source: Any, target: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at + 1 and not after:
            raise error
        rename(source, target, **more)
        if calls == at + 1:
            raise error

    rename = os.replace
    monkeypatch.setattr(os, "replace", replace)


def number_of_replaces(strategy: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    calls = 0

    def replace(*args: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        rename(*args, **more)

    rename = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        run(folder, strategy, name="counted")
    return calls


def test_wherever_the_disk_fills_up_the_run_resumes_to_the_same_result(
    resumable: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, whole = resumable
    count = number_of_replaces(strategy, tmp_path, monkeypatch)
    assert count >= 7  # provenance, config, metrics, two resume points, architectures, winner
    given = str(config(tmp_path, strategy))
    for at in range(0, count, 1 if strategy == "gdas" else 3):  # killing evolution is tried at every write below
        out = tmp_path / f"full{at}"
        with monkeypatch.context() as patch:
            failing_replace(patch, at, OSError(errno.ENOSPC, "No space left on device"), after=False)
            capsys.readouterr()
            assert main(["search", given, "--out", str(out)]) == 2, f"write {at}"
        said = complaint(capsys)
        assert "no space left" in said
        assert "--resume" in said
        search(read_config(Path(given)), out, resume=True)
        assert outcome(out) == outcome(whole), f"write {at}"
        assert set(contents(out)) == set(contents(whole))


def test_wherever_it_is_killed_the_run_resumes_to_the_same_result(
    resumable: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, whole = resumable
    count = number_of_replaces(strategy, tmp_path, monkeypatch)
    given = read_config(config(tmp_path, strategy))
    for at in range(1, count):  # the first is provenance.json: as good as nothing written
        out = tmp_path / f"killed{at}"
        with monkeypatch.context() as patch:
            failing_replace(patch, at, Killed(), after=True)
            with pytest.raises(Killed):
                search(given, out)
        search(given, out, resume=True)
        assert outcome(out) == outcome(whole), f"write {at}"
        assert set(contents(out)) == set(contents(whole))


@pytest.mark.parametrize("trial", [0, 2, 5])
def test_evolution_killed_between_two_scores_asks_for_the_same_architectures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trial: int
) -> None:
    whole = run(tmp_path, "training" if trial == 2 else "evolution", name="whole")
    given = str(next(tmp_path.glob("*.yaml")))
    scored: list[Any] = []

    def add(self: Any, architecture: Any, *judged: float) -> None:
        if len(scored) == trial:
            # half a row on disk, as a killed writer leaves it
            with self._table.path.open("a") as stream:
                stream.write(f"{trial},validation_acc")
            raise Killed
        scored.append(architecture)
        original(self, architecture, *judged)

    original = trials_module.ScoreRecord.add
    with monkeypatch.context() as patch:
        patch.setattr(trials_module.ScoreRecord, "add", add)
        with pytest.raises(Killed):
            main(["search", given, "--out", str(tmp_path / "out")])
    assert main(["search", given, "--out", str(tmp_path / "out"), "--resume"]) == 0
    assert outcome(tmp_path / "out") == outcome(whole)


def test_scored_architectures_are_not_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path, "training", name="whole")
    (whole / "winner.json").unlink()
    kept = (whole / "architectures.csv").read_text().splitlines(keepends=True)
    (whole / "architectures.csv").write_text("".join(kept[:3]))  # header and two of three
    judged = []

    def counting(*args: Any, **more: Any) -> Any:
        judged.append(args[0])
        return original(*args, **more)

    original = trainings_module.retrain
    monkeypatch.setattr(trainings_module, "retrain", counting)
    assert main(["search", str(tmp_path / "training.yaml"), "--out", str(whole), "--resume"]) == 0
    assert len(judged) == 1
    assert (whole / "architectures.csv").read_text().splitlines(keepends=True) == kept


def test_a_sigkill_between_epochs_loses_nothing(tmp_path: Path) -> None:
    given = config(tmp_path, "gdas", epochs=12)
    assert main(["search", str(given), "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "experiments", "search", str(given), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 100
        while not (out / "search" / callbacks_module.CHECKPOINT_FILE).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "winner.json").exists()
    assert main(["search", str(given), "--out", str(out), "--resume"]) == 0
    assert outcome(out) == outcome(tmp_path / "whole")
    assert set(contents(out)) == RUN_FILES | {"probabilities.csv"}


@pytest.mark.parametrize("strategy", ["gdas", "training"])
def test_ctrl_c_ends_with_130_and_the_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    whole = run(tmp_path, strategy, name="whole")
    given = str(tmp_path / f"{strategy}.yaml")
    # a background job inherits an ignored Ctrl-C
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(callbacks_module.EpochProgress, "on_train_batch_end", press)
            capsys.readouterr()
            assert main(["search", given, "--out", str(tmp_path / "out")]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores it from the first on
    assert "interrupted" in complaint(capsys)
    assert not (tmp_path / "out" / "winner.json").exists()
    assert main(["search", given, "--out", str(tmp_path / "out"), "--resume"]) == 0
    assert (tmp_path / "out" / "winner.json").read_text() == (whole / "winner.json").read_text()


def test_a_finished_search_is_left_as_it_is(resumable: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    strategy, whole = resumable
    before = contents(whole)
    assert main(["search", str(config(whole.parent, strategy)), "--out", f"{whole}/", "--resume"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert contents(whole) == before


def test_overwriting_gives_a_whole_new_run(tmp_path: Path) -> None:
    out = run(tmp_path, "gdas")
    before = outcome(out)
    (out / "retrain" / "winner").mkdir(parents=True)
    (out / "retrain" / "winner" / "old").touch()
    run(tmp_path, "gdas", "--overwrite", "--seed", "5")
    assert not (out / "retrain").exists()
    assert read_config(out / "config.yaml").seed == 5
    assert outcome(out) != before


def test_a_diverging_search_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = config(tmp_path, "evolution", learning_rate=1e30)
    assert main(["search", str(given), "--out", str(tmp_path / "run")]) == 1
    assert "lower the learning rate" in complaint(capsys)


def test_a_foreign_row_in_the_record_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(tmp_path, "training")
    (out / "winner.json").unlink()
    table = Table(out / "architectures.csv", SCORE_COLUMNS)
    table.keep(table.rows[::-1])
    capsys.readouterr()
    assert main(["search", str(tmp_path / "training.yaml"), "--out", str(out), "--resume"]) == 1
    assert "architectures.csv: row 0" in complaint(capsys)
    assert not (out / "winner.json").exists()
