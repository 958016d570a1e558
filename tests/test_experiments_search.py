"""Searches on disk: what a run leaves, that it is repeatable, and that no interruption changes or loses anything."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.runs import Killed, complaint, contents, outcome, rows, tiny_values

import experiments.commands.demo as demo_module
import experiments.comparison.compare as compare_module
import experiments.runs.task as task_module
import experiments.search.search as search_module
from evaluators.data.images import ImageData, ImageSet, Unopened
from evaluators.training import trainer as trainer_module
from evaluators.training.recipes import Recipe
from experiments.cli import main
from experiments.options.config import RetrainConfig, SearchConfig, StrategyConfig
from experiments.options.files import read_config
from experiments.runs.files import Table
from experiments.search.search import search
from search_space.network_cost import cost
from search_space.notation import parse
from search_space.serialization import load_architecture

ROOT = Path(__file__).resolve().parent.parent
OPERATORS = ["dw_k3", "sep_k3", "skip"]
BUDGET = 60_000
STRATEGIES: dict[str, dict[str, Any]] = {
    "gdas": {"name": "gdas"},
    "darts": {"name": "darts", "options": {"warmup_epochs": 1}},
    "evolution": {"name": "evolution", "options": {"trials": 6, "population_size": 3, "sample_size": 2}},
    "training": {
        "name": "evolution",
        "options": {"trials": 3, "population_size": 2, "sample_size": 1, "scoring": "training"},
    },
}
RUN_FILES = {
    "config.yaml",
    "provenance.json",
    "metrics.csv",
    "architectures.csv",
    "winner.json",
}


def config(folder: Path, strategy: str, **search: Any) -> Path:
    """A config file whose search takes about a second."""
    values = tiny_values(
        space={"width": 0.25, "operators": OPERATORS, "widths": [1.0]},
        budget={"max_macs": BUDGET},
        strategy=STRATEGIES[strategy],
        search={"epochs": 2, "batch_size": 32, "learning_rate": 0.05, **search},
    )
    path = folder / f"{strategy}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(folder: Path, strategy: str, *more: str, name: str = "run") -> Path:
    out = folder / name
    assert main(["search", str(config(folder, strategy)), "--out", str(out), *more]) == 0
    return out


@pytest.fixture(scope="module", params=["gdas", "darts", "evolution", "training"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(strategy, folder of its finished run)."""
    return request.param, run(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module", params=["gdas", "evolution"])
def resumable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(strategy, folder of a run that was never interrupted)."""
    return request.param, run(tmp_path_factory.mktemp(f"whole-{request.param}"), request.param)


# --- what a run leaves ---


def test_the_winner_is_inside_the_budget_and_on_record(finished: tuple[str, Path]) -> None:
    _, out = finished
    winner = load_architecture(out / "winner.json")
    assert cost(winner).macs <= BUDGET
    assert {block.operator for block in winner.blocks} <= set(OPERATORS)
    assert (winner.image_size, winner.in_channels, winner.classes) == (8, 1, 10)
    assert str(winner) in [row["architecture"] for row in rows(out / "architectures.csv")]


def test_a_run_holds_the_documented_files_and_no_other(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    wanted = RUN_FILES | ({"search/supernet.safetensors"} if strategy == "evolution" else set())
    if strategy == "training":
        wanted -= {"metrics.csv"}  # there is no supernet
    assert set(contents(out)) == wanted


def test_scored_architectures_have_their_cost_and_the_best_one_wins(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    scored = rows(out / "architectures.csv")
    assert list(scored[0]) == ["trial", "measure", "score", "macs", "params", "architecture"]
    assert [int(row["trial"]) for row in scored] == list(range(len(scored)))
    assert len({row["architecture"] for row in scored}) == len(scored)
    for row in scored:
        own = cost(parse(row["architecture"]))
        assert (int(row["macs"]), int(row["params"])) == (own.macs, own.params)
        assert own.macs <= BUDGET
    if strategy in ("gdas", "darts"):
        assert [row["measure"] for row in scored] == ["log_probability"]
        assert float(scored[0]["score"]) < 0
    else:
        assert {row["measure"] for row in scored} == {"validation_accuracy"}
        assert len(scored) == STRATEGIES[strategy]["options"]["trials"]
        assert all(0 <= float(row["score"]) <= 1 for row in scored)
        best = max(float(row["score"]) for row in scored)
        winner = str(load_architecture(out / "winner.json"))
        assert winner in [row["architecture"] for row in scored if float(row["score"]) == best]


def test_metrics_have_a_row_an_epoch(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    if strategy == "training":
        return
    metrics = rows(out / "metrics.csv")
    assert [(row["phase"], row["epoch"]) for row in metrics] == [("search", "0"), ("search", "1")]
    for row in metrics:
        assert float(row["train_loss"]) > 0
        assert 0 <= float(row["train_accuracy"]) <= 1
        assert float(row["seconds"]) >= 0
    if strategy == "gdas":
        assert all(float(row["expected_macs"]) > 0 and float(row["architecture_entropy"]) > 0 for row in metrics)


def test_the_config_on_disk_is_the_whole_resolved_one(finished: tuple[str, Path]) -> None:
    strategy, out = finished
    config_on_disk = read_config(out / "config.yaml")
    assert config_on_disk == read_config(out.parent / f"{strategy}.yaml")
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert written == yaml.safe_load(yaml.safe_dump(config_on_disk.as_dict()))
    assert set(written) == {field.name for field in fields(SearchConfig)}
    assert set(written["retrain"]) == {field.name for field in fields(RetrainConfig)}
    for recipe in (written["search"], written["retrain"]["recipe"]):
        assert set(recipe) == {field.name for field in fields(Recipe)}
    assert written["data"]["on_corrupt"] == "refuse"
    assert written["budget"]["max_macs"] == BUDGET


def test_provenance_says_what_made_the_run(finished: tuple[str, Path]) -> None:
    made = json.loads((finished[1] / "provenance.json").read_text())
    assert made["seed"] == 0
    assert made["accelerator"] == "cpu"
    assert made["versions"]["torch"] == torch.__version__
    assert made["versions"]["nni"] == "3.0"
    assert {"command", "time", "machine", "processor", "cores", "threads", "python", "revision"} <= set(made)


def test_files_of_a_run_are_as_readable_as_each_other(finished: tuple[str, Path]) -> None:
    modes = {path.stat().st_mode & 0o777 for path in finished[1].iterdir() if path.is_file()}
    assert len(modes) == 1


# --- seeds ---


def test_the_same_seed_gives_the_same_search_and_another_seed_another(
    resumable: tuple[str, Path], tmp_path: Path
) -> None:
    strategy, whole = resumable
    assert outcome(run(tmp_path, strategy, name="again")) == outcome(whole)
    assert outcome(run(tmp_path, strategy, "--seed", "1", name="other")) != outcome(whole)


def test_the_global_random_state_has_no_say(resumable: tuple[str, Path], tmp_path: Path) -> None:
    strategy, whole = resumable
    torch.manual_seed(987)
    assert outcome(run(tmp_path, strategy)) == outcome(whole)


# --- the test split ---


def test_a_search_never_sees_the_test_split(
    resumable: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, whole = resumable

    def load_poisoned(*args: Any, **kwargs: Any) -> ImageData:
        data = load(*args, **kwargs)
        assert isinstance(data.test, ImageSet)
        wrong = (data.test.labels + 1) % len(data.classes)
        poisoned = ImageSet(255 - data.test.images, wrong)
        return ImageData(data.name, data.classes, data.train, data.validation, poisoned, data.mean, data.std)

    load = task_module.load_data
    monkeypatch.setattr(task_module, "load_data", load_poisoned)
    assert outcome(run(tmp_path, strategy)) == outcome(whole)


@pytest.mark.parametrize("strategy", ["gdas", "darts", "evolution", "training"])
def test_a_search_does_not_even_open_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    def open_test() -> Any:
        raise AssertionError("a search looked at the test split")

    def load_guarded(*args: Any, **kwargs: Any) -> ImageData:
        data = load(*args, **kwargs)
        closed = Unopened(len(data.test), open_test)
        return ImageData(data.name, data.classes, data.train, data.validation, closed, data.mean, data.std)

    load = task_module.load_data
    monkeypatch.setattr(task_module, "load_data", load_guarded)
    run(tmp_path, strategy)


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

    def add(self: Any, architecture: Any, score: float) -> None:
        if len(scored) == trial:
            # half a row on disk, as a killed writer leaves it
            with self._table.path.open("a") as stream:
                stream.write(f"{trial},validation_acc")
            raise Killed
        scored.append(architecture)
        original(self, architecture, score)

    original = search_module.ScoreRecord.add
    with monkeypatch.context() as patch:
        patch.setattr(search_module.ScoreRecord, "add", add)
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

    original = search_module.retrain
    monkeypatch.setattr(search_module, "retrain", counting)
    assert main(["search", str(tmp_path / "training.yaml"), "--out", str(whole), "--resume"]) == 0
    assert len(judged) == 1
    assert (whole / "architectures.csv").read_text().splitlines(keepends=True) == kept


def test_a_sigkill_between_epochs_loses_nothing(tmp_path: Path) -> None:
    given = config(tmp_path, "gdas", epochs=12)
    assert main(["search", str(given), "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "experiments.cli", "search", str(given), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 100
        while not (out / "search" / trainer_module.CHECKPOINT_FILE).exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "winner.json").exists()
    assert main(["search", str(given), "--out", str(out), "--resume"]) == 0
    assert outcome(out) == outcome(tmp_path / "whole")
    assert set(contents(out)) == RUN_FILES


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
            patch.setattr(trainer_module.EpochProgress, "on_train_batch_end", press)
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
    table = Table(out / "architectures.csv", ("trial", "measure", "score", "macs", "params", "architecture"))
    table.keep(table.rows[::-1])
    capsys.readouterr()
    assert main(["search", str(tmp_path / "training.yaml"), "--out", str(out), "--resume"]) == 1
    assert "architectures.csv: row 0" in complaint(capsys)
    assert not (out / "winner.json").exists()


# --- as a user does it ---


def test_spaces_brackets_and_another_working_directory_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "my runs [1] ä"
    home.mkdir()
    config(home, "gdas")
    monkeypatch.chdir(home)
    assert main(["search", "gdas.yaml", "--out", "a run/", "--search.epochs", "3"]) == 0
    written = read_config(home / "a run" / "config.yaml")
    assert (written.search.epochs, written.space.width) == (3, 0.25)
    assert written.search.learning_rate == pytest.approx(0.05)


def test_a_run_on_a_relative_folder_of_images_is_found_again_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_folder: Callable[[Path], Path]
) -> None:
    image_folder(tmp_path / "pictures")
    given = config(tmp_path, "gdas")
    monkeypatch.chdir(tmp_path)
    options = ["--data.name", "pictures", "--data.max_train_images", "null", "--budget.max_macs", "200k"]
    assert main(["search", str(given), "--out", "run", *options]) == 0
    assert read_config(tmp_path / "run" / "config.yaml").data.name == str(tmp_path / "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = ["--recipe.epochs", "1", "--recipe.warmup_epochs", "0", "--seeds", "7"]
    assert main(["retrain", "../run", *recipe]) == 0
    assert (tmp_path / "run" / "retrain" / "winner" / "seed7" / "result.json").is_file()


@pytest.fixture
def image_folder() -> Callable[[Path], Path]:
    """Makes a folder of two classes of twelve grey images."""

    def make(root: Path) -> Path:
        from PIL import Image

        for label in range(2):
            (root / f"class{label}").mkdir(parents=True)
            for index in range(12):
                Image.new("L", (9, 12), 20 * index + label).save(root / f"class{label}" / f"{index}.png")
        return root

    return make


# --- the demo ---


def test_a_demo_does_the_whole_job_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = config(tmp_path, "gdas")
    values = yaml.safe_load(given.read_text())
    values["retrain"] = {"recipe": {"epochs": 1, "warmup_epochs": 0}, "seeds": [0]}
    given.write_text(yaml.safe_dump(values))
    small = StrategyConfig("evolution", {"trials": 3, "population_size": 2, "sample_size": 1})
    monkeypatch.setattr(demo_module, "find_config", lambda name: given)
    monkeypatch.setattr(demo_module, "EVOLUTION", small)
    out = tmp_path / "demo"

    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compare_module, "compare", stop)
        assert main(["demo", "--out", str(out)]) == 130
    winners = [(out / name / "winner.json").read_bytes() for name in ("gdas", "evolution")]
    assert main(["demo", "--out", str(out)]) == 2
    capsys.readouterr()
    assert main(["demo", "--out", str(out), "--resume"]) == 0
    assert winners == [(out / name / "winner.json").read_bytes() for name in ("gdas", "evolution")]
    said = capsys.readouterr().out
    table = rows(out / "report" / "comparison.csv")
    assert [row["network"] for row in table] == [
        "gdas winner",
        "evolution winner",
        "mobilenetv3-small",
        "mobilenetv3-small-xsep",
    ]
    assert [row["in_budget"] for row in table[:2]] == ["True", "True"]
    assert all(row["network"] in said for row in table)
    assert (out / "report" / "accuracy_macs.png").is_file()
    assert {path.name for path in (out / "export").iterdir()} == {
        "architecture.json",
        "weights.safetensors",
        "data.json",
        "load.py",
        "training.json",
    }
