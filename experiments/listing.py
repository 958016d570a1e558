"""What ``sepnas list`` prints."""

from __future__ import annotations

from dataclasses import fields

from evaluators.dataset_names import DATASETS
from strategies.names import STRATEGIES


def listing(what: str) -> str:
    """The names of ``what`` ("operators", "baselines", "strategies" or "datasets"), a line or more each."""
    return {"operators": _operators, "baselines": _baselines, "strategies": _strategies, "datasets": _datasets}[what]()


def _columns(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows.items())


def _operators() -> str:
    from search_space import operators

    rows = {}
    for name, operator in operators.items():
        note = "" if operator.default_candidate else " (not a default candidate)"
        rows[name] = f"{operator.scope:7}  {operator.summary}{note} [{operator.source}]"
    rows["skip"] = "block    identity, where the shape is kept: depth is searched too"
    return _columns(rows)


def _baselines() -> str:
    from search_space import baselines

    return _columns(baselines())


def _strategies() -> str:
    lines = []
    for name, strategy in STRATEGIES.items():
        lines.append(f"{name}: {strategy.summary}")
        lines.extend(f"  {field.name} = {field.default!r}" for field in fields(strategy.options))
    return "\n".join(lines)


def _datasets() -> str:
    return _columns(DATASETS)
