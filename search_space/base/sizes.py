"""How large channels, classes and images may be, and what networks may be called."""

from __future__ import annotations

from search_space.base.checks import check_int, require

#: Channels, classes and pixels beyond it are refused: sums of costs must fit 64 bits, and a slip should end here.
LARGEST = 10**6


def check_size(where: str, value: object, least: int) -> None:
    """InvalidRequest for the field ``where`` unless ``value`` is a whole number from ``least`` to `LARGEST`."""
    require(check_int(where, value, least) <= LARGEST, where, value, f"must be at most {LARGEST:,}")


def check_macro_name(where: str, name: object) -> None:
    """InvalidRequest for the field ``where`` unless ``name`` can stand in the text form of an architecture."""
    good = isinstance(name, str) and name and all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)
    require(bool(good), where, name, "must be a name of letters, digits, '-', '_' and '.'")
    require(len(str(name)) <= 100, where, name, "must have at most 100 characters")
