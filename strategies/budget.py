"""Budgets: what a network may cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from search_space.errors import InvalidRequest

_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse_count(value: int | float | str, field: str) -> int:
    """A number of MACs or parameters from ``16700000``, ``1.67e7``, ``"16.7M"``, ``"850k"``; InvalidRequest names
    ``field`` if it is none."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kmg]?)\s*", value.lower())
        if match is None:
            raise InvalidRequest(f"{field}: {value!r} is no number; write it like 16.7M, 850k or 1.2G")
        # via decimal digits, so that 16.7M is 16,700,000 and not one less
        number = round(float(match[1]) * _SUFFIX[match[2]])
    elif isinstance(value, bool) or value != value or value in (float("inf"), float("-inf")) or value != round(value):
        raise InvalidRequest(f"{field}: {value!r} is no whole number")
    else:
        number = round(value)
    if number < 0:
        raise InvalidRequest(f"{field}: {value!r} must not be negative")
    return number


def format_count(count: int | float) -> str:
    """``17507328`` -> ``"17.51M"``; below 1000 as it is."""
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if abs(count) >= unit:
            return f"{count / unit:.2f}{suffix}"
    return f"{count:g}"


@dataclass(frozen=True)
class Budget:
    """Bounds on MACs and parameters, both ends included; None leaves an end open.

    Every field takes an int or a text like "16.7M". InvalidRequest for an unreadable number or min > max.

    Attributes:
        max_macs: most multiply-accumulates of a forward pass, as 16.7M.
        max_params: most trainable parameters, as 1.5M.
        min_macs: fewest multiply-accumulates.
        min_params: fewest trainable parameters.
    """

    max_macs: int | float | str | None = None
    max_params: int | float | str | None = None
    min_macs: int | float | str | None = None
    min_params: int | float | str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, parse_count(value, f"budget.{field.name}"))
        for metric, (low, high) in self.bounds().items():
            if low is not None and high is not None and low > high:
                raise InvalidRequest(f"budget.min_{metric}: {low:,} is above budget.max_{metric} {high:,}; swap them")

    def bounds(self) -> dict[str, tuple[int | None, int | None]]:
        """{metric: (lower, upper)} of the metrics that are bounded at all."""
        pairs = {
            metric: (getattr(self, f"min_{metric}"), getattr(self, f"max_{metric}")) for metric in ("macs", "params")
        }
        return {metric: pair for metric, pair in pairs.items() if pair != (None, None)}

    def admits(self, costs: Mapping[str, int]) -> bool:
        """Whether ``costs`` ({metric: value}) are inside."""
        return all(
            (low is None or costs[metric] >= low) and (high is None or costs[metric] <= high)
            for metric, (low, high) in self.bounds().items()
        )

    def __str__(self) -> str:
        parts = []
        for metric, (low, high) in self.bounds().items():
            if low is not None:
                parts.append(f"{metric} >= {format_count(low)}")
            if high is not None:
                parts.append(f"{metric} <= {format_count(high)}")
        return ", ".join(parts) or "none"
