"""A config as YAML in which every option is explained, and the JSON Schema by which editors check configs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, is_dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

from evaluators.training.presets import RECIPES
from evaluators.training.recipes import Recipe
from experiments.options.config import AUTO, SearchConfig, StrategyConfig
from experiments.options.values import kinds_of, options_of, summary
from strategies.registry import STRATEGIES

_WIDTH = 100
_BOUNDS = {"least": "minimum", "most": "maximum", "above": "exclusiveMinimum", "below": "exclusiveMaximum"}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}


def commented_yaml(config: SearchConfig) -> str:
    """``config`` as YAML with comments; reading it gives an equal config."""
    head = [*_comment(summary(SearchConfig), ""), *_comment("Options that are left out are as in this file.", "")]
    return "\n".join([*head, *_section(SearchConfig, config.as_dict(), "")]) + "\n"


def _section(cls: type, values: Mapping[str, Any], indent: str) -> Iterator[str]:
    if cls is Recipe:
        yield from _comment(f"preset: NAME takes the fields of a whole recipe: {', '.join(RECIPES)}.", indent)
    for option in options_of(cls).values():
        if not indent:
            yield ""
        yield from _comment(option.help, indent)
        value = values[option.name]
        if option.section is not None:
            yield f"{indent}{option.name}:"
            yield from _section(option.section, value, f"{indent}  ")
        elif cls is StrategyConfig and option.name == "options":
            yield from _strategy_options(values["name"], value, indent)
        else:
            yield f"{indent}{option.name}: {_flow(value)}"


def _strategy_options(name: str, given: Mapping[str, Any], indent: str) -> Iterator[str]:
    """The options that are given, and as comments the others with their defaults."""
    yield f"{indent}options:" if given else f"{indent}options: {{}}"
    inner = f"{indent}  "
    for option in options_of(STRATEGIES[name].options).values() if name != AUTO else ():
        yield from _comment(option.help, inner)
        if option.name in given:
            yield f"{inner}{option.name}: {_flow(given[option.name])}"
        else:
            yield f"{inner}# {option.name}: {_flow(option.default)}"


def _comment(text: str, indent: str) -> list[str]:
    head = f"{indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=head, break_on_hyphens=False)


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def schema_text() -> str:
    """The schema of `SearchConfig` as JSON."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Config of a search by sepnas"}
    return json.dumps(head | _class(SearchConfig), indent=2, default=asdict)


def _class(cls: type) -> dict[str, Any]:
    """The schema of a dataclass: an object with its fields and no others."""
    properties = {}
    for name, option in options_of(cls).items():
        default = {} if option.section is not None or option.default is MISSING else {"default": option.default}
        properties[name] = _kind(option.type, option.bounds) | default | {"description": option.help}
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if cls is Recipe:
        properties["preset"] = {"enum": list(RECIPES), "description": "a whole recipe; other fields win over it"}
    if cls is StrategyConfig:
        properties["name"]["enum"] = [AUTO, *STRATEGIES]
        auto = {"properties": {"name": {"const": AUTO}}}  # also where no name is given
        none = {"if": auto, "then": {"properties": {"options": {"maxProperties": 0}}}}
        made["allOf"] = [none, *map(_strategy, STRATEGIES)]
    return made | {"description": summary(cls)}


def _strategy(name: str) -> dict[str, Any]:
    """Which options there are if the strategy is ``name``."""
    named = {"properties": {"name": {"const": name}}, "required": ["name"]}
    return {"if": named, "then": {"properties": {"options": _class(STRATEGIES[name].options)}}}


def _kind(kind: Any, bounds: Any) -> dict[str, Any]:
    """The schema of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _class(kind)
    if len(kinds := kinds_of(kind)) > 1:
        return {"anyOf": [_kind(each, bounds) for each in kinds]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple):
        fixed = origin is tuple and arguments[-1] is not Ellipsis
        size = {"minItems": len(arguments), "maxItems": len(arguments)} if fixed else {}
        return {"type": "array", "items": _kind(arguments[0], bounds)} | size
    if origin is dict or kind is dict:
        return {"type": "object", "additionalProperties": _kind(arguments[1], bounds) if arguments else True}
    limits = {_BOUNDS[name]: bound for name, bound in bounds.items()} if kind in (int, float) else {}
    return {"type": _TYPES[kind]} | limits if kind in _TYPES else {}
