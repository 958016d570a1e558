"""A user's own additive costs as a versioned JSON file: one number for each candidate of each label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_space.base.atomic import replacing
from search_space.base.errors import InvalidRequest
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


def save_costs(costs: OwnCosts, path: Path | str) -> None:
    """Write the JSON form to ``path``, whole or not at all."""
    data = {"format": FORMAT, "version": VERSION, "metric": costs.metric, "unit": costs.unit, "fixed": costs.fixed}
    own = {label: dict(values) for label, values in costs.costs.items()}
    text = json.dumps({**data, "costs": own}, indent=2, allow_nan=False) + "\n"
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def load_costs(path: Path | str) -> OwnCosts:
    """The costs in a JSON file; InvalidRequest, beginning with the file's name, for anything wrong with it."""
    where = f"cost file {path}"
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except OSError as error:
        raise InvalidRequest(f"{where}: cannot be read ({error.strerror})") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, numbers or nesting beyond Python's limits
        raise InvalidRequest(f"{where}: is not JSON ({error})") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidRequest(f'{where}: no JSON object with "format": "{FORMAT}"; is it a cost file?')
    if type(data.get("version")) is not int or data["version"] != VERSION:  # True == 1 in Python
        raise InvalidRequest(
            f"{where}: version {data.get('version')!r} cannot be read, this release reads version {VERSION}"
        )
    fields = {"fixed": 0.0, "unit": "", "measurement": {}, "validation": {}, **data}
    for key in fields:
        if key not in _KEYS:
            raise InvalidRequest(f"{where}: {key}: unknown field; known are {', '.join(_KEYS)}")
    for key, expected in _KEYS.items():
        if key not in fields:
            raise InvalidRequest(f"{where}: {key}: missing")
        if not isinstance(fields[key], expected) or isinstance(fields[key], bool):
            raise InvalidRequest(f"{where}: {key}: {fields[key]!r} is of the wrong type")
    if not fields["metric"]:
        raise InvalidRequest(f"{where}: metric: empty; give it a name like latency_ms")
    for label, own in fields["costs"].items():
        if not isinstance(own, dict):
            raise InvalidRequest(f"{where}: costs.{label}: {own!r} is not a JSON object of candidates")
    return OwnCosts(fields["metric"], fields["unit"], fields["fixed"], fields["costs"])


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"{repeated}: stands twice in one object")
    return result
