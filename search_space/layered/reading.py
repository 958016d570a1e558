"""The JSON form of a layered network, read strictly: labels and numbers only."""

from __future__ import annotations

import dataclasses
from typing import Any

from search_space.base.checks import shown, unknown
from search_space.base.errors import InvalidRequest
from search_space.layered.fractal import Fractal
from search_space.layered.joined import Join, Series
from search_space.layered.layer import Layer
from search_space.layered.simple import Act, Conv, Norm, Pool, Squeeze

#: Every kind of layer, by what its JSON form calls it: to add one, add it here.
LAYERS: dict[str, type[Layer]] = {
    layer.KIND: layer for layer in (Conv, Norm, Act, Pool, Squeeze, Series, Join, Fractal)
}
#: how deep layers may hold layers
_DEEPEST = 40


def layered_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` of the JSON form of a `LayeredNetwork` with layers as values and tuples for lists; InvalidRequest
    names the layer that is wrong."""
    made = dict(fields)
    if "body" in made:
        made["body"] = _layers(made["body"], "body", 0)
    if "hidden" in made:
        if not isinstance(made["hidden"], list):
            raise InvalidRequest(f"hidden: {shown(made['hidden'])} is not a list of numbers")
        made["hidden"] = tuple(made["hidden"])
    return made


def _layers(values: Any, where: str, depth: int) -> tuple[Layer, ...]:
    if not isinstance(values, list):
        raise InvalidRequest(f"{where}: {shown(values)} is not a list of layers")
    if depth > _DEEPEST:
        raise InvalidRequest(f"{where.split('.')[0]}: layers hold layers more than {_DEEPEST} deep")
    return tuple(_layer(value, f"{where}[{index}]", depth) for index, value in enumerate(values))


def _layer(value: Any, where: str, depth: int) -> Layer:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where}: {shown(value)} is not a JSON object")
    kind = value.get("layer")
    if not isinstance(kind, str) or kind not in LAYERS:
        raise unknown(f"{where}.layer", kind, LAYERS)
    cls: Any = LAYERS[kind]
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(cls)}
    given = {name: each for name, each in value.items() if name != "layer"}
    for name, each in given.items():
        if name not in known:
            raise unknown(f"{where}: key", name, known)
        if name in ("layers", "branches", "unit"):
            given[name] = _layers(each, f"{where}.{name}", depth + 1)
    if missing := sorted(name for name, required in known.items() if required and name not in given):
        raise InvalidRequest(f"{where}.{missing[0]}: missing")
    return cls(**given)
