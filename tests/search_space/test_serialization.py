"""The JSON form: strict about names and types, atomic on disk. Round trips of any architecture: any_architecture."""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_space import InvalidRequest, baseline, from_json, load_architecture, save_architecture, to_json

ARCHITECTURE = baseline("mobilenetv3-small-xsep", width=0.25)


def data() -> dict[str, Any]:
    return copy.deepcopy(to_json(ARCHITECTURE))


def test_json_holds_labels_and_numbers_only() -> None:
    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        if isinstance(value, list):
            return [leaf for item in value for leaf in leaves(item)]
        return [value]

    assert {type(leaf) for leaf in leaves(data())} == {str, int, bool}
    assert not [leaf for leaf in leaves(data()) if isinstance(leaf, str) and ("search_space" in leaf or ":" in leaf)]


def test_json_names_its_format_and_version() -> None:
    assert (data()["format"], data()["version"]) == ("sepnas-architecture", 1)


def test_fields_with_a_default_may_be_left_out() -> None:
    shorter = data()
    del shorter["orthonormal"], shorter["stem"]["activation"], shorter["blocks"][1]["se_channels"]
    assert from_json(shorter) == ARCHITECTURE


def test_files_without_activations_of_projections_stay_readable() -> None:
    older = data()
    for block in older["blocks"]:
        assert block.pop("project_activation") == "none"
    assert from_json(older) == ARCHITECTURE


def test_activations_of_projections_round_trip() -> None:
    architecture = baseline("mobilenetv1", width=0.25)
    own = json.loads(json.dumps(to_json(architecture)))
    assert {block["project_activation"] for block in own["blocks"]} == {"relu"}
    assert from_json(own) == architecture


def test_reading_leaves_the_data_alone() -> None:
    own = data()
    from_json(own)
    assert own == data()


Edit = Callable[[dict[str, Any]], Any]
NO_OBJECT = 'architecture: not a JSON object with "format": "sepnas-architecture"; is it an architecture file?'
WRONG: list[tuple[Edit, str]] = [
    (lambda d: d.update(format="other"), NO_OBJECT),
    (lambda d: d.pop("format"), NO_OBJECT),
    (
        lambda d: d.update(version=2),
        "architecture version: 2 cannot be read, this release reads version 1; export it again with this release",
    ),
    (lambda d: d.pop("version"), "architecture version: None cannot be read, this release reads version 1"),
    (lambda d: d.update(version="1"), "architecture version: '1' cannot be read, this release reads version 1"),
    (lambda d: d.update(author="me"), "architecture: key: 'author' is unknown; known are macro, image_size, "),
    (lambda d: d["stem"].update(kernel=3), "stem: key: 'kernel' is unknown; known are channels, stride, activation"),
    (lambda d: d["blocks"][2].update(dilation=1), "blocks[2]: key: 'dilation' is unknown; known are operator, "),
    (lambda d: d["head"].update(dropout=0.2), "head: key: 'dropout' is unknown; known are channels, features, "),
    (lambda d: d.pop("classes"), "architecture.classes: missing"),
    (lambda d: d.pop("stem"), "architecture.stem: missing"),
    (lambda d: d.pop("blocks"), "architecture.blocks: missing"),
    (lambda d: d["stem"].pop("stride"), "stem.stride: missing"),
    (lambda d: d["blocks"][1].pop("operator"), "blocks[1].operator: missing"),
    (lambda d: d["head"].pop("features"), "head.features: missing"),
    (lambda d: d.update(classes="10"), "architecture.classes: '10' is not of type int"),
    (lambda d: d.update(classes=10.0), "architecture.classes: 10.0 is not of type int"),
    (lambda d: d.update(classes=True), "architecture.classes: True is not of type int"),
    (lambda d: d.update(classes=None), "architecture.classes: None is not of type int"),
    (lambda d: d.update(macro=3), "architecture.macro: 3 is not of type str"),
    (lambda d: d.update(orthonormal=1), "architecture.orthonormal: 1 is not of type bool"),
    (lambda d: d["blocks"][0].update(stride=True), "blocks[0].stride: True is not of type int"),
    (lambda d: d["blocks"][0].update(residual=1), "blocks[0].residual: 1 is not of type bool"),
    (lambda d: d["blocks"][0].update(operator=["dw_k3"]), "blocks[0].operator: ['dw_k3'] is not of type str"),
    (
        lambda d: d["blocks"][1].update(project_activation=None),
        "blocks[1].project_activation: None is not of type str",
    ),
    (
        lambda d: d["blocks"][1].update(project_activation="Relu"),
        "blocks[1].project_activation: 'Relu' is unknown; known are relu, ",
    ),
    (lambda d: d.update(stem=[8, 1]), "stem: [8, 1] is not a JSON object"),
    (lambda d: d.update(head=None), "head: None is not a JSON object"),
    (lambda d: d.update(blocks={}), "blocks: dict is not a list"),
    (lambda d: d.update(blocks=[]), "blocks: empty; an architecture needs at least one block"),
    (lambda d: d["blocks"].__setitem__(3, "skip"), "blocks[3]: 'skip' is not a JSON object"),
    (
        lambda d: d["blocks"][1].update(in_channels=7),
        "blocks[1].in_channels: 7 does not follow the 8 channels in front",
    ),
    (lambda d: d["blocks"][0].update(operator="os.system"), "blocks[0].operator: 'os.system' is unknown; known are "),
]


