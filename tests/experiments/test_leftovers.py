"""What a kill leaves half-written is gone after the next start of the same command, whichever it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers import trainings
from helpers.runs import Killed, contents, tiny_config
from helpers.searches import run
from helpers.trainings import RECIPE, SEED_FILES, make_run, pretend

from evaluators.training.callbacks import CHECKPOINT_FILE
from experiments import latency as latency_module
from experiments.cli import main
from search_space.base.atomic import is_temporary


def left(folder: Path) -> list[str]:
    """The temporary files anywhere below ``folder``."""
    return [path.name for path in folder.rglob(".*") if is_temporary(path)]


def killed_before(patch: pytest.MonkeyPatch, target: Path) -> None:
    """Die just before ``target`` is replaced, as by SIGKILL: what was written beside it stays."""

    def replace(source: Any, path: Any, **more: Any) -> None:
        if Path(path) == target:
            patch.setattr(Path, "unlink", lambda *arguments, **options: None)
            raise Killed
        rename(source, path, **more)

    rename = os.replace
    patch.setattr(os, "replace", replace)


def check_swept(command: list[str], target: Path, again: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill ``command`` before it writes ``target``; the next start, with the options ``again``, leaves nothing else."""
    with monkeypatch.context() as patch:
        killed_before(patch, target)
        with pytest.raises(Killed):
            main(command)
    assert len(left(target.parent)) == 1
    assert not target.exists()
    assert main([*command, *again]) == 0
    assert target.exists()
    assert left(target.parent) == []


@pytest.mark.parametrize(
    ("command", "name", "options"),
    [
        ("export", "weights.safetensors", ["--formats", "source"]),
        ("evaluate", "evaluation.json", []),
        ("compare", "comparison.md", ["--baselines", ""]),
        ("report", "index.html", []),
    ],
)
def test_of_commands_that_use_trained_networks(
    compared: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    name: str,
    options: list[str],
) -> None:
    out = "--to" if command == "export" else "--out"
    again = [] if command == "compare" else ["--overwrite"]
    given = [command, str(compared[0]), out, str(tmp_path / "out"), *options]
    check_swept(given, tmp_path / "out" / name, again, monkeypatch)


def test_of_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run")
    pretend(monkeypatch, lambda name, seed: 0.5 + 0.1 * seed)
    check_swept(["attribute", str(folder), "--jobs", "1"], folder / "attribution" / "attribution.md", [], monkeypatch)


def test_of_pareto_in_the_run_and_beside_what_is_picked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path, "training")
    command = ["pareto", str(folder), "--pick", "1M", "--to", str(tmp_path / "picked" / "network.json")]
    check_swept(command, folder / "pareto.csv", [], monkeypatch)
    (tmp_path / "picked" / "network.json").unlink()
    check_swept(command, tmp_path / "picked" / "network.json", [], monkeypatch)


def test_of_a_table_of_latencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(parts: list[Any], *arguments: Any, **options: Any) -> dict[str, list[float]]:
        return {part.key: [1.0 + 0.1 * number] for number, part in enumerate(parts)}

    monkeypatch.setattr(latency_module, "time_in_rounds", timed)
    table = tmp_path / "latency.json"
    check_swept(["latency", "--table", "digits", "--networks", "6", "--out", str(table)], table, [], monkeypatch)


def test_of_a_training_that_was_killed_behind_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(retrain={"recipe": RECIPE, "seeds": [0]})
    home = tmp_path / "winner" / "seed0"

    def unlink(path: Path, **options: Any) -> None:
        if path.name == CHECKPOINT_FILE:
            raise Killed
        remove(path, **options)

    remove = Path.unlink
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Killed):
            trainings.train(config, tmp_path / "winner")
    assert set(contents(home)) == {*SEED_FILES, CHECKPOINT_FILE}
    trainings.train(config, tmp_path / "winner")
    assert set(contents(home)) == SEED_FILES
