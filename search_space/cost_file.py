"""Costs of a user's own, such as times, in a JSON file that `sepnas latency --table` writes and configs name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.base.checks import plain, shown, unknown
from search_space.base.errors import InvalidRequest
from search_space.base.reading import parse_json, read_file
from search_space.cost_table import CostTable

FORMAT = "sepnas-costs"
VERSION = 1

_KEYS: dict[str, Any] = {
    "format": str,
    "version": int,
    "metric": str,
    "unit": str,
    "fixed": (int, float),
    "costs": dict,
    # how the numbers came about, for people: not read
    "measurement": dict,
    "validation": dict,
}


@dataclass(frozen=True)
class OwnCosts:
    """One metric: ``costs[label][candidate]`` in ``unit``, and ``fixed`` for what all architectures have in common."""

    metric: str
    unit: str
    fixed: float
    costs: Mapping[str, Mapping[str, float]]

    def added_to(self, table: CostTable) -> CostTable:
        """``table`` with this metric; InvalidRequest if it does not give every candidate one number of 0 or more."""
        return table.with_cost(self.metric, self.costs, self.fixed)


def load_costs(path: Path | str) -> OwnCosts:
    """The costs in a JSON file; InvalidRequest, beginning with the file's name, for anything wrong with it."""
    return read_file("cost", "JSON", path, lambda text: _own_costs(parse_json(text)))


def _own_costs(data: Any) -> OwnCosts:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidRequest(f'not a JSON object with "format": "{FORMAT}"; is it a cost file?')
    if type(data.get("version")) is not int or data["version"] != VERSION:  # True == 1 in Python
        raise InvalidRequest(
            f"version {shown(data.get('version'))} cannot be read, this release reads version {VERSION}"
        )
    fields = {"fixed": 0.0, "unit": "", "measurement": {}, "validation": {}, **data}
    for key in fields:
        if key not in _KEYS:
            raise unknown("key", key, _KEYS)
    for key, expected in _KEYS.items():
        if key not in fields:
            raise InvalidRequest(f"{key}: missing")
        if not isinstance(fields[key], expected) or isinstance(fields[key], bool):
            raise InvalidRequest(f"{key}: {shown(fields[key])} is of the wrong type")
    if not fields["metric"]:
        raise InvalidRequest("metric: empty; give it a name like latency_ms")
    for label, own in fields["costs"].items():
        if not isinstance(own, dict):
            raise InvalidRequest(f"costs.{plain(label, 40)}: {shown(own)} is not a JSON object of candidates")
    return OwnCosts(fields["metric"], fields["unit"], fields["fixed"], fields["costs"])