@pytest.mark.parametrize(("edit", "message"), WRONG)
def test_wrong_json_is_refused_by_field_and_value(edit: Edit, message: str) -> None:
    wrong = data()
    edit(wrong)
    with pytest.raises(InvalidRequest) as caught:
        from_json(wrong)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [None, 1, "text", [], [1]])
def test_json_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_json(value)
    assert str(caught.value) == NO_OBJECT


def test_file_round_trips(tmp_path: Path) -> None:
    save_architecture(ARCHITECTURE, tmp_path / "a.json")
    assert load_architecture(tmp_path / "a.json") == ARCHITECTURE
    assert load_architecture(str(tmp_path / "a.json")) == ARCHITECTURE
    assert (tmp_path / "a.json").read_text(encoding="utf-8").endswith("}\n")


def test_file_may_be_read_by_those_who_may_read_other_new_files(tmp_path: Path) -> None:
    save_architecture(ARCHITECTURE, tmp_path / "a.json")
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_saving_replaces_an_older_file(tmp_path: Path) -> None:
    save_architecture(baseline("mobilenetv3-small"), tmp_path / "a.json")
    save_architecture(ARCHITECTURE, tmp_path / "a.json")
    assert load_architecture(tmp_path / "a.json") == ARCHITECTURE
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_failed_write_leaves_the_older_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    save_architecture(baseline("mobilenetv3-small"), path)
    before = path.read_bytes()

    def fail(source: object, target: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_architecture(ARCHITECTURE, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


UNREADABLE = [
    (b"{", "is not JSON (Expecting property name"),
    (b"", "is not JSON (Expecting value"),
    (b"\xff\xfe", "is not JSON ("),
    (b"1" * 5000, "is not JSON ("),
    (b"[" * 100_000, "is not JSON ("),
]


@pytest.mark.parametrize(("content", "message"), UNREADABLE, ids=["cut", "empty", "binary", "huge number", "deep"])
def test_files_that_are_not_json_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest) as caught:
        load_architecture(path)
    assert str(caught.value).startswith(f"architecture file {path}: {message}")


def test_missing_files_folders_and_paths_through_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expected = {
        tmp_path / "none.json": f"architecture file {tmp_path / 'none.json'}: does not exist",
        tmp_path: f"architecture file {tmp_path}: is a folder, not a file",
        tmp_path / "file" / "a.json": f"architecture file {tmp_path / 'file' / 'a.json'}: cannot be read",
    }
    for path, message in expected.items():
        with pytest.raises(InvalidRequest) as caught:
            load_architecture(path)
        assert str(caught.value).startswith(message)


def test_errors_in_a_file_begin_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**data(), "classes": 1}), encoding="utf-8")
    with pytest.raises(InvalidRequest) as caught:
        load_architecture(path)
    assert str(caught.value) == f"architecture file {path}: classes: 1 must be a whole number of at least 2"
