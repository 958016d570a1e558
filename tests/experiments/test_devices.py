"""Searches whose supernet several processes train together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import outcome, rows, tiny_config

from evaluators.training.callbacks import CHECKPOINT_FILE
from experiments.options.config import SearchConfig
from experiments.runs.folder import RunFolder
from experiments.search import search as search_module
from experiments.search.search import search
from search_space.base.errors import InvalidRequest


def config(strategy: dict[str, Any], **more: Any) -> SearchConfig:
    return tiny_config(
        strategy=strategy, search={"epochs": 2, "batch_size": 16, "warmup_epochs": 0}, devices=2, jobs=1, **more
    )


@pytest.mark.slow
def test_two_processes_search_and_a_killed_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config({"name": "gdas"})
    kept = tmp_path / "last.ckpt"
    find = search_module._find_winner

    def keeping(task: Any, run: RunFolder, *others: Any) -> Any:
        winner = find(task, run, *others)
        shutil.copy(run.search / CHECKPOINT_FILE, kept)
        return winner

    monkeypatch.setattr(search_module, "_find_winner", keeping)
    run = search(asked, tmp_path / "run")
    whole = outcome(run.path)
    assert [row["epoch"] for row in rows(run.metrics)] == ["0", "1"]
    assert [row["epoch"] for row in rows(run.probabilities)] == ["0", "1"]
    assert not (run.search / CHECKPOINT_FILE).exists()
    # as killed behind the last epoch: two processes take up what the first has written
    run.winner.unlink()
    shutil.copy(kept, run.search / CHECKPOINT_FILE)
    search(asked, run.path, resume=True)
    assert outcome(run.path) == whole


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["uniform", "fair", "sandwich"])
def test_two_processes_train_the_supernet_that_candidates_inherit_from(tmp_path: Path, sampling: str) -> None:
    options = {"trials": 3, "population_size": 2, "sampling": sampling}
    run = search(config({"name": "evolution", "options": options}), tmp_path / "run")
    assert run.winner.exists()
    assert run.supernet.exists()
    assert len(rows(run.architectures)) == 3


@pytest.mark.parametrize(
    "strategy", [{"name": "halving"}, {"name": "auto"}, {"name": "evolution", "options": {"scoring": "training"}}]
)
def test_what_trains_no_supernet_is_not_shared_out(strategy: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"devices: 2 processes share the training of a supernet, and .* none"):
        config(strategy)
