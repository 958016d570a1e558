"""What made a result: versions, hardware, the revision of the code."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from evaluators.training.recipes import Recipe
from experiments.options.config import SearchConfig, StrategyConfig
from experiments.runs import provenance as provenance_module
from experiments.runs.provenance import provenance
from experiments.runs.records import ScoreRecord
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import baseline
from search_space.serialization import save_architecture
from search_space.weights import save_weights


def test_provenance_is_json_and_names_the_hardware() -> None:
    made = provenance(3, "cpu")
    assert json.loads(json.dumps(made)) == made
    assert made["seed"] == 3
    assert made["accelerator"] == "cpu"
    assert made["cores"] == os.cpu_count()
    assert made["versions"]["nni"] == "3.0"


def test_the_revision_is_none_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "experiments"
    copied.mkdir()
    monkeypatch.setattr(provenance_module, "__file__", str(copied / "provenance.py"))
    assert provenance(0, "cpu")["revision"] is None


def test_a_copy_inside_the_checkout_of_somebody_else_has_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "provenance.py").touch()
    monkeypatch.setattr(provenance_module, "__file__", str(tmp_path / "provenance.py"))
    assert provenance(0, "cpu")["revision"] is None


def test_without_git_there_is_no_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(0, "cpu")["revision"] is None


def test_a_changed_file_marks_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *author, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "provenance.py").write_text("one")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    monkeypatch.setattr(provenance_module, "__file__", str(tmp_path / "provenance.py"))
    assert provenance(0, "cpu")["revision"] == git("rev-parse", "HEAD")
    (tmp_path / "provenance.py").write_text("two")
    assert provenance(0, "cpu")["revision"] == git("rev-parse", "HEAD") + "+"


def test_architectures_and_weights_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import nn

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        save_architecture(baseline("mobilenetv3-small"), tmp_path / "winner.json")
    with pytest.raises(OSError, match="full"):
        save_weights(nn.Linear(2, 2), tmp_path / "weights.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_candidate_that_diverged_never_wins(tmp_path: Path) -> None:
    cheap, dear = baseline("mobilenetv3-small", width=0.25), baseline("mobilenetv3-small", width=0.5)
    record = ScoreRecord(tmp_path / "architectures.csv", ["validation_accuracy"])
    record.add(cheap, math.nan)
    with pytest.raises(RuntimeError, match="every candidate's training diverged; lower"):
        record.ranked()[0]
    record.add(dear, 0.1)
    assert record.ranked()[0] == dear
    assert ScoreRecord(tmp_path / "architectures.csv", ["validation_accuracy"]).ranked()[0] == dear


def test_a_warm_up_that_leaves_nothing_to_search_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"strategy\.options\.warmup_epochs: 5 leaves none of search\.epochs 5"):
        SearchConfig(search=Recipe(epochs=5), strategy=StrategyConfig("gdas", {"warmup_epochs": 5}))
