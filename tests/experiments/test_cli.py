"""The command line as a whole: help that is light, names that are unknown, failures, configs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.commands import Refused, tiny, write

import experiments.runs.task as task_module
from experiments import commands
from experiments.cli import main
from experiments.options.config import SearchConfig
from experiments.options.files import BUNDLED, bundled_names, find_config, read_config
from strategies.registry import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
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
        ("describe", ["one row per block", "--json", "folder of a run"]),
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
    assert said.endswith(f"and {len(commands.COMMANDS) - 10} more (`sepnas --help` shows all); did you mean search?")
    assert "'--nope' is unknown" in refused("--nope")


@pytest.mark.parametrize("command", list(commands.COMMANDS))
def test_unknown_options_are_named_with_their_command(refused: Refused, command: str) -> None:
    needed = {
        "retrain": ["x"],
        "export": ["x", "--to", "y"],
        "predict": ["x", "y"],
        "compare": ["x"],
        "cost": ["x"],
        "list": ["operators"],
        "bench": ["all"],
    }
    said = refused(command, *needed.get(command, []), "--no-such-option", "7")
    assert "--no-such-option" in said
    assert f"`sepnas {command} --help` lists the options" in said


def test_options_are_not_guessed_from_their_beginning(refused: Refused) -> None:
    assert "--see" in refused("search", tiny(), "--out", "run", "--see", "1")


@pytest.mark.parametrize("command", ["export", "predict", "compare", "list", "cost", "retrain"])
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
        (
            "strategy: {name: gdas, options: {trials: 3}}",
            ["strategy.options.trials", "unknown for gdas", "candidates_per_step"],
        ),
        (
            "strategy: {name: gdas, options: {warmup_epochs: few}}",
            ["strategy.options.warmup_epochs", "'few'", "whole number"],
        ),
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
        (["--retrain.devices", "0"], ["retrain.devices", "0", "at least 1"]),
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
    config = parsed(
        "--strategy.name",
        "gdas",
        "--strategy.options",
        "{multiplier_rate: 0.1}",
        "--strategy.options.warmup_epochs",
        "3",
    )
    assert config.strategy.options == {"multiplier_rate": 0.1, "warmup_epochs": 3}
    assert "needs a value" in refused("search", "--strategy.options.warmup_epochs")
