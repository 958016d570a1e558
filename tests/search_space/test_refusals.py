"""Whatever somebody hands to the search space is taken, or refused on one short line: found by fuzzing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.refusals import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from search_space import (
    SearchSpace,
    SpaceOptions,
    StageCandidates,
    baseline,
    from_json,
    load_architecture,
    load_macro,
    macro,
    macro_from_dict,
    macro_to_dict,
    operators,
    parse,
    preset,
    to_json,
    to_text,
)
from search_space.cost_file import load_costs
from search_space.macros import built_in_macro

TEXT = to_text(baseline("mobilenetv3-small-xsep"))
JSON = to_json(baseline("mobilenetv3-small-xsep"))
MACRO = macro_to_dict(built_in_macro("mobilenetv3-small"))
TABLE = SearchSpace.create(operators="kernels", width=0.25).cost_table
DIGITS = "9" * 5000
HUGE = 10**5000
STRANGE = [
    HUGE,
    -HUGE,
    10**7,
    float("nan"),
    float("inf"),
    None,
    True,
    "x" * 9999,
    "a\nb\x1b[31m\x00",
    [HUGE],
    {"a": HUGE},
]


def taken_or_refused(call: Callable[[], Any]) -> None:
    with contextlib.suppress(Taken):
        refused(lambda: (call(), stop()))


class Taken(Exception):
    """Raised when nothing else was."""


def stop() -> None:
    raise Taken


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3x32x32", f"3x{DIGITS}x{DIGITS}"),
        ("3x32x32", f"{DIGITS}x32x32"),
        ("32x32 10 ", f"32x32 {DIGITS} "),
        ("stem c16", f"stem c{DIGITS}"),
        ("e72", f"e{DIGITS}"),
        ("c24", f"c{DIGITS}"),
        ("se8", f"se{DIGITS}"),
        ("f1024", f"f{DIGITS}"),
        ("f1024", "f1000001"),
        ("dw_k3", "x" * 9999),
        ("relu", "\x1b[31mrelu\x00"),
        ("mobilenetv3-small", "m" * 9999 + "/"),
    ],
)
def test_numbers_and_words_beyond_all_bounds_in_the_text_form(old: str, new: str) -> None:
    assert old in TEXT
    refused(lambda: parse(TEXT.replace(old, new, 1)))


@given(st.lists(st.sampled_from([*TEXT.split(), DIGITS, f"c{DIGITS}", "\x1b", "\x00", "é", "|", "c-1"]), max_size=60))
@settings(max_examples=200)
def test_any_words_are_parsed_or_refused(words: list[str]) -> None:
    taken_or_refused(lambda: parse(" ".join(words)))


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_strange_values_of_every_field_of_the_json_form(value: Any) -> None:
    for key in JSON:
        refused(lambda key=key: from_json({**JSON, key: value})) if key not in ("orthonormal",) else None
    for part in ("stem", "head"):
        for key in JSON[part]:
            taken_or_refused(lambda part=part, key=key: from_json({**JSON, part: {**JSON[part], key: value}}))
    for key in JSON["blocks"][0]:
        blocks = [{**JSON["blocks"][0], key: value}, *JSON["blocks"][1:]]
        taken_or_refused(lambda blocks=blocks: from_json({**JSON, "blocks": blocks}))
    refused(lambda: from_json({**JSON, "x" * 9999: value}))
    refused(lambda: from_json(value))


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_strange_values_of_every_field_of_a_macro(value: Any) -> None:
    for key in MACRO:
        refused(lambda key=key: macro_from_dict({**MACRO, key: value}))
    for part in ("stem", "head"):
        for key in MACRO[part]:
            taken_or_refused(lambda part=part, key=key: macro_from_dict({**MACRO, part: {**MACRO[part], key: value}}))
    for key in {**MACRO["stages"][0], "expansion": 1}:
        stages = [{**MACRO["stages"][0], key: value}, *MACRO["stages"][1:]]
        taken_or_refused(lambda stages=stages: macro_from_dict({**MACRO, "stages": stages}))
    refused(lambda: macro_from_dict({**MACRO, "x" * 9999: value}))
    refused(lambda: macro_from_dict({**MACRO, 3: value}))
    refused(lambda: macro_from_dict(value))


@pytest.mark.parametrize("load", [load_architecture, load_macro, load_costs])
@pytest.mark.parametrize(
    "content",
    [
        f'{{"a": {DIGITS}}}',
        f"name: {DIGITS}",
        "[" * 100_000,
        "\x00",
        "\udcff",
        "x" * 9999,
        "{a: b, a: c}",
        "- \x1b[31m",
    ],
)
def test_files_of_anything(load: Callable[[Path], Any], content: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    refused(lambda: load(path))


@pytest.mark.parametrize("load", [load_architecture, load_macro, load_costs])
@pytest.mark.parametrize("name", ["x" * 5000, "\x00", "a\nb\x1b[31m"])
def test_paths_of_anything(load: Callable[[str], Any], name: str) -> None:
    refused(lambda: load(name))


def test_huge_numbers_in_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps(JSON).replace('"classes": 10', f'"classes": {DIGITS}'), encoding="utf-8")
    refused(lambda: load_architecture(path))
    path.write_text(yaml.safe_dump(MACRO).replace("features: 1024", f"features: {DIGITS}"), encoding="utf-8")
    refused(lambda: load_macro(path))


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_strange_options_of_a_space(value: Any) -> None:
    for key in ("macro", "width", "operators", "widths", "search_se", "stages"):
        taken_or_refused(lambda key=key: SearchSpace.create(**{key: value}))
    for key in ("operators", "widths", "search_se"):
        taken_or_refused(lambda key=key: SearchSpace.create(stages={1: StageCandidates(**{key: value})}))
    taken_or_refused(
        lambda: SearchSpace.create(stages={value if not isinstance(value, list | dict) else 9: StageCandidates()})
    )
    for key in ("image_size", "in_channels", "classes"):
        refused(lambda key=key: SearchSpace.create(**{key: value}))
        refused(lambda key=key: macro("mobilenetv2", **{key: value}))
    refused(lambda: SpaceOptions(widths=[1.0, value]))


@pytest.mark.parametrize("name", ["x" * 9999, "a\nb\x1b[31m\x00", "", "dw_k4"])
def test_unknown_names_of_everything(name: str) -> None:
    sample = TABLE.sample([0] * len(TABLE.labels))
    for call in (
        lambda: baseline(name),
        lambda: macro(name),
        lambda: preset(name),
        lambda: operators[name],
        lambda: SearchSpace.create(operators=[name]),
        lambda: TABLE.indices({**sample, TABLE.labels[0]: name}),
        lambda: TABLE.with_cost("ms", {name: {}}),
        lambda: SearchSpace.create().architecture({**sample, "block00": name}),
    ):
        refused(call)


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        (lambda: SearchSpace.create(operators=["xsep_k33"]), "did you mean xsep_k3?"),
        (lambda: baseline("mobilenetv3-smal"), "did you mean mobilenetv3-small?"),
        (lambda: macro("mobilnetv2"), "did you mean mobilenetv2?"),
        (lambda: macro_from_dict({**MACRO, "steem": {}}), "did you mean stem?"),
        (lambda: parse(TEXT.replace("hardswish", "hardswich", 1)), "did you mean hardswish?"),
        (lambda: preset("papper"), "did you mean paper?"),
    ],
)
def test_misspelt_names_are_answered_with_the_nearest(call: Callable[[], Any], nearest: str) -> None:
    assert refused(call).endswith(nearest)
