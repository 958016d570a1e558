"""The command line: help that is light, and one clear line for whatever is wrong, with nothing changed on disk."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.runs import tiny_values
from PIL import Image

import experiments.runs.task as task_module
from evaluators.training.presets import RECIPES
from experiments import commands
from experiments.cli import main
from experiments.options.config import SearchConfig
from experiments.options.files import BUNDLED, bundled_names, find_config, read_config
from experiments.options.parsing import Command
from experiments.runs.folder import RunFolder, open_run
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.hand_designed import baseline, baselines
from search_space.network_cost import cost
from search_space.registry import operators
from search_space.serialization import save_architecture, to_json
from strategies.budget.feasible import format_ranges
from strategies.registry import STRATEGIES

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch",
    "nni",
    "pytorch_lightning",
    "pymoo",
    "onnx",
    "onnxruntime",
    "scipy",
    "sklearn",
    "datasets",
    "matplotlib",
    "pandas",
)

Refused = Callable[..., str]


def write(text: str, path: str = "config.yaml") -> str:
    Path(path).write_text(text)
    return path


def tiny(**more: Any) -> str:
    return write(yaml.safe_dump(tiny_values(**more)), "tiny.yaml")


def network(**more: Any) -> Architecture:
    return baseline("mobilenetv3-small", **{"image_size": 8, "in_channels": 1, "width": 0.25, **more})


def old_run(folder: Path, config: SearchConfig | None = None, *, winner: bool = True) -> RunFolder:
    """A run as a finished search leaves it, without the searching."""
    run = open_run(folder, (config or read_config(Path(tiny()))).as_dict(), {"versions": {}}, overwrite=False)
    if winner:
        save_architecture(network(), run.winner)
    return run


# --- help ---


#: requests that are answered from names and defaults alone
LIGHT = [
    [],
    ["--help"],
    ["-h"],
    ["--version"],
    *([name, "--help"] for name in commands.COMMANDS),
    ["list", "strategies"],
    ["list", "recipes"],
    ["list", "datasets"],
]


def test_help_and_lists_of_names_are_there_without_anything_heavy() -> None:
    """All in one process, which takes up nothing heavy on the way; each would cost the same import again."""
    script = f"""
