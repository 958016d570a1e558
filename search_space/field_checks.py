"""Checks of single fields that values of several kinds have in common."""

from __future__ import annotations

from search_space.errors import InvalidRequest
from search_space.layers import ACTIVATIONS


def require_int(where: str, value: object, least: int) -> None:
    """InvalidRequest, beginning with ``where``, unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidRequest(f"{where}: {value!r} must be a whole number of at least {least}")


def require_stride(where: str, value: object) -> None:
    """InvalidRequest, beginning with ``where``, unless ``value`` is 1 or 2."""
    if not isinstance(value, int) or isinstance(value, bool) or value not in (1, 2):
        raise InvalidRequest(f"{where}: {value!r} must be 1 or 2")


def require_activation(where: str, value: object) -> None:
    """InvalidRequest, beginning with ``where``, unless ``value`` names an activation."""
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise InvalidRequest(f"{where}: {value!r} is unknown; known are {', '.join(ACTIVATIONS)}")
