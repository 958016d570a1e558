"""The one kit of checks: what is refused, and in which words.

Every refusal reads ``field: value why; remedy``. The fields of an options class say with `option` what they admit, and
`check_options` holds them to it, so a bound stands once, beside the default.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import MISSING, field, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from search_space.base.errors import InvalidRequest
from search_space.base.text import plain as plain
from search_space.base.text import printable as printable

#: scikit-learn takes seeds of 32 bits, so every seed here is one
SEED_LIMIT = 2**32
#: characters of a value that a refusal repeats
_SHOWN = 80
#: names that a refusal lists, and about how many characters they may take together
_LISTED = 10
_LISTED_CHARACTERS = 130


def shown(value: object) -> str:
    """``value`` as a refusal repeats it: at most 80 characters on one line, no control characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # whole numbers of more digits than Python prints, endless nesting
        text = f"a value of type {type(value).__name__}, too long to print,"
    return plain(text, _SHOWN)


def refusal(where: str, value: object, why: str, remedy: str | None = None) -> InvalidRequest:
    """The error for the field ``where``: to be raised by the caller."""
    return InvalidRequest(f"{plain(where)}: {shown(value)} {why}" + ("" if remedy is None else f"; {remedy}"))


def require(condition: bool, where: str, value: object, why: str, remedy: str | None = None) -> None:
    """InvalidRequest for the field ``where`` unless ``condition`` holds."""
    if not condition:
        raise refusal(where, value, why, remedy)


def known_names(names: Iterable[object]) -> str:
    """``names`` as a refusal lists them: ten at most, and fewer long ones."""
    cut = [plain(name, 40) for name in names]
    listed: list[str] = []
    for name in cut[:_LISTED]:
        if listed and len(", ".join([*listed, name])) > _LISTED_CHARACTERS:
            break
        listed.append(name)
    more = len(cut) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")


def nearest(name: object, known: Iterable[str], listing: str | None = None) -> str:
    """The remedy for a misspelt ``name``: what is known (ten names at most), and the nearest of it.

    ``listing`` is the command that shows them all, such as ``sepnas list operators``.
    """
    known = [plain(each, 40) for each in known]
    remedy = f"known are {known_names(known)}"
    if listing is not None and remedy.endswith(" more"):
        remedy += f" (`{listing}` shows all)"
    near = difflib.get_close_matches(plain(name, 40), known, n=1) if isinstance(name, str) else []
    return f"{remedy}; did you mean {near[0]}?" if near else remedy


def unknown(where: str, name: object, known: Iterable[str], listing: str | None = None) -> InvalidRequest:
    """The error for a misspelt name of the field ``where``, with the remedy of `nearest`."""
    return refusal(where, name, "is unknown", nearest(name, known, listing))


def check_choice(where: str, value: object, choices: Iterable[Any]) -> Any:
    """``value`` if it is one of ``choices``; InvalidRequest otherwise."""
    choices = list(choices)
    for choice in choices:  # True equals 1, but is not meant by it
        if type(choice) is type(value) and choice == value:
            return value
    if not all(isinstance(choice, str) for choice in choices):
        raise refusal(where, value, f"must be {' or '.join(map(str, choices))}")
    raise unknown(where, value, choices)


def check_bool(where: str, value: object) -> bool:
    """``value`` if it is true or false; InvalidRequest otherwise."""
    require(isinstance(value, bool), where, value, "must be true or false")
    return bool(value)


def check_int(where: str, value: object, least: int | None = None, most: int | None = None) -> int:
    """``value`` as an int if it is a whole number from ``least`` to ``most``; InvalidRequest otherwise."""
    bounds = _given(least=least, most=most)
    why = f"must be a whole number{_range(bounds)}"
    if not isinstance(value, Integral) or isinstance(value, bool):  # True as a size is a mistake
        raise refusal(where, value, why)
    require(_holds(int(value), bounds), where, value, why)
    return int(value)


def check_number(where: str, value: object, **bounds: float) -> float:
    """``value`` as a float if it is a finite number inside ``bounds`` (those of `option`); InvalidRequest otherwise."""
    why = f"must be a number{_range(bounds)}"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise refusal(where, value, why)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    require(math.isfinite(number) and _holds(number, bounds), where, value, why)
    return number


def check_share(where: str, value: object) -> float:
    """``value`` as a float if it lies strictly between 0 and 1; InvalidRequest otherwise."""
    return check_number(where, value, above=0, below=1)


def check_seed(where: str, value: object) -> int:
    """``value`` as an int if it fits 32 bits; InvalidRequest otherwise."""
    return check_int(where, value, 0, SEED_LIMIT - 1)


_BOUNDS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "least": (operator.ge, "of at least"),
    "above": (operator.gt, "above"),
    "most": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}


def _given(**bounds: float | None) -> dict[str, float]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _holds(number: float, bounds: Mapping[str, float]) -> bool:
    return all(_BOUNDS[name][0](number, bound) for name, bound in bounds.items())


def _range(bounds: Mapping[str, float]) -> str:
    """What a refusal says of ``bounds``, behind "a number"."""
    if bounds.keys() == {"least", "most"}:
        return f" from {bounds['least']} to {bounds['most']}"
    words = " and ".join(f"{text} {bounds[name]}" for name, (_, text) in _BOUNDS.items() if name in bounds)
    return f" of {words}" if bounds.keys() == {"most"} else f" {words}" if words else ""


def option(
    default: Any = MISSING,
    *,
    factory: Callable[[], Any] | Any = MISSING,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[Any] | None = None,
) -> Any:
    """A field of an options class with the bounds that `check_options` holds its numbers to (those of a list too).

    ``least`` and ``most`` are themselves inside, ``above`` and ``below`` are not; with ``choices`` the value is one of
    them. ``factory`` is called for the default of each instance; without it and ``default`` the field is required.
    """
    metadata = {"bounds": _given(least=least, most=most, above=above, below=below), "choices": choices}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def check_options(options: Any, where: str = "") -> None:
    """Hold every field of a dataclass to its type and to the bounds of its `option`; to be called in ``__post_init__``.

    Checked are bool, int, float, str, Literal, lists and tuples of them, and any of these or None. Other types are left
    to the class. InvalidRequest names the field behind ``where`` and a dot.
    """
    types = _types(cast(Hashable, type(options)))
    for each in fields(options):
        name, value = f"{where}.{each.name}" if where else each.name, getattr(options, each.name)
        choices = each.metadata.get("choices")
        if choices is None:
            _check(name, value, types[each.name], each.metadata.get("bounds", {}))
        elif value is not None or each.default is not None:
            check_choice(name, value, choices)


@cache
def _types(cls: Hashable) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _check(where: str, value: Any, expected: Any, bounds: Mapping[str, float]) -> None:
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        simple = [argument for argument in arguments if argument is not NoneType]
        # of several types only the class knows which is meant
        if len(simple) == 1 and not (value is None and NoneType in arguments):
            _check(where, value, simple[0], bounds)
    elif origin is Literal:
        check_choice(where, value, arguments)
    elif origin in (list, tuple):
        require(isinstance(value, list | tuple), where, value, "must be a list")
        for position, item in enumerate(value):
            _check(f"{where}[{position}]", item, arguments[0], bounds)
    elif expected is bool:
        check_bool(where, value)
    elif expected is int:
        check_int(where, value, **bounds)  # type: ignore[arg-type]
    elif expected is float:
        check_number(where, value, **bounds)
    elif expected is str:
        require(isinstance(value, str), where, value, "must be text")
