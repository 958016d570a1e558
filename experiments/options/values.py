"""From plain values (YAML, options of the command line) to checked dataclasses.

A field's type, its bounds (`search_space.base.checks.option`), its default and its line in the class's docstring define
an option; reading, help, commented YAML and JSON Schema follow from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from evaluators.training.presets import recipe
from evaluators.training.recipes import Recipe
from search_space.base.checks import check_bool, check_choice, check_int, check_number, nearest, refusal, require, shown
from search_space.base.errors import InvalidRequest
from search_space.base.reading import parse_yaml
from search_space.options import PRESETS

Config = TypeVar("Config")


@dataclass(frozen=True)
class Option:
    """A field of a dataclass of options.

    Attributes:
        name: of the field.
        type: its type, resolved.
        help: its line in the docstring of the class.
        bounds: of its numbers, by the names of `check_number`'s arguments.
        default: its default; `MISSING` if it has none.
    """

    name: str
    type: Any
    help: str
    bounds: Mapping[str, float]
    default: Any

    @property
    def section(self) -> type | None:
        """The dataclass of its own options, if it holds such."""
        return self.type if is_dataclass(self.type) and isinstance(self.type, type) else None


def _options_of(cls: type) -> Mapping[str, Option]:
    types, helps = get_type_hints(cls), _helps(cls)
    return {
        field.name: Option(
            field.name,
            types[field.name],
            helps.get(field.name, ""),
            field.metadata.get("bounds", {}),
            field.default if field.default_factory is MISSING else field.default_factory(),
        )
        for field in fields(cls)
    }


#: The options of a dataclass by name, in order.
options_of: Callable[[type], Mapping[str, Option]] = cache(_options_of)


def _helps(cls: type) -> dict[str, str]:
    """{name: text} of the ``Attributes:`` sections of a class and its bases."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = re.search(r"^ *Attributes:\n(.*?)(\n\s*\n(?! {8})|\Z)", base.__doc__ or "", re.DOTALL | re.MULTILINE)
        if section is not None:
            entries = re.split(r"^ {8}(\w+): ", section[1], flags=re.MULTILINE)[1:]
            texts.update(zip(entries[::2], (" ".join(text.split()) for text in entries[1::2]), strict=True))
    return texts


def summary(cls: type) -> str:
    """The first line of a class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]


@contextmanager
def within(where: str) -> Iterator[None]:
    """Refusals raised inside begin with ``where``."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error}") from None


def make(cls: type[Config], values: object, prefix: str = "", base: Config | None = None) -> Config:
    """The dataclass ``cls`` of nested mappings; what they leave out is as in ``base``, or by default.

    A recipe may have ``preset: NAME``: the fields of that preset, over which its other keys go.

    Raises:
        InvalidRequest: names the option, by its dotted name behind ``prefix``, that is unknown or has a wrong value.
    """
    known = options_of(cls)
    if not isinstance(values, Mapping):
        raise refusal(prefix.rstrip("."), values, "is not a group of keys", nearest("", known))
    given = dict(values)
    if cls is Recipe and given.get("preset") is not None:
        base = cast(Any, recipe(given.pop("preset")))
    arguments: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise refusal(prefix + _key(key), value, "is of an unknown key", nearest(key, known))
        current = None if base is None else getattr(base, key)
        arguments[key] = convert(value, known[key].type, prefix + key, known[key].bounds, current)
    return cls(**arguments) if base is None else cast(Config, replace(cast(Any, base), **arguments))


def convert(value: Any, kind: Any, where: str, bounds: Mapping[str, float] | None = None, base: Any = None) -> Any:
    """``value`` as an instance of the type ``kind``; InvalidRequest, naming ``where``, if it cannot be one."""
    bounds = bounds or {}
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return make(kind, value, f"{where}.", base)
    if len(kinds := kinds_of(kind)) > 1:
        return _one_of(value, kinds, where, bounds)
    if origin is Literal:
        return check_choice(where, value, arguments)
    if origin in (list, tuple):
        return _sequence(value, origin, arguments, where, bounds)
    if kind is dict or origin is dict:
        require(isinstance(value, Mapping), where, value, "is not a group of keys")
        keys, items = arguments or (str, Any)
        return {
            convert(key, keys, f"{where}: key"): convert(item, items, f"{where}.{_key(key)}", bounds)
            for key, item in value.items()
        }
    if kind is bool:
        return check_bool(where, value)
    if kind is int:
        return check_int(where, value, **cast(Any, bounds))
    if kind is float:
        return check_number(where, _number(value), **bounds)
    if kind is str:
        require(isinstance(value, str), where, value, "must be a text")
    return value


def _one_of(value: Any, kinds: tuple[Any, ...], where: str, bounds: Mapping[str, float]) -> Any:
    """``value`` as the first of several types that fits it."""
    if value is None and NoneType in kinds:
        return None
    simple = [kind for kind in kinds if kind is not NoneType]
    errors = []
    for kind in simple:
        try:
            return convert(value, kind, where, bounds)
        except InvalidRequest as error:
            errors.append(str(error))
    if len(simple) == 1:
        raise InvalidRequest(errors[0].replace(" must be ", " must be null or ", 1) if NoneType in kinds else errors[0])
    # the one whose shape fits says best what is wrong
    for kind, complaint in zip(simple, errors, strict=True):
        if isinstance(value, get_origin(kind) or (() if kind is Any else kind)):
            raise InvalidRequest(complaint)
    raise refusal(where, value, f"must be {' or '.join(map(plain, simple))}")


def _sequence(value: Any, origin: Any, kinds: tuple[Any, ...], where: str, bounds: Mapping[str, float]) -> Any:
    require(isinstance(value, list | tuple), where, value, "must be a list, such as [a, b]")
    if origin is list or kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    require(len(value) == len(kinds), where, value, f"must be a list of {len(kinds)}")
    return origin(
        convert(item, kind, f"{where}[{position}]", bounds)
        for position, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def kinds_of(kind: Any) -> tuple[Any, ...]:
    """The types that a union is of; another type alone."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def plain(kind: Any) -> str:
    """A type in a user's words."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return names.get(kind) or ("a list, such as [a, b]" if get_origin(kind) in (list, tuple) else "a group of keys")


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-4 for a text; here it is a number."""
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", value[:100], re.IGNORECASE):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _key(key: object) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,40}", key) else shown(key)


# --- options of the command line ---


def read_yaml(text: str) -> Any:
    """The value of a YAML text; InvalidRequest if it is not YAML."""
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise InvalidRequest(f"is not YAML ({error})") from None


def from_text(text: str, kind: Any) -> Any:
    """The value of the type ``kind`` that ``text`` stands for; lists may lack their brackets."""
    origins = {get_origin(each) or each for each in kinds_of(kind)}
    if Literal in origins:
        return {str(choice): choice for choice in get_args(kind)}.get(text, text)
    if text == "null" and NoneType in origins:
        return None
    if origins & {list, tuple} and not text.lstrip().startswith("[") and ("," in text or str not in origins):
        text = f"[{text}]"
    elif str in origins and not (origins & {list, tuple, dict} and text.lstrip()[:1] in "[{"):
        # one operator alone is a list too
        return [text] if list in origins and text not in PRESETS else text
    try:
        return read_yaml(text)
    except InvalidRequest:
        return text  # which is refused by its option's name
