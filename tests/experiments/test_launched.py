"""Processes that torchrun or SLURM started: one decides and writes, and only retraining is shared out."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.processes import retrain_as_seen, retrain_small
from helpers.runs import complaint, contents

from evaluators.training.processes import run_together
from experiments.cli import main


@pytest.mark.parametrize("by", ["torchrun", "SLURM"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "digits", "--out", "out"],
        ["compare", "runs/one"],
        ["evaluate", "runs/one", "--out", "out"],
        ["rank", "runs/one"],
        ["demo", "--out", "out"],
    ],
)
def test_what_runs_in_one_process_is_refused_in_several(
    arguments: list[str],
    by: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variables = {"torchrun": {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2}, "SLURM": {"PROCID": 1, "NTASKS": 2}}
    for name, value in variables[by].items():
        monkeypatch.setenv(f"SLURM_{name}" if by == "SLURM" else name, str(value))
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("data: {name: digits}\n")
    (run / "provenance.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert main(arguments) == 2
    assert f"processes: torchrun or SLURM started 2, but {arguments[0]} runs in one" in complaint(capsys)
    assert contents(tmp_path) == before


def test_retraining_apart_is_refused_before_anything_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    arguments = ["retrain", "mobilenetv3-small", "--data.name", "digits", "--data.image_size", "8", "--width", "0.25"]
    assert main([*arguments, "--accelerator", "cpu", "--out", str(tmp_path / "out")]) == 2
    assert "devices: 1 on 1 node(s) are 1 process(es), but torchrun or SLURM started 2" in complaint(capsys)
    assert not (tmp_path / "out").exists()


def test_the_first_process_tells_what_is_done_and_what_is_refused(tmp_path: Path) -> None:
    """The second one looks at an empty folder, as one does whose file system is late."""
    folders = [tmp_path / "first", tmp_path / "second"]
    done = retrain_small(folders[0], [0], epochs=1, devices=1)
    # else it would train seed 0 as well, and wait for the first process for ever
    result = run_together(retrain_as_seen, (folders,), 2, None)
    assert result["seeds"] == [0, 1]
    assert result["accuracies"][0] == done.accuracies[0]
    assert (folders[0] / "seed1" / "result.json").is_file()
    assert not folders[1].exists()
    told = [(tmp_path / f"refused{rank}").read_text() for rank in (0, 1)]
    assert told[0] == told[1]
    assert f"{folders[0]} holds a retraining made differently: recipe.epochs was 1 and is now 2" in told[0]
