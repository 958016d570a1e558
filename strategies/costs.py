"""Where a strategy gets the costs of a space from, and what it checks before anything is trained."""

from __future__ import annotations

from typing import Any

from nni.mutable import Categorical

from search_space.cost_table import CostTable
from search_space.errors import InvalidRequest


def find_cost_table(space: Any, costs: CostTable | None) -> CostTable:
    """``costs`` if given, else the space's own ``cost_table``; InvalidRequest if there is neither or the labels of
    the space are not those of the table."""
    table = costs if costs is not None else getattr(space, "cost_table", None)
    if table is None:
        raise InvalidRequest(
            f"costs: {type(space).__name__} has no cost_table; give the strategy costs=CostTable(...) for its labels"
        )
    labels = space.simplify()
    for label, mutable in labels.items():
        if not isinstance(mutable, Categorical):
            raise InvalidRequest(
                f"label {label!r}: {type(mutable).__name__} is not categorical; no budget can cover it"
            )
        if tuple(mutable.values) != tuple(table.candidates.get(label, ())):
            raise InvalidRequest(f"costs: the candidates of label {label!r} are not those of the space")
    if extra := sorted(set(table.candidates) - set(labels)):
        raise InvalidRequest(f"costs: label {extra[0]!r} is not in the space")
    return table