import sys
from experiments.cli import main
for arguments in {LIGHT!r}:
    assert main(arguments) == 0, arguments
    assert not [name for name in {HEAVY!r} if name in sys.modules], (arguments, sorted(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: sepnas") == 3 + len(commands.COMMANDS)


@pytest.mark.parametrize("text", ["bogus: 1", "search: {preset: none}", "strategy: {name: none}"])
def test_wrong_names_in_a_config_are_answered_without_anything_heavy(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    script = f"""
import sys
from experiments.cli import main
assert main(["search", {str(tmp_path / "config.yaml")!r}, "--out", {str(tmp_path / "run")!r}]) == 2
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "search",
            [
                "Search a network within a budget",
                "--search.preset NAME",
                "--budget.max_macs",
                "--resume",
                "default: digits",
                "16.7M",
            ],
        ),
        ("retrain", ["from scratch", "--recipe.preset NAME", "epochs", "--seeds", "default: 0,1,2", "--overwrite"]),
        ("export", ["weights.safetensors", "--to", "first by default"]),
        ("compare", ["comparison.csv", "--baselines", "mobilenetv3-small-xsep", "RUN/report"]),
        ("cost", ["Multiply-accumulates", "default: 32", "default: 10", "--json"]),
        ("list", ["operators", "presets", "macros", "baselines", "strategies", "recipes", "datasets"]),
        ("describe", ["one row a block", "--json", "folder of a run"]),
        ("space", ["reachable range", "--space.operators", "--budget.max_macs"]),
        ("demo", ["hand-written digits", "default: sepnas-demo", "--overwrite"]),
        ("bench", ["speed", "default: 5", "--json"]),
    ],
)
def test_help_tells_what_a_command_does_and_its_defaults(
    command: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in words:
        assert word in said


def test_every_option_of_a_search_has_its_meaning_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main(["search", "--help"])
    said = capsys.readouterr().out
    main(["search", "--help.recipe"])
    recipe = capsys.readouterr().out

    def keys(values: dict[str, Any], prefix: str = "") -> list[str]:
        return [
            name
            for key, value in values.items()
            for name in (keys(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [prefix + key])
        ]

    for name in keys(SearchConfig().as_dict()):
        section, _, field = name.rpartition(".")
        if section in ("search", "retrain.recipe"):
            assert f"--{section}.FIELD" in said
            assert f"  {field} " in recipe
        else:
            assert f"--{name}" in said


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    for name, command in commands.COMMANDS.items():
        assert f"  {name}" in said
        assert command.summary in said


# --- unknown names ---


def test_unknown_commands_are_answered_by_the_known_ones(refused: Refused) -> None:
    said = refused("serach")
    assert said.startswith("command: 'serach' is unknown; known are demo, search, retrain")
    assert said.endswith("and 4 more (`sepnas --help` shows all); did you mean search?")
    assert "'--nope' is unknown" in refused("--nope")


@pytest.mark.parametrize("command", list(commands.COMMANDS))
def test_unknown_options_are_named_with_their_command(refused: Refused, command: str) -> None:
    needed = {
        "retrain": ["x"],
        "export": ["x", "--to", "y"],
        "compare": ["x"],
        "cost": ["x"],
        "list": ["operators"],
        "bench": ["all"],
    }
    said = refused(command, *needed.get(command, []), "--no-such-option", "7")
    assert "--no-such-option" in said
    assert f"`sepnas {command} --help` tells the options" in said


def test_options_are_not_guessed_from_their_beginning(refused: Refused) -> None:
    assert "--see" in refused("search", tiny(), "--out", "run", "--see", "1")


@pytest.mark.parametrize("command", ["export", "compare", "list", "cost", "retrain"])
def test_what_is_missing_is_named(refused: Refused, command: str) -> None:
    assert "required" in refused(command)


def test_a_search_needs_a_folder(refused: Refused) -> None:
    assert refused("search", tiny()).startswith("--out: missing; name the folder")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bogus: 1", ["config.yaml", "bogus", "unknown key", "known are data, space"]),
        ("data: {imagesize: 8}", ["data.imagesize", "8", "image_size"]),
        ("retrain: {recipe: {epoch: 7}}", ["retrain.recipe.epoch", "7", "epochs"]),
        ("budget: {max_flops: 16M}", ["budget.max_flops", "16M", "max_macs"]),
        ("data: [1]", ["data", "[1]", "group of keys"]),
        ("data:", ["data", "None", "group of keys"]),
        ("search: {epochs: two}", ["search.epochs", "'two'", "whole number"]),
        ("search: {epochs: 2.5}", ["search.epochs", "2.5", "whole number"]),
        ("search: {epochs: 0}", ["epochs", "0", "at least 1"]),
        ("search: {learning_rate: fast}", ["search.learning_rate", "'fast'", "a number"]),
        ("search: {gradient_clip: much}", ["search.gradient_clip", "'much'", "null or a number"]),
        ("search: {flip: 7}", ["search.flip", "7", "true or false"]),
        ("retrain: {seeds: 3}", ["retrain.seeds", "3", "a list"]),
        ("retrain: {seeds: [0, x]}", ["retrain.seeds", "'x'", "whole number"]),
        ("retrain: {seeds: [0, 0]}", ["retrain.seeds", "[0, 0]", "different"]),
        ("retrain: {seeds: []}", ["retrain.seeds", "one or more"]),
        ("retrain: {seeds: [-1]}", ["retrain.seeds", "-1", "from 0"]),
        ("retrain: {train_on: test}", ["retrain.train_on", "'test'", "known are train, train+validation"]),
        ("seed: -1", ["seed", "-1", "from 0 to 4294967295"]),
        ("seed: true", ["seed", "True", "whole number"]),
        ("data: {channels: 2}", ["data.channels", "2", "auto or 1 or 3"]),
        ("data: {max_train_images: many}", ["data.max_train_images", "'many'", "null or a whole number"]),
        ("data: {on_corrupt: maybe}", ["data.on_corrupt", "'maybe'", "known are refuse, skip"]),
        ("data: {name: none-such}", ["none-such", "digits"]),
        ("data: {image_size: 4}", ["image_size", "4", "at least 8"]),
        ("space: {macro: resnet}", ["macro", "'resnet'", "mobilenetv3-small"]),
        ("space: {width: 0}", ["width", "0", "above 0"]),
        ("space: {operators: [dw_k3, dw_k4]}", ["operators", "'dw_k4'", "dw_k5"]),
        ("space: {operators: []}", ["operators", "empty", "at least one"]),
        ("space: {operators: [dw_k3, dw_k3]}", ["operators", "twice"]),
        ("space: {operators: [skip]}", ["choices[1]", "empty"]),
        ("space: {operators: all}", ["operators", "'all'", "paper"]),
        ("space: {widths: [0]}", ["widths", "0", "above 0"]),
        ("space: {widths: []}", ["widths", "[]", "one or more"]),
        ("space: {stages: {99: {widths: [1.0]}}}", ["stages", "99"]),
        (
            "strategy: {name: snas}",
            ["strategy.name", "'snas'", ", ".join(list(STRATEGIES)[:10]), "`sepnas list strategies` shows all"],
        ),
        ("strategy: {options: {trials: 3}}", ["strategy.options.trials", "unknown for gdas", "temperature_first"]),
        ("strategy: {options: {warmup_epochs: few}}", ["strategy.options.warmup_epochs", "'few'", "whole number"]),
        (
            "strategy: {name: evolution, options: {scoring: fast}}",
            ["strategy.options.scoring", "'fast'", "known are supernet, training"],
        ),
        ("strategy: {name: evolution, options: {trials: 0}}", ["strategy.options.trials", "0", "at least 1"]),
        ("accelerator: tpu", ["accelerator", "'tpu'", "known are auto, cpu, cuda"]),
        ("budget: {max_macs: 16.7Q}", ["budget.max_macs", "'16.7Q'", "16.7M"]),
        ("budget: {max_macs: -5}", ["budget.max_macs", "-5", "negative"]),
        ("budget: {max_params: 1.5}", ["budget.max_params", "1.5"]),
        ("budget: {min_macs: 20M, max_macs: 10M}", ["budget.min_macs", "20,000,000", "budget.max_macs 10,000,000"]),
        ("", ["config.yaml", "no keys"]),
        ("- 1", ["config.yaml", "no keys"]),
        ("a: [", ["config.yaml", "not YAML"]),
    ],
)
def test_a_wrong_config_is_answered_by_key_value_and_remedy(refused: Refused, text: str, words: list[str]) -> None:
    said = refused("search", write(text), "--out", "run")
    for word in words:
        assert word in said
    assert "class '" not in said  # no Python types


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget.max_mac", "5M"], ["--budget.max_mac"]),
        (["--budget.max_macs", "abc"], ["budget.max_macs", "'abc'", "16.7M"]),
        (["--search.epochs", "two"], ["search.epochs", "'two'", "whole number", "`sepnas search --help`"]),
        (["--seed", "1.5"], ["seed", "1.5", "whole number"]),
        (["--data.on_corrupt", "ignore"], ["data.on_corrupt", "'ignore'", "known are refuse, skip"]),
        (["--strategy.name", "snas"], ["strategy.name", "'snas'", "evolution"]),
        (["--space.widths", "0.5,x"], ["space.widths", "'x'", "a number"]),
        (["--costs", '["none.json"]'], ["costs", "none.json"]),
        (["--supernet", "none"], ["supernet", "none", 'only scoring "supernet" takes one']),
        (["--supernet", "none", "--strategy.name", "tpe"], ["run", "none holds no run"]),
        (["--retrain.parallel_seeds", "0"], ["retrain.parallel_seeds", "0", "at least 1"]),
        (["--strategy.options.trials", "5"], ["strategy.options.trials", "unknown for gdas"]),
        (["--strategy.options", '{"foo": 3}'], ["strategy.options.foo", "unknown for gdas"]),
        (["--space.operators", "dw_k3,dw_k4"], ["operators", "'dw_k4'"]),
        (["--retrain.seeds", "0,a"], ["retrain.seeds", "'a'", "whole number"]),
        (["--retrain.seeds=1,1"], ["retrain.seeds", "[1, 1]", "different"]),
        (["--seed", str(2**32)], ["seed", "4294967296"]),
    ],
)
def test_a_wrong_option_is_answered_by_name_value_and_remedy(
    refused: Refused, options: list[str], words: list[str]
) -> None:
    said = refused("search", tiny(), "--out", "run", *options)
    for word in words:
        assert word in said


def test_a_missing_config_is_answered_by_the_bundled_ones(refused: Refused) -> None:
    said = refused("search", "none.yaml", "--out", "run")
    assert "'none.yaml' does not exist" in said
    assert "digits" in said


def test_a_config_that_is_no_text_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "'binary.yaml' is not YAML" in refused("search", "binary.yaml", "--out", "run")


# --- budgets ---


@pytest.mark.parametrize("channels", ["auto", "1", "3"])
def test_a_budget_below_the_reachable_is_refused_with_the_range(refused: Refused, channels: str) -> None:
    said = refused("search", tiny(), "--out", "run", "--budget.max_macs", "1k", "--data.channels", channels)
    space = SearchSpace.create(
        image_size=8, in_channels=3 if channels == "3" else 1, width=0.25, operators=["dw_k3", "skip"], widths=[1.0]
    )
    assert said.startswith("budget.max_macs: 1,000 is below the smallest architecture")
    assert f"reachable are {format_ranges(space.cost_table)}" in said


def test_a_budget_above_the_reachable_is_refused_with_the_range(refused: Refused) -> None:
    said = refused("search", tiny(), "--out", "run", "--budget.min_params", "1G")
    assert said.startswith("budget.min_params: 1,000,000,000 is above the largest architecture")
    assert "reachable are macs" in said


def test_bounds_that_cannot_be_met_together_are_refused(refused: Refused) -> None:
    said = refused("search", tiny(), "--out", "run", "--budget.max_macs", "90k", "--budget.min_params", "105k")
    assert "at once" in said
    assert "loosen one bound" in said


def test_a_gpu_that_is_not_there_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert refused("search", tiny(), "--out", "run", "--accelerator", "cuda").startswith("accelerator: cuda, but")


# --- images ---


def pictures(folder: str, classes: int = 2, n: int = 10) -> Path:
    for label in range(classes):
        (Path(folder) / f"class{label}").mkdir(parents=True)
        for index in range(n):
            image = Image.new("L", (10, 10), 20 * index + label)
            image.save(Path(folder) / f"class{label}" / f"{index}.png")
    return Path(folder)


def test_a_missing_folder_of_images_is_named(refused: Refused) -> None:
    assert "'./none'" in refused("search", tiny(), "--out", "run", "--data.name", "./none")


def test_an_empty_folder_of_images_is_named(refused: Refused) -> None:
    Path("empty").mkdir()
    said = refused("search", tiny(), "--out", "run", "--data.name", "empty")
    assert "empty" in said
    assert "no class folders" in said


def test_one_class_alone_is_refused(refused: Refused) -> None:
    pictures("one", classes=1)
    assert "at least 2 classes" in refused("search", tiny(), "--out", "run", "--data.name", "one")


def test_a_corrupt_image_is_named_and_skipped_on_demand(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures("some")
    broken = Path("some/class1/3.png")
    broken.write_bytes(broken.read_bytes()[:40])
    options = [tiny(), "--out", "run", "--data.name", "some", "--data.max_train_images", "null"]
    said = refused("search", *options, loads=True)
    assert "class1/3.png" in said
    assert "skip" in said
    assert main(["search", *options, "--data.on_corrupt", "skip"]) == 0
    assert "class1/3.png" in capsys.readouterr().out
    assert (Path("run") / "winner.json").is_file()


# --- folders for results ---


def test_a_folder_with_a_run_needs_resume_or_overwrite(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    said = refused("search", "tiny.yaml", "--out", "run")
    assert said == "out: run already holds a run; --resume continues it, --overwrite deletes it first"
    assert "exclude each other" in refused("search", "tiny.yaml", "--out", "run", "--resume", "--overwrite")


def test_a_folder_with_other_files_is_refused_whatever_is_asked(refused: Refused) -> None:
    Path("home").mkdir()
    write("dear diary", "home/diary.txt")
    for more in ([], ["--resume"], ["--overwrite"]):
        said = refused("search", tiny(), "--out", "home", *more)
        assert "home holds diary.txt" in said
        assert "empty or new folder" in said


def test_a_config_file_alone_does_not_make_a_folder_a_run(refused: Refused) -> None:
    Path("project").mkdir()
    write(Path(tiny()).read_text(), "project/config.yaml")
    write("irreplaceable", "project/thesis.tex")
    said = refused("search", "project/config.yaml", "--out", "project", "--overwrite")
    assert "project holds config.yaml, which is not part of a run" in said


def test_other_files_beside_a_run_keep_it_from_being_overwritten(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    write("irreplaceable", "run/thesis.tex")
    assert "run holds thesis.tex beside a run" in refused("search", "tiny.yaml", "--out", "run", "--overwrite")


def test_resuming_with_another_config_names_the_first_difference(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    said = refused("search", "tiny.yaml", "--out", "run/", "--resume", "--search.epochs", "7", "--seed", "3")
    assert "search.epochs was 1 and is now 7" in said
    options = ["--strategy.options", '{"temperature_last": 0.1}']
    said = refused("search", "tiny.yaml", "--out", "run", "--resume", *options)
    assert "strategy.options.temperature_last was None and is now 0.1" in said


@pytest.mark.parametrize(
    "wrong",
    [["--budget.max_macs", "1k"], ["--data.name", "./none"], ["--space.operators", "dw_k4"], ["--seed", "-1"]],
)
def test_a_bad_request_leaves_the_run_that_it_would_overwrite(
    refused: Refused, tmp_path: Path, wrong: list[str]
) -> None:
    old_run(tmp_path / "run")
    refused("search", "tiny.yaml", "--out", "run", "--overwrite", *wrong)


def test_data_that_cannot_be_read_leave_the_run_that_they_would_overwrite(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    pictures("broken")
    write("no image", "broken/class0/0.png")
    refused("search", "tiny.yaml", "--out", "run", "--overwrite", "--data.name", "broken", loads=True)


@pytest.mark.parametrize("out", ["tiny.yaml", "tiny.yaml/run"])
def test_a_file_cannot_be_the_folder(refused: Refused, out: str) -> None:
    assert "tiny.yaml is a file; give a folder" in refused("search", tiny(), "--out", out)


def test_a_folder_that_must_not_be_written_to_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK) and access(path, mode))
    assert "must not be written to" in refused("search", tiny(), "--out", "some/run")


def test_a_demo_does_not_begin_where_something_else_is(refused: Refused) -> None:
    Path("demo/evolution").mkdir(parents=True)
    write("x", "demo/evolution/x")
    assert "demo/evolution holds x" in refused("demo", "--out", "demo", "--overwrite")


# --- architecture files ---


def architecture_file(change: Callable[[dict[str, Any]], Any]) -> str:
    data = to_json(network())
    change(data)
    return write(json.dumps(data), "a.json")


@pytest.mark.parametrize("command", [["cost"], ["retrain", "--out", "results"]])
def test_wrong_architecture_files_are_named_with_what_is_wrong(refused: Refused, command: list[str]) -> None:
    name, *more = command
    path = architecture_file(lambda data: data.update(version=99))
    said = refused(name, path, *more)
    assert "a.json" in said
    assert "version: 99 cannot be read" in said
    path = architecture_file(lambda data: data["blocks"][1].update(in_channels=77))
    assert "blocks[1]" in refused(name, path, *more)
    assert "77" in refused(name, path, *more)
    path = architecture_file(lambda data: data["blocks"][0].update(operator="conv"))
    assert "blocks[0].operator: 'conv' is unknown" in refused(name, path, *more)
    path = architecture_file(lambda data: data.update(classes="ten"))
    assert "classes" in refused(name, path, *more)
    assert "a.json is not JSON" in refused(name, write("{", "a.json"), *more)
    assert '"format"' in refused(name, write("[]", "a.json"), *more)
    assert re.search("none.json'? does not exist", refused(name, "none.json", *more))


def test_retraining_a_file_needs_a_folder(refused: Refused) -> None:
    assert refused("retrain", architecture_file(lambda data: None)).startswith("--out: missing")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.image_size", "16"], ["image_size: 8", "16"]),
        (["--data.image_size", "8", "--data.channels", "3"], ["in_channels: 1", "3"]),
    ],
)
def test_an_architecture_must_fit_the_data(refused: Refused, options: list[str], words: list[str]) -> None:
    said = refused("retrain", architecture_file(lambda data: None), "--out", "results", *options, loads=True)
    assert said.startswith("architecture.")
    for word in words:
        assert word in said


def test_results_are_not_written_among_other_files(refused: Refused) -> None:
    Path("home").mkdir()
    write("x", "home/architecture.json")
    path = architecture_file(lambda data: None)
    said = refused("retrain", path, "--out", "home", "--data.image_size", "8", "--overwrite", loads=True)
    assert "home holds architecture.json" in said


@pytest.mark.parametrize("seeds", ["[0,0]", "x", "0,x", "[]", "-1"])
def test_wrong_seeds_are_named(refused: Refused, seeds: str) -> None:
    assert "seeds" in refused("retrain", architecture_file(lambda data: None), "--out", "results", f"--seeds={seeds}")


# --- runs that are not there, or not done ---


@pytest.mark.parametrize("arguments", [["export", "--to", "x"], ["compare"]])
def test_a_folder_without_a_run_is_named(refused: Refused, arguments: list[str]) -> None:
    Path("none").mkdir()
    said = refused(arguments[0], "none", *arguments[1:])
    assert said.startswith("run: none holds no run")
    assert "sepnas search --out" in said
    assert refused(arguments[0], "nowhere", *arguments[1:]).startswith("run: nowhere holds no run")
    assert refused("retrain", "none").startswith("run: none holds no run")


def test_an_unfinished_search_has_no_winner_to_work_with(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run", winner=False)
    assert "has no winner yet" in refused("retrain", "run")
    assert "has no winner yet" in refused("compare", "run")
    assert "sepnas retrain run" in refused("export", "run", "--to", "x")


@pytest.mark.parametrize("names", ["mobilenetv9", "mobilenetv3-small,mobilenetv9"])
def test_unknown_baselines_are_answered_by_the_known_ones(refused: Refused, tmp_path: Path, names: str) -> None:
    old_run(tmp_path / "run")
    said = refused("compare", "run", "--baselines", names)
    assert "'mobilenetv9' is unknown" in said
    assert "mobilenetv3-small-xsep" in said


def test_a_baseline_or_a_run_named_twice_is_refused(refused: Refused, tmp_path: Path) -> None:
    old_run(tmp_path / "run")
    assert "twice" in refused("compare", "run", "--baselines", "mobilenetv3-small, mobilenetv3-small")
    assert "twice" in refused("compare", "run", "./run/")


def test_runs_on_other_data_are_not_compared(refused: Refused, tmp_path: Path) -> None:
    one = read_config(Path(tiny()))
    old_run(tmp_path / "one", one)
    for name, other, words in (
        ("data", replace(one, data=replace(one.data, image_size=16)), "data.image_size was 8 and is now 16"),
        ("seed", replace(one, seed=4), "seed was 0 and is now 4"),
        ("recipe", replace(one, retrain=replace(one.retrain, seeds=[5])), "retrain.seeds"),
    ):
        old_run(tmp_path / name, other)
        said = refused("compare", "one", name)
        assert said.startswith(f"run: {name} has other data, retraining or seed than one")
        assert words in said


# --- failures ---


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "no space left on device; free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "no space left on device"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 2, "no space left on device"),
        (MemoryError(), 2, "memory: there is not enough of it; take a smaller batch"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "memory: there is not enough"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again"),
        (RuntimeError("first\nsecond"), 1, "failed: RuntimeError: first second (SEPNAS_TRACEBACK=1 shows where)"),
        (ZeroDivisionError(), 1, "failed: ZeroDivisionError: no reason given"),
        (InvalidRequest("field: value\nis wrong"), 2, "field: value is wrong"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def run(options: Any) -> None:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "fails", lambda parser: None, run))
    monkeypatch.delenv("SEPNAS_TRACEBACK", raising=False)
    assert words in refused("list", code=code)


def test_a_full_disk_behind_another_error_is_recognised(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not save") from error

    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "fails", lambda parser: None, run))
    assert "no space left" in refused("list", code=2)


def test_the_traceback_is_shown_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(options: Any) -> None:
        raise RuntimeError("here")

    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "fails", lambda parser: None, run))
    monkeypatch.setenv("SEPNAS_TRACEBACK", "1")
    assert main(["list"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_no_failure() -> None:
    command = f"{sys.executable} -m experiments list operators | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("name", ["search_space", "strategies", "evaluators"])
def test_a_package_that_shadows_ours_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    command = [sys.executable, "-m", "experiments", "list", "datasets"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"sepnas: package {name}: {tmp_path / name / '__init__.py'} is found in place of")
    assert done.stderr.count("\n") == 1


def test_a_plain_folder_of_the_same_name_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "search_space").mkdir()
    command = [sys.executable, "-m", "experiments", "list", "datasets"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits" in done.stdout


# --- cost and list ---


def test_cost_prints_what_the_library_computes(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--input", "56", "--classes", "100", "--channels", "1", "--width", "0.5"]
    assert main(["cost", "mobilenetv3-small-xsep", *options, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    own = cost(baseline("mobilenetv3-small-xsep", image_size=56, classes=100, in_channels=1, width=0.5))
    assert (printed["macs"], printed["params"]) == (own.macs, own.params)
    assert main(["cost", "mobilenetv3-small"]) == 0
    own = cost(baseline("mobilenetv3-small"))
    said = capsys.readouterr().out
    assert f"{own.macs:,}" in said
    assert f"{own.params:,}" in said
    assert "2xMACs" in said


def test_cost_of_a_file_is_that_of_its_architecture_for_other_inputs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my network.json"
    save_architecture(network(), path)
    for options, wanted in (
        ([], network()),
        (["--input", "32", "--classes", "7"], replace(network(), image_size=32, classes=7)),
    ):
        assert main(["cost", str(path), *options, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["macs"], printed["params"]) == (cost(wanted).macs, cost(wanted).params)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet50"], ["'resnet50'", "mobilenetv3-small", "JSON"]),
        (["mobilenetv3-small", "--input", "4"], ["image_size", "4", "at least 8"]),
        (["mobilenetv3-small", "--input", "many"], ["input", "'many'", "whole number"]),
        (["mobilenetv3-small", "--classes", "1"], ["classes", "1"]),
        (["mobilenetv3-small", "--width", "0"], ["width", "0"]),
        (["."], ["."]),
    ],
)
def test_cost_refuses_what_cannot_be(refused: Refused, arguments: list[str], words: list[str]) -> None:
    said = refused("cost", *arguments)
    for word in words:
        assert word in said


def test_cost_of_a_file_takes_no_width(refused: Refused) -> None:
    assert refused("cost", architecture_file(lambda data: None), "--width", "2").startswith("--width: an architecture")


def test_lists_name_everything_that_a_config_can(capsys: pytest.CaptureFixture[str]) -> None:
    for what, names in (
        ("operators", [*operators, "skip"]),
        ("baselines", list(baselines())),
        ("strategies", [*STRATEGIES, "trials = 100", "temperature_first = 2.0"]),
        ("presets", ["paper", "kernels", "full", "xsep_k5"]),
        ("macros", ["mobilenetv1", "mobilenetv3-small", "at 224 pixels, 1000 classes"]),
        ("recipes", list(RECIPES)),
        ("datasets", ["digits"]),
    ):
        assert main(["list", what]) == 0
        said = capsys.readouterr().out
        for name in names:
            assert name in said
    assert "'models'" in _complaint(["list", "models"], capsys)


def _complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_bench_needs_a_round(refused: Refused) -> None:
    assert refused("bench", "--repeats", "0") == "--repeats: 0 must be a whole number of at least 1"


def test_a_bench_of_costs_prints_rates_and_a_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "cost", "--repeats", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    values = {row["name"]: row["value"] for row in printed["results"]}
    assert values["cost: MACs that differ from NNI's, of 500"] == 0
    assert all(value > 0 for name, value in values.items() if "differ" not in name)


# --- configs ---


def test_every_bundled_config_is_whole_and_its_budget_can_be_met() -> None:
    assert "digits" in bundled_names()
    for name in bundled_names():
        assert find_config(name) == BUNDLED / f"{name}.yaml"
        config = read_config(find_config(name))
        # images that do not come with sepnas are stood in for: space and budget depend on their classes alone
        task_module.SearchTask(replace(config, data=replace(config.data, name="digits"))).check()


def test_a_resolved_config_reads_back_as_itself(tmp_path: Path) -> None:
    values = {
        "budget": {"max_macs": "16.7M", "min_params": "1m"},
        "search": {"weight_decay": 1e-7, "gradient_clip": 5},
        "strategy": {"name": "evolution", "options": {"trials": 7, "scoring": "training"}},
        "retrain": {"seeds": [3, 1]},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(values))
    config = read_config(tmp_path / "a.yaml")
    assert config.budget.max_macs == 16_700_000
    assert config.budget.min_params == 1_000_000
    assert config.search.weight_decay == pytest.approx(1e-7)
    assert config.retrain.seeds == [3, 1]
    assert config.strategy.typed_options().trials == 7
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(config.as_dict()))
    assert read_config(tmp_path / "b.yaml") == config


def test_numbers_may_be_written_in_a_config_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("search: {weight_decay: 1e-4, learning_rate: 1}\nbudget: {max_macs: 1.67e7}\n")
    config = read_config(tmp_path / "a.yaml")
    assert config.search.weight_decay == pytest.approx(1e-4)
    assert config.budget.max_macs == 16_700_000


@pytest.mark.parametrize("text", ["0,1", "[0,1]", "[0, 1]", "0, 1"])
def test_lists_may_be_given_with_and_without_brackets(text: str) -> None:
    for arguments in (["--retrain.seeds", text], [f"--retrain.seeds={text}"]):
        assert parsed(*arguments).retrain.seeds == [0, 1]


def parsed(*arguments: str) -> SearchConfig:
    """The config that options alone make."""
    parser = commands.COMMANDS["search"].parser("search")
    options = parser.read(arguments)
    parser.make_classes(options, {})
    return options.settings  # type: ignore[no-any-return]


def test_a_list_is_read_by_the_type_of_its_field() -> None:
    assert parsed("--space.operators", "dw_k3").space.operators == ["dw_k3"]
    assert parsed("--space.operators=dw_k3,skip").space.operators == ["dw_k3", "skip"]
    assert parsed("--space.operators", "full").space.operators == "full"
    assert parsed("--space.widths", "1").space.widths == [1.0]
    assert parsed("--costs", "a.json,b.json").costs == ["a.json", "b.json"]
    assert parsed("--search.resized_crop_area", "null").search.resized_crop_area is None
    assert parsed("--data.title", "a, b").data.title == "a, b"  # a text
    assert parsed("--data.name", "007").data.name == "007"


def test_keys_of_a_group_join_what_the_config_has(refused: Refused) -> None:
    config = parsed("--strategy.options", "{temperature_last: 0.1}", "--strategy.options.warmup_epochs", "3")
    assert config.strategy.options == {"temperature_last": 0.1, "warmup_epochs": 3}
    assert "needs a value" in refused("search", "--strategy.options.warmup_epochs")
