"""Macros in YAML: the documented example, round trips, and one line for everything that is refused."""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_space import InvalidRequest, build, cost, macro, macro_file
from search_space.macro_file import load_macro, macro_from_dict, macro_to_dict
from search_space.macros import MACROS, built_in_macro


def documented() -> str:
    """The YAML between the first and the last paragraph of the module's docstring."""
    lines = (macro_file.__doc__ or "").splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))


def test_the_documented_example_is_the_network_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(documented(), encoding="utf-8")
    architecture = macro(load_macro(path), image_size=32)
    assert str(architecture) == (
        "my-macro 3x32x32 10 | stem c16 s1 hardswish | dw_k3 e72 c24 s1 relu | dw_k3 e88 c24 s1 relu res"
        " | dw_k5 e144 c40 s2 hardswish se40 | dw_k5 e240 c40 s1 hardswish se64 res"
        " | dw_k5 e240 c40 s1 hardswish se64 res | sep_k3 c96 s2 relu | head c576 f1024 hardswish"
    )
    assert cost(architecture).params == sum(p.numel() for p in build(architecture).parameters())


def test_the_documented_example_shows_every_key_of_a_stage() -> None:
    values = yaml.safe_load(documented())
    assert {key for stage in values["stages"] for key in stage} == {
        field.name for field in macro_file.dataclasses.fields(macro_file.Stage)
    }


@pytest.mark.parametrize("name", MACROS)
def test_built_in_macros_round_trip_through_yaml_and_json(name: str, tmp_path: Path) -> None:
    definition = built_in_macro(name)
    assert macro_from_dict(json.loads(json.dumps(macro_to_dict(definition)))) == definition
    path = tmp_path / "m.yaml"
    path.write_text(yaml.safe_dump(macro_to_dict(definition)), encoding="utf-8")
    assert load_macro(path) == load_macro(str(path)) == definition


def test_what_has_a_default_may_be_left_out() -> None:
    short = {"name": "m", "stem": {"channels": 8}, "stages": [{"operator": "sep_k3", "out_channels": 8}]}
    definition = macro_from_dict(short)
    assert str(definition.architecture()) == (
        "m 3x32x32 10 | stem c8 s2 hardswish | sep_k3 c8 s1 relu res | head hardswish"
    )
    assert macro_from_dict(macro_to_dict(definition)) == definition


def test_reading_leaves_the_values_alone() -> None:
    values = macro_to_dict(built_in_macro("mobilenetv3-small"))
    before = copy.deepcopy(values)
    macro_from_dict(values)
    assert values == before


Edit = Callable[[dict[str, Any]], Any]
WRONG: list[tuple[Edit, str]] = [
    (lambda d: d.update(author="me"), "key: 'author' is unknown; known are name, stem, stages, head"),
    (lambda d: d["stem"].update(kernel=3), "stem: key: 'kernel' is unknown; known are channels, stride, "),
    (
        lambda d: d["stages"][2].update(strides=1),
        "stages[2]: key: 'strides' is unknown; known are operator, ",
    ),
    (lambda d: d["stages"][2].update({"a\nb": 1}), "stages[2]: key: 'a\\nb' is unknown; known are operator, "),
    (lambda d: d["stages"][2].update({3: 1}), "stages[2]: key: 3 is unknown; known are operator, "),
    (lambda d: d["head"].update(dropout=0.2), "head: key: 'dropout' is unknown; known are channels, expansion, "),
    (lambda d: d.pop("name"), "name: missing; it has no default"),
    (lambda d: d.pop("stem"), "stem: missing; it has no default"),
    (lambda d: d.pop("stages"), "stages: missing; it has no default"),
    (lambda d: d["stem"].pop("channels"), "stem.channels: missing; it has no default"),
    (lambda d: d["stages"][1].pop("operator"), "stages[1].operator: missing; it has no default"),
    (lambda d: d["stages"][1].pop("out_channels"), "stages[1].out_channels: missing; it has no default"),
    (lambda d: d["stages"][2].update(stride=3), "stages[2].stride: 3 must be 1 or 2"),
    (lambda d: d["stages"][2].update(stride=None), "stages[2].stride: empty; give a value or leave the key out"),
    (lambda d: d["stages"][2].update(stride="2"), "stages[2].stride: '2' must be 1 or 2"),
    (lambda d: d["stages"][0].update(operator="dw"), "stages[0].operator: 'dw' is unknown; known are "),
    (
        lambda d: d["stages"][0].update(operator=["dw_k3"]),
        "stages[0].operator: ['dw_k3'] is unknown; known are ",
    ),
    (lambda d: d["stages"][0].update(residual="yes"), "stages[0].residual: 'yes' must be true or false"),
    (
        lambda d: d["stages"][1].update(expanded_channels=72),
        "stages[1].expanded_channels: 72 must be a list of whole numbers, one per block",
    ),
    (
        lambda d: d["stages"][1].update(expanded_channels=[72, "88"]),
        "stages[1].expanded_channels[1]: '88' must be a whole number of at least 1",
    ),
    (lambda d: d.update(name=3), "name: 3 must be a name of letters"),
    (lambda d: d.update(stem=16), "stem: 16 must hold keys: channels, stride, "),
    (lambda d: d.update(head=None), "head: None must hold keys: channels, "),
    (lambda d: d.update(stages={"a": 1}), "stages: {'a': 1} must be a list of stages"),
    (lambda d: d.update(stages=[]), "stages: empty; a macro needs at least one stage"),
    (lambda d: d["stages"].__setitem__(3, "dw_k3"), "stages[3]: 'dw_k3' must hold keys: operator, out_channels, "),
    (
        lambda d: d["stages"][1].update(operator="group_k3_w16"),
        "macro own: stages[1].operator: group_k3_w16 does not fit, as 72 channels are not divisible by",
    ),
    (
        lambda d: d.update(name="mobilenetv2"),
        "name: 'mobilenetv2' is a built-in macro that differs; use another name",
    ),
]


