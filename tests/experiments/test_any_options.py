"""Whatever a config or the command line holds is read, or refused in one short line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.cli import main
from experiments.commands import COMMANDS
from experiments.options.config import SearchConfig
from experiments.options.files import make_config
from experiments.options.values import options_of
from search_space.base.errors import InvalidRequest

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**64]),
    st.floats(),
    st.text(max_size=20),
    st.text(alphabet="\x00\x1b\n\r\u202e[31m", max_size=6),
    st.sampled_from(["9" * 5000, "x" * 5000, "1e999", "null", "~"]),
)
VALUES = st.recursive(
    JUNK,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


def names(cls: type, prefix: str = "") -> list[str]:
    return [
        name
        for own in options_of(cls).values()
        for name in [prefix + own.name, *(names(own.section, f"{prefix}{own.name}.") if own.section else [])]
    ]


def nested(name: str, value: Any) -> dict[str, Any]:
    first, _, others = name.partition(".")
    return {first: nested(others, value) if others else value}


@given(name=st.sampled_from([*names(SearchConfig), "strategy.options.warmup_epochs", "bogus"]), value=VALUES)
@settings(max_examples=400)
def test_any_value_in_a_config_is_read_or_refused_in_our_words(name: str, value: Any) -> None:
    said = ""
    try:
        config = make_config(nested(name, value), "test")
    except InvalidRequest as error:
        said = str(error)
    else:
        assert make_config(config.as_dict(), "test") == config
    assert said == "" or said.isprintable()
    assert len(said) < 500


TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "9" * 5000,
        "a/" * 3000,
        "\x1b[31mred\nsecond line\x00",
        "[",
        "{a: [",
        "!!python/object:os.system x",
        "--",
        "-1",
        "&a [*a]",
    ]
)


@given(
    command=st.sampled_from(["search", "space", "cost", "retrain", "list", "bogus"]),
    first=TEXTS,
    option=st.sampled_from([*names(SearchConfig), "out", "input", "recipe.epochs", "bogus"]),
    value=TEXTS,
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_arguments_are_refused_in_one_short_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    first: str,
    option: str,
    value: str,
) -> None:
    monkeypatch.setitem(COMMANDS, command, replace(COMMANDS.get(command, COMMANDS["search"]), run=lambda options: None))
    if command == "bogus":
        monkeypatch.delitem(COMMANDS, command)
    capsys.readouterr()
    code = main([command, first, f"--{option}", value])
    said = capsys.readouterr().err
    assert code in (0, 2), said
    if code == 2:
        assert said.endswith("\n")
        assert said[:-1].isprintable()
        assert len(said) <= 301


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: " + "9" * 5000, "is not YAML"),
        ("search: {learning_rate: " + "9" * 400 + "}", "search.learning_rate"),
        ("budget: {max_costs: null}", "budget.max_costs"),
        ("budget: {max_macs: []}", "budget.max_macs"),
        ("a: &a [*a]", "endlessly many"),
        ("strategy: {options: &a {x: *a}}", "endlessly many"),
        ('"\\e[31m\\n": 1', "unknown key"),
        ('data: {name: "a\\0b"}', ""),
        ("data: {name: " + "x" * 6000 + "}", ""),
        ("[" * 3000, "is not YAML"),
        ("a: 2020-13-45", "is not YAML"),
    ],
)
def test_strange_configs_are_refused_in_one_short_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert main(["search", str(path), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said[:-1].isprintable()
    assert len(said) <= 301


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "LONG", "--out", "x"],
        ["search", "digits", "--out", "LONG"],
        ["search", "digits", "--out", "x", "--data.name", "LONG"],
        ["search", "digits", "--out", "x", "--space.macro", "LONG.yaml"],
        ["search", "digits", "--out", "x", "--costs", "LONG"],
        ["search", "--supernet", "LONG", "--out", "x"],
        ["retrain", "LONG"],
        ["compare", "LONG"],
        ["export", "LONG", "--to", "x"],
        ["predict", "LONG", "x"],
        ["evaluate", "LONG"],
        ["pareto", "LONG"],
        ["rank", "LONG"],
        ["cost", "LONG"],
        ["cost", "LONG.json"],
        ["describe", "LONG"],
        ["latency", "LONG"],
        ["latency", "--table", "LONG", "--out", "x"],
        ["demo", "--out", "LONG"],
    ],
)
def test_paths_that_are_too_long_are_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for long in ("p" * 5000, "q/" * 3000, "a\0b"):
        capsys.readouterr()
        assert main([argument.replace("LONG", long) for argument in arguments]) == 2
        said = capsys.readouterr().err
        assert said[:-1].isprintable()
        assert len(said) <= 301
    assert list(tmp_path.iterdir()) == []
