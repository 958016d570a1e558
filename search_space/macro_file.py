"""Your own macro-architecture, in YAML.

    name: my-macro
    stem: {channels: 16, stride: 2, low_resolution_stride: 1, activation: hardswish, bare: false}
    stages:
      - operator: dw_k3
        out_channels: 24
        repeats: 2
        stride: 2
        low_resolution_stride: 1   # for inputs below 128 pixels; without it, stride holds for them too
        expanded_channels: [72, 88]   # one per block; or expansion
      - operator: dw_k5
        out_channels: 40
        repeats: 3
        stride: 2
        expansion: 6   # times the block's input channels
        activation: hardswish
        se_ratio: 0.25   # squeeze-and-excitation, as a share of the expanded channels
        se_bias: false
        project_activation: none
        residual: true
      - {operator: sep_k3, out_channels: 96, stride: 2}
    head: {expansion: 6, features: 1024, features_bias: false, norm_first: false, activation: hardswish}

The keys are the fields of `search_space.macro_definition`: `MacroStem`, `Stage` and `MacroHead` say what each means and
which default it has. Channels are those at width 1. Only ``name``, ``stem.channels``, ``stages``, and each stage's
``operator`` and ``out_channels`` are required, and for spatial operators one of ``expansion`` and
``expanded_channels``. Anything unknown, missing or impossible is refused with its place in the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search_space.base.checks import known_names, refusal, shown, unknown
from search_space.base.errors import InvalidRequest
from search_space.base.reading import parse_yaml, read_file
from search_space.macro_definition import MacroDefinition, MacroHead, MacroStem, Stage
from search_space.macros import MACROS, built_in_macro
from search_space.options import is_macro_file


def find_macro(given: str | Mapping[str, Any]) -> MacroDefinition:
    """The macro-architecture that `SpaceOptions.macro` means: built in, in a YAML file, or written inline."""
    if not isinstance(given, str):
        return macro_from_dict(given, "space.macro")
    return load_macro(given) if is_macro_file(given) else built_in_macro(given, "space.macro")


def load_macro(path: Path | str) -> MacroDefinition:
    """The macro in a YAML file; InvalidRequest, beginning with the file's name, for anything wrong with it."""
    remedy = f"; give a YAML file or a name: {known_names(MACROS)}"
    return read_file("macro", "YAML", path, lambda text: _macro(parse_yaml(text, _StrictLoader)), remedy)


def macro_from_dict(values: Any, where: str = "macro") -> MacroDefinition:
    """The macro in nested dicts and lists, as `load_macro` finds them in a file. InvalidRequest, beginning with
    ``where``, also for what does not build at width 1 and for a built-in macro's name on something else."""
    try:
        return _macro(values)
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error}") from None


def macro_to_dict(definition: MacroDefinition) -> dict[str, Any]:
    """Plain dicts, lists, texts and numbers for YAML or JSON; ``macro_from_dict(macro_to_dict(m)) == m``."""
    return {
        "name": definition.name,
        "stem": _fields(definition.stem),
        "stages": [_fields(stage) for stage in definition.stages],
        "head": _fields(definition.head),
    }


def _fields(part: MacroStem | Stage | MacroHead) -> dict[str, Any]:
    given = {key: value for key, value in dataclasses.asdict(part).items() if value is not None}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}


def _macro(values: Any) -> MacroDefinition:
    _check_keys(MacroDefinition, "", values)
    stages = values["stages"]
    if not isinstance(stages, list):
        raise refusal("stages", stages, "must be a list of stages")
    definition = MacroDefinition(
        name=values["name"],
        stem=_part(MacroStem, "stem", values["stem"]),
        stages=tuple(_part(Stage, f"stages[{index}]", stage) for index, stage in enumerate(stages)),
        head=_part(MacroHead, "head", values.get("head", {})),
    )
    definition.architecture()
    if definition.name in MACROS and definition != built_in_macro(definition.name):
        raise InvalidRequest(f"name: {definition.name!r} is a built-in macro that differs; use another name")
    return definition


def _part(cls: type, where: str, values: Any) -> Any:
    _check_keys(cls, where, values)
    given = dict(values)
    if empty := [key for key, value in given.items() if value is None]:
        raise InvalidRequest(f"{where}.{empty[0]}: empty; give a value or leave the key out")
    if isinstance(given.get("expanded_channels"), list):
        given["expanded_channels"] = tuple(given["expanded_channels"])
    return cls(**given)


def _check_keys(cls: type, where: str, values: Any) -> None:
    """Refuse what is not a mapping of ``cls``'s fields, or lacks one without a default (``head`` may be absent)."""
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(cls)}
    if not isinstance(values, dict):
        place = f"{where}: " if where else ""
        raise InvalidRequest(f"{place}{shown(values)} must hold keys: {', '.join(known)}")
    place = f"{where}." if where else ""
    for key in values:
        if key not in known:
            raise unknown(f"{where}: key" if where else "key", key, known)
    if missing := [key for key, required in known.items() if required and key not in values and key != "head"]:
        raise InvalidRequest(f"{place}{missing[0]}: missing; it has no default")


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML, and no key twice in one mapping (PyYAML would silently take the last)."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.YAMLError(f"key {shown(key.value)} is given twice, line {key.start_mark.line + 1}")
            if isinstance(key.value, str):
                seen.add(key.value)
        return node