@pytest.mark.parametrize(("edit", "message"), WRONG)
def test_wrong_files_are_refused_by_file_place_value_and_remedy(edit: Edit, message: str, tmp_path: Path) -> None:
    values = {**macro_to_dict(built_in_macro("mobilenetv3-small")), "name": "own"}
    edit(values)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InvalidRequest) as caught:
        load_macro(path)
    assert str(caught.value).startswith(f"macro file {path}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, 1, "text", []])
def test_what_holds_no_keys_is_refused(values: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        macro_from_dict(values, "here")
    assert str(caught.value) == f"here: {values!r} must hold keys: name, stem, stages, head"


UNREADABLE = [
    (b"name: [", "is not YAML (expected the node content, but found '<stream end>', line 1, column 8)"),
    (b"\xff\xfe\xff", "is not YAML ('utf-8' codec"),
    (b"name: a\nstem: {channels: 8, channels: 16}\n", "is not YAML (key 'channels' is given twice, line 2)"),
    (b"name: a\nname: b\n", "is not YAML (key 'name' is given twice, line 2)"),
    (b"name: !!python/object/apply:os.getcwd []", "is not YAML (could not determine a constructor for the tag"),
    (b"name: 2020-13-45", "is not YAML (month must be in 1..12"),
    (b"? [a]\n: 1", "is not YAML (found unhashable key, line 1, column 3)"),
    (b"[" * 2_000, "is not YAML ("),
    (b"", "None must hold keys: name, stem, stages, head"),
]


@pytest.mark.parametrize(("content", "message"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_files_that_are_not_strict_yaml_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        load_macro(path)
    assert str(caught.value).startswith(f"macro file {path}: {message}")
    assert "\n" not in str(caught.value)


def test_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nstem: {channels: 8}\nstages:\n"
        "  - &first {operator: dw_k3, out_channels: 8, expansion: 2}\n"
        "  - &second {<<: *first, out_channels: 16}\n"
        "  - {<<: *second, operator: dw_k5}\n",
        encoding="utf-8",
    )
    stages = load_macro(path).stages
    assert [(stage.operator, stage.out_channels) for stage in stages] == [("dw_k3", 8), ("dw_k3", 16), ("dw_k5", 16)]


def test_missing_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expected = {
        tmp_path / "none.yaml": "does not exist; give a YAML file or a name: mobilenetv3-small, ",
        tmp_path: "is a folder, not a file",
        tmp_path / "file" / "a.yaml": "cannot be read (",
    }
    for path, message in expected.items():
        with pytest.raises(InvalidRequest) as caught:
            load_macro(path)
        assert str(caught.value).startswith(f"macro file {path}: {message}")
