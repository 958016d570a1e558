"""What is wrong with a config or an option, in a user's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from search_space.base.errors import InvalidRequest

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, as [a, b]",
    "dict": "a group of keys",
    "NoneType": "null",
}


def check_keys(values: Any, config: type, where: str, prefix: str = "") -> None:
    """InvalidRequest, beginning with ``where``, for a key at any depth that the dataclass ``config`` does not have."""
    if not isinstance(values, Mapping):
        raise InvalidRequest(f"{where}{prefix.rstrip('.')}: {values!r} is no group of keys ({_known(config)})")
    types = get_type_hints(config)
    for key, value in values.items():
        if key not in types:
            raise InvalidRequest(f"{where}{prefix}{key}: unknown key (value {value!r}); known are {_known(config)}")
        if is_dataclass(types[key]):
            check_keys(value, types[key], where, f"{prefix}{key}.")


def _known(config: type) -> str:
    return ", ".join(field.name for field in fields(config))


def readable(error: Exception) -> str:
    """One line for an error of jsonargparse; what it says about Python's types is said in plain words."""
    text = " ".join(str(error).split())
    found = re.fullmatch(r'Parser key "(?P<key>[^"]+)": (?P<reason>.*)', text)
    if found is None:
        return text
    reason = found["reason"]
    value = re.search(r"(?:Got value|Given value): (.*?)$", reason)
    expected = list(dict.fromkeys(re.findall(r"Expected an? (<class '\w+'>|typing\.Literal\[.*?\])", reason)))
    if value is None or not expected:
        return f"{found['key']}: {reason}"
    return f"{found['key']}: {value[1]!r} is not {' or '.join(map(_plain, expected))}"


def _plain(expected: str) -> str:
    if expected.startswith("typing.Literal["):
        return f"one of {expected[len('typing.Literal[') : -1]}"
    name = expected[len("<class '") : -2]
    return _TYPES.get(name, name)
