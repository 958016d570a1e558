"""The JSON Schema of configs, by which editors complete and check them."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from evaluators.training.presets import RECIPES
from evaluators.training.recipes import Recipe
from experiments.options.config import AUTO, SearchConfig, StrategyConfig
from experiments.options.values import options_of, summary
from strategies.registry import STRATEGIES

_BOUNDS = {"least": "minimum", "most": "maximum", "above": "exclusiveMinimum", "below": "exclusiveMaximum"}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}


def schema_text() -> str:
    """The schema of `SearchConfig` as JSON."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Config of a search by sepnas"}
    return json.dumps(head | _class(SearchConfig), indent=2, default=asdict)


def _class(cls: type) -> dict[str, Any]:
    """The schema of a dataclass: an object with its fields and no others."""
    properties = {}
    for own in options_of(cls).values():
        about = {} if own.section is not None or own.default is MISSING else {"default": own.default}
        properties[own.name] = _kind(own.type, own.bounds) | about | {"description": own.help}
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if cls is Recipe:
        properties["preset"] = {"enum": list(RECIPES), "description": "a whole recipe; other fields win over it"}
    if cls is StrategyConfig:
        properties["name"]["enum"] = [AUTO, *STRATEGIES]
        none = {
            "if": {"properties": {"name": {"const": AUTO}}},
            "then": {"properties": {"options": {"maxProperties": 0}}},
        }
        made["allOf"] = [none, *(_strategy(name) for name in STRATEGIES)]
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
    if origin in (Union, UnionType):
        return {"anyOf": [_kind(own, bounds) for own in arguments]}
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
