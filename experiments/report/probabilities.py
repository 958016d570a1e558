"""What a differentiable search thought of each candidate, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.report.families import family, family_colour, readable
from experiments.report.vega import CONFIG, Figure, field, mark

_HEIGHT, _HEAD, _FOOT, _GAP = 96, 30, 34, 24


def probability_figure(epochs: Sequence[int], probabilities: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """A small area chart for each choice; candidates of one family of operators lie together, in its colour."""
    cells, areas = [], []
    for index, (label, candidates) in enumerate(probabilities.items()):
        order = sorted(candidates, key=lambda name: (family(_operator(name)), -candidates[name][-1]))
        best = max(candidates, key=lambda name: candidates[name][-1])
        cells.append(
            {
                "cell": index,
                "label": label.replace("block", "block ").replace("block 0", "block ")
                if label[-1].isdigit()
                else label,
                "best": f"{_candidate(best)} {candidates[best][-1]:.0%}",
            }
        )
        bottoms = [0.0] * len(epochs)
        for name in order:
            operator = _operator(name)
            tops = [bottom + value for bottom, value in zip(bottoms, candidates[name], strict=True)]
            areas += [
                {
                    "cell": index,
                    "line": name,
                    "x": epoch + 1,
                    "low": bottom,
                    "high": min(1.0, top),
                    "colour": family_colour(family(operator)),
                    "tip": {
                        "title": _candidate(name),
                        "figures": [
                            ["first epoch", f"{candidates[name][0]:.1%}"],
                            ["last epoch", f"{candidates[name][-1]:.1%}"],
                        ],
                        "architecture": "",
                    },
                }
                for epoch, bottom, top in zip(epochs, bottoms, tops, strict=True)
            ]
            bottoms = tops
    sure = sum(max(own[-1] for own in each.values()) > 0.5 for each in probabilities.values())
    return Figure(
        "probabilities",
        "How the probabilities moved",
        "One chart for each choice, from the first epoch to the last; heights are probabilities. Colours are families"
        " of operators, as in the drawing. The candidate that ends as the most probable is named; point at an area for"
        " its name.",
        f"{len(probabilities)} choices over {len(epochs)} epochs; {sure} of them end with a candidate above one half.",
        _spec(cells, areas, max(2, len(epochs))),
    )


def _operator(candidate: str) -> str:
    return candidate.partition("-")[0]


def _candidate(name: str) -> str:
    """``xsep_k3-e48-se`` in words."""
    operator, *more = name.split("-")
    return " ".join([readable(operator), *more])


def _spec(cells: list[dict[str, Any]], areas: list[dict[str, Any]], epochs: int) -> dict[str, Any]:
    step = _HEAD + _HEIGHT + _FOOT
    place = {
        "x": {"signal": f"(datum.cell % columns) * (cell + {_GAP})"},
        "y": {"signal": f"floor(datum.cell / columns) * {step} + {_HEAD}"},
    }
    text = {"y": -10, "fontSize": 12}
    right = {"x": {"signal": "cell"}, "align": "right"}
    area: dict[str, Any] = {
        "x": field("x", "x"),
        "y": field("high", "y"),
        "y2": field("low", "y"),
        "fill": field("colour"),
    }
    area |= {"fillOpacity": 0.82, "stroke": "var(--surface)", "strokeWidth": 0.8, "tooltip": field("tip")}
    return {
        "$schema": "https://vega.github.io/schema/vega/v6.json",
        "width": 880,
        "padding": 4,
        "autosize": {"type": "none"},
        "background": None,
        "config": CONFIG,
        "signals": [
            {"name": "columns", "update": f"max(1, min(4, floor((width + {_GAP}) / {190 + _GAP})))"},
            {"name": "cell", "update": f"(width - 8 - {_GAP} * (columns - 1)) / columns"},
            {"name": "height", "update": f"ceil({len(cells)} / columns) * {step} - 8"},
        ],
        "data": [{"name": "cells", "values": cells}, {"name": "areas", "values": areas}],
        "scales": [
            {"name": "x", "type": "linear", "domain": [1, epochs], "range": [0, {"signal": "cell"}], "zero": False},
            {"name": "y", "type": "linear", "domain": [0, 1], "range": [_HEIGHT, 0]},
        ],
        "marks": [
            {
                "type": "group",
                "from": {"data": "cells"},
                "encode": {"update": {**place, "width": {"signal": "cell"}, "height": {"value": _HEIGHT}}},
                "marks": [
                    mark("text", None, **text, x=0, text={"signal": "parent.label"}, fill="var(--muted)"),
                    mark("text", None, **text, **right, text={"signal": "parent.best"}, fontWeight=600),
                ],
                "axes": [
                    {"scale": "x", "orient": "bottom", "grid": False, "tickCount": 3, "format": "d", "domain": False}
                ],
            },
            {
                "type": "group",
                "from": {"facet": {"name": "own", "data": "areas", "groupby": ["cell", "line"]}},
                "encode": {"update": place},
                "marks": [mark("area", "own", {"fillOpacity": 1}, **area)],
            },
        ],
    }
