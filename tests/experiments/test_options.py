"""Options follow from their dataclasses: YAML, command line, help, commented configs, JSON Schema and completions."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml
from helpers.runs import complaint

from evaluators.training.presets import RECIPES
from experiments.cli import main
from experiments.commands import COMMANDS
from experiments.options.config import SearchConfig, StrategyConfig
from experiments.options.files import BUNDLED, bundled_names, make_config, read_config
from experiments.options.printing import commented_yaml, schema_text
from experiments.options.values import from_text, make, options_of
from search_space.base.checks import option
from search_space.base.errors import InvalidRequest
from strategies.registry import registered

# --- from values to dataclasses ---


@dataclass(frozen=True)
class Inner:
    """Inner options.

    Attributes:
        size: how large.
        shape: two sides, which
            are two lines here.
    """

    size: int = option(3, least=1)
    shape: tuple[float, float] = (1.0, 2.0)


@dataclass(frozen=True)
class Outer(Inner):
    """Options of the outside.

    Attributes:
        inner: the inside.
        kind: which.
        names: texts.
        parts: insides by number.
    """

    inner: Inner = field(default_factory=Inner)
    kind: Literal["a", "b", 1] = "a"
    names: list[str] = field(default_factory=list)
    parts: dict[int, Inner] = field(default_factory=dict)
    count: int | str | None = None


def test_a_dataclass_is_made_of_nested_values() -> None:
    values = {"size": 4, "inner": {"shape": [1, "1e-2"]}, "kind": 1, "parts": {2: {"size": 7}}, "count": "16M"}
    expected = Outer(4, inner=Inner(shape=(1.0, 0.01)), kind=1, parts={2: Inner(7)}, count="16M")
    assert make(Outer, values) == expected
    assert make(Outer, {"names": ["x"]}, base=expected) == replace(expected, names=["x"])
    assert make(Outer, {"inner": {"size": 9}}, base=expected).inner == Inner(9, (1.0, 0.01))


def test_what_an_option_means_is_read_from_its_docstring() -> None:
    texts = {name: own.help for name, own in options_of(Outer).items()}
    assert texts["shape"] == "two sides, which are two lines here."  # of the base
    assert texts["parts"] == "insides by number."
    assert texts["count"] == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (3, "x: 3 is not a group of keys; known are size, shape, inner, kind, names, parts, count"),
        ({"inner": {"sise": 1}}, "x.inner.sise: 1 is of an unknown key; known are size, shape; did you mean size?"),
        ({"size": 0}, "x.size: 0 must be a whole number of at least 1"),
        ({"size": True}, "x.size: True must be a whole number of at least 1"),
        ({"shape": [1]}, "x.shape: [1] must be a list of 2"),
        ({"shape": [1, "b"]}, "x.shape[1]: 'b' must be a number"),
        ({"kind": True}, "x.kind: True must be a or b or 1"),
        ({"names": "x"}, "x.names: 'x' must be a list, such as [a, b]"),
        ({"names": [1]}, "x.names[0]: 1 must be a text"),
        ({"parts": {"two": {}}}, "x.parts: key: 'two' must be a whole number"),
        ({"parts": {2: {"size": -1}}}, "x.parts.2.size: -1 must be a whole number of at least 1"),
        ({"parts": []}, "x.parts: [] is not a group of keys"),
        ({"count": []}, "x.count: [] must be a whole number or a text"),
        ({"\x1b[31m\n": 1}, "x.'\\x1b[31m\\n': 1 is of an unknown key"),
    ],
)
def test_wrong_values_are_named_by_the_path_that_leads_to_them(values: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        make(Outer, values, "x.")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("0,1", list[int], [0, 1]),
        ("1", list[float], [1]),
        ("[a, b]", list[str], ["a", "b"]),
        ("null", list[float] | None, None),
        ("null", str, "null"),
        ("007", str, "007"),
        ("a, b", str | None, "a, b"),
        ("full", str | list[str], "full"),
        ("dw_k3", str | list[str], ["dw_k3"]),
        ("dw_k3,skip", str | list[str], ["dw_k3", "skip"]),
        ("{a: 1}", str | dict[str, Any], {"a": 1}),
        ("16.7M", int | float | str | None, "16.7M"),
        ("1", Literal["auto", 1, 3], 1),
        ("true", bool, True),
        ("{broken", dict[str, int], "{broken"),
        ("9" * 5000, int, "9" * 5000),
    ],
)
def test_a_text_is_read_by_the_type_that_is_wanted(text: str, kind: Any, value: Any) -> None:
    assert from_text(text, kind) == value


# --- commented configs and their schema ---


def configs() -> list[SearchConfig]:
    return [
        SearchConfig(),
        *(read_config(BUNDLED / f"{name}.yaml") for name in bundled_names()),
        make_config(
            {
                "data": {"title": 'a: "b" # c\u00e9'},
                "space": {"stages": {1: {"operators": ["dw_k3"]}}, "operators": ["dw_k3", "skip"]},
                "budget": {"max_macs": "16.7M", "max_costs": {"latency_ms": 5}},
                "strategy": {"name": "evolution", "options": {"trials": 7}},
                "search": {"preset": "xsepconv-tiny-imagenet", "weight_decay": 1e-7},
            },
            "test",
        ),
    ]


@pytest.mark.parametrize("config", configs(), ids=["default", *bundled_names(), "other"])
def test_a_commented_config_reads_back_as_itself_and_keeps_to_the_schema(config: SearchConfig) -> None:
    values = yaml.safe_load(commented_yaml(config))
    assert make_config(values, "test") == config
    jsonschema.validate(json.loads(json.dumps(values)), json.loads(schema_text()))


def test_a_commented_config_explains_every_option_also_those_of_the_strategy(tmp_path: Path) -> None:
    text = " ".join(commented_yaml(SearchConfig(strategy=StrategyConfig("gdas"))).replace("#", "").split())
    for name in ("image_size: 32", "max_macs: null", "candidates_per_step: 4", "jobs: null"):
        assert name in text

    def check(cls: type) -> None:
        for own in options_of(cls).values():
            assert own.help, own.name
            assert own.help in text
            if own.section is not None:
                check(own.section)

    check(SearchConfig)
    check(registered("gdas").options)


def test_config_and_schema_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["search", "digits", "--seed", "5", "--strategy.options.startup", "3", "--print_config"]) == 0
    path = tmp_path / "config.yaml"
    path.write_text(capsys.readouterr().out)
    base = read_config(BUNDLED / "digits.yaml")
    options = {**base.strategy.options, "startup": 3}
    assert read_config(path) == replace(base, seed=5, strategy=StrategyConfig("halving", options))
    assert main(["search", "--print_schema"]) == 0
    assert capsys.readouterr().out == schema_text() + "\n"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("name", bundled_names())
def test_bundled_configs_keep_to_the_schema(name: str) -> None:
    values = yaml.safe_load((BUNDLED / f"{name}.yaml").read_text())
    jsonschema.validate(json.loads(json.dumps(values)), json.loads(schema_text()))


@pytest.mark.parametrize(
    "values",
    [
        {"bogus": 1},
        {"data": {"image_size": 0}},
        {"data": {"channels": 2}},
        {"search": {"preset": "none"}},
        {"search": {"epochs": 1.5}},
        {"strategy": {"name": "snas"}},
        {"strategy": {"options": {"trials": 3}}},  # of another strategy than the default
        {"strategy": {"name": "tpe", "options": {"temperature_first": 1.0}}},
        {"space": {"stages": {"1": {"widths": [0]}}}},
    ],
)
def test_the_schema_refuses_what_reading_refuses(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads(schema_text()))
    with pytest.raises(InvalidRequest):
        make_config(values, "test")


# --- help and completions ---


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_two_screens(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 100
    assert all(len(line) <= 100 for line in lines)


def test_completions_name_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "tcsh"):
        assert main(["--print_completion", shell]) == 0
        script = capsys.readouterr().out
        for command in COMMANDS:
            assert command in script
        for name in ("budget.max_macs", "search.preset", "retrain.recipe.epochs", "print_config"):
            assert name in script
        if shell == "bash":
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)
            assert all(name in script for name in RECIPES)
    assert main(["--print_completion", "fish"]) == 2
    assert "'fish' is unknown; known are bash, zsh, tcsh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["serch"], "search"),
        (["--versio"], "--version"),
        (["search", "--budget.max_mac", "1M"], "--budget.max_macs"),
        (["search", "--search.epoch=2"], "--search.epochs"),
        (["search", "digit", "--out", "run"], "digits"),
        (["search", "--search.preset", "bsconv-cifer"], "bsconv-cifar"),
        (["search", "--strategy.name", "evolutoin"], "evolution"),
        (["search", "--strategy.name", "gdas", "--strategy.options.warmup_epoch", "3"], "warmup_epochs"),
        (["search", "digits", "--out", "run", "--space.operators", "dw_k3,xsep_k33"], "xsep_k3"),
        (["search", "digits", "--out", "run", "--space.macro", "mobilenetv3-smal"], "mobilenetv3-small"),
        (["search", "digits", "--out", "run", "--data.name", "digit"], "digits"),
        (["cost", "mobilenetv3-smal"], "mobilenetv3-small"),
        (["retrain", "mobilenetv3-smal", "--out", "run"], "mobilenetv3-small"),
        (["list", "operator"], "operators"),
        (["bench", "retrian"], "retrain"),
        (["demo", "--space", "papers"], "paper"),
    ],
)
def test_what_is_misspelt_is_answered_by_the_nearest_name(
    arguments: list[str],
    near: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert f"did you mean {near}?" in complaint(capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trackers", "foo"], "--trackers[0]: 'foo' is unknown; known are tensorboard"),
        (["--accelerator", "tpu"], "--accelerator: 'tpu' is unknown; known are auto, cpu, cuda"),
        (["--seed", "half"], "--seed: 'half' must be a whole number"),
        (["--seed"], "--seed: needs a value"),
    ],
)
def test_a_plain_option_is_refused_by_its_name(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrain", "mobilenetv3-small", "--out", "out", *arguments]) == 2
    assert complaint(capsys).startswith(f"sepnas: {said}")
