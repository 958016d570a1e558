"""Argument checks that several modules of this package share."""

from __future__ import annotations

from numbers import Integral, Real

from search_space.base.errors import InvalidRequest

# scikit-learn takes seeds of 32 bits, so every seed here is one.
SEED_LIMIT = 2**32


def check_whole(field: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int if it is a whole number within low..high (both included).

    Raises:
        InvalidRequest: it is not; the text names `field`.
    """
    allowed = f"a whole number from {low}" + ("" if high is None else f" to {high}")
    # bool is an Integral, but True for a size is a mistake rather than a one.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidRequest(f"{field}={value!r} is not {allowed}: give one")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise InvalidRequest(f"{field}={value!r} is outside the allowed range: give {allowed}")
    return number


def check_seed(seed: object) -> int:
    """Return `seed` as an int if it fits 32 bits; raises InvalidRequest otherwise."""
    return check_whole("seed", seed, 0, SEED_LIMIT - 1)


def check_fraction(field: str, value: object) -> float:
    """Return `value` as a float if it lies strictly between 0 and 1; raises InvalidRequest otherwise."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 < float(value) < 1.0:
        raise InvalidRequest(
            f"{field}={value!r} is not a share of the images: give a number between 0 and 1, such as 0.2"
        )
    return float(value)
