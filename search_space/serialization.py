"""The versioned JSON form of a network: labels and numbers only. Reading one imports and runs nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import UnionType
from typing import Any, get_origin, get_type_hints

from search_space.architecture import Architecture, Block, Head, Stem
from search_space.base.atomic import replacing
from search_space.base.checks import shown, unknown
from search_space.base.errors import InvalidRequest
from search_space.base.reading import parse_json, read_file
from search_space.blueprint import AnyNetwork, Blueprint
from search_space.layered_network import LayeredNetwork, PlainNetwork
from search_space.own_model import OwnModel

FORMAT = "sepnas-architecture"
VERSION = 1
#: The other kinds of networks.
_BLUEPRINTS: tuple[type[Blueprint], ...] = (OwnModel, LayeredNetwork)


def to_json(architecture: AnyNetwork) -> dict[str, Any]:
    """A dict for ``json.dumps``; ``from_json(to_json(a)) == a``."""
    if isinstance(architecture, Blueprint):
        return architecture.to_json()
    fields = dataclasses.asdict(architecture)
    return {"format": FORMAT, "version": VERSION, **fields, "blocks": list(fields["blocks"])}


def from_json(data: Any) -> Architecture:
    """The architecture in ``data``. InvalidRequest names an unknown version, a missing, unknown or ill-typed field."""
    if (kind := _kind(data)) is not None:
        raise InvalidRequest(f"architecture: this is a network of another kind ({kind.FORMAT}); give an architecture")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidRequest(f'architecture: not a JSON object with "format": "{FORMAT}"; is it an architecture file?')
    fields = _fields(data, VERSION)
    for key, cls in (("stem", Stem), ("head", Head)):
        if key in fields:
            fields[key] = _record(cls, key, fields[key])
    if "blocks" in fields:
        if not isinstance(fields["blocks"], list):
            raise InvalidRequest(f"blocks: {type(fields['blocks']).__name__} is not a list")
        fields["blocks"] = tuple(_record(Block, f"blocks[{i}]", block) for i, block in enumerate(fields["blocks"]))
    return _record(Architecture, "architecture", fields)


def network_from_json(data: Any) -> AnyNetwork:
    """The network of any kind in ``data``; errors as of `from_json`."""
    kind = _kind(data)
    if kind is None:
        return from_json(data)
    return _record(kind, "network", kind.fields_from_json(_fields(data, kind.VERSION)))


def _kind(data: Any) -> type[Blueprint] | None:
    """Of which kind of network, if of another one than an architecture, ``data`` is the JSON form."""
    return next((kind for kind in _BLUEPRINTS if isinstance(data, dict) and data.get("format") == kind.FORMAT), None)


def _fields(data: dict[str, Any], version: int) -> dict[str, Any]:
    if type(data.get("version")) is not int or data["version"] != version:  # True == 1 in Python
        raise InvalidRequest(
            f"architecture version: {shown(data.get('version'))} cannot be read, this release reads version {version};"
            " export it again with this release"
        )
    return {key: value for key, value in data.items() if key not in ("format", "version")}


def _record(cls: type, where: str, fields: Any) -> Any:
    """An instance of the dataclass ``cls`` from a dict, strict about names and JSON types."""
    if not isinstance(fields, dict):
        raise InvalidRequest(f"{where}: {shown(fields)} is not a JSON object")
    types = get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls)]  # type hints also have those of the class
    required = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    for name in fields:
        if name not in known:
            raise unknown(f"{where}: key", name, known)
    if missing := sorted(required - set(fields)):
        raise InvalidRequest(f"{where}.{missing[0]}: missing")
    for name, value in fields.items():
        expected = types[name]
        if get_origin(expected) is not None or isinstance(expected, UnionType):
            continue  # a tuple, made above
        # bool is an int in Python but not in JSON
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise InvalidRequest(f"{where}.{name}: {shown(value)} is not of type {expected.__name__}")
    return cls(**fields)


def save_architecture(architecture: AnyNetwork, path: Path | str) -> None:
    """Write the JSON form to ``path``, whole or not at all."""
    path = Path(path)
    text = json.dumps(to_json(architecture), indent=2) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_architecture(path: Path | str) -> Architecture:
    """The architecture in a JSON file; InvalidRequest, beginning with the file's name, for anything wrong with it."""
    return read_file("architecture", "JSON", path, lambda text: from_json(parse_json(text)))


def load_plain_network(path: Path | str) -> PlainNetwork:
    """The network in a JSON file, unless it is one that code of the user's makes; errors as of `load_architecture`."""

    def read(text: str) -> PlainNetwork:
        data = parse_json(text)
        if _kind(data) is not LayeredNetwork:
            return from_json(data)
        network = network_from_json(data)
        assert isinstance(network, LayeredNetwork)
        return network

    return read_file("architecture", "JSON", path, read)


def load_any_network(path: Path | str) -> AnyNetwork:
    """The network of any kind in a JSON file; errors as of `load_architecture`."""
    return read_file("architecture", "JSON", path, lambda text: network_from_json(parse_json(text)))
