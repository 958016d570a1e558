"""Accuracy against MACs: the networks of a comparison, and what a search has scored, each with its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from experiments.figures import MACS_AXIS, network_colour
from experiments.report.contents import Compared, Measure, Trial, tip
from experiments.report.labels import Point, place_labels
from experiments.report.vega import AT, Figure, chart, field, log_ticks, mark, points
from strategies.budget.budget import Budget, format_count
from strategies.multi_trial.pareto import non_dominated

_SHAPES = {"winner": "circle", "pareto": "circle", "control": "diamond", "baseline": "square", "trained": "square"}


def compared_figure(networks: Sequence[Compared], budgets: Sequence[Budget]) -> Figure:
    """Test accuracy, mean and standard deviation, against MACs."""
    front = set(_front([one.macs for one in networks], [one.accuracy for one in networks]))
    dots = []
    for index, one in enumerate(networks):
        spread = one.std or 0.0
        text = f"{100 * one.accuracy:.2f}" + ("" if one.std is None else f" ± {100 * one.std:.2f}")
        dots.append(
            {
                "x": one.macs / 1e6,
                "y": 100 * one.accuracy,
                "low": 100 * (one.accuracy - spread),
                "high": min(100.0, 100 * (one.accuracy + spread)),
                "label": one.short,
                "colour": to_hex(network_colour(one.family)),
                "shape": _SHAPES.get(one.role, "square"),
                "size": 150 if one.role == "winner" else 90,
                "weight": 650 if one.role == "winner" else 400,
                "priority": index,
                "tip": tip(
                    one.name,
                    one.architecture,
                    **{"test accuracy, %": text, "trainings": str(one.n)},
                    MACs=format_count(one.macs),
                    parameters=format_count(one.params),
                ),
                "front": index in front,
            }
        )
    counts = sorted({one.n for one in networks})
    trainings = f"n = {' or '.join(map(str, counts))}"
    bars = f"Means over trainings ({trainings}), with one standard deviation" if counts != [1] else "One training each"
    best = max(networks, key=lambda one: one.accuracy)
    return Figure(
        "accuracy_macs",
        "Test accuracy against MACs",
        f"{bars}; the line joins the networks that no other one here beats in both. A circle is what a search found, a"
        " diamond is fitted to the budget, a square is as it is. Point at a network to see it.",
        f"{len(networks)} networks. The most accurate is {best.name}: {100 * best.accuracy:.2f} % at"
        f" {format_count(best.macs)} MACs. All figures stand in the table.",
        _scatter(dots, budgets, "test accuracy, %", height=400),
    )


def scored_figure(trials: Sequence[Trial], measure: Measure, budgets: Sequence[Budget], family: str) -> Figure:
    """The score against MACs: those architectures that were trained longest, and fainter the others."""
    last = {trial.architecture: trial for trial in trials if trial.score is not None}
    most = max((trial.rung for trial in last.values()), default=0)
    shown = list(last.values())
    longest = [trial for trial in shown if trial.rung == most]
    front = {longest[i].number for i in _front([t.macs for t in longest], [measure.good(t) for t in longest])}
    colour = to_hex(network_colour(family))
    dots = [
        {
            "x": trial.macs / 1e6,
            "y": measure.shown(trial),
            "colour": colour if trial.rung == most else "var(--axis)",
            "shape": "circle",
            "size": 70 if trial.rung == most else 40,
            "front": trial.number in front,
            "tip": trial.tip(),
        }
        for trial in sorted(shown, key=lambda trial: trial.rung)
    ]
    rest = len(shown) - len(longest)
    fainter = f" {rest} fainter ones were trained for fewer epochs and are not on it." if rest else ""
    return Figure(
        "scored",
        f"Everything that was scored: {measure.name} against MACs",
        f"{len(shown)} architectures; the line joins those that no other one beats in both.{fainter}",
        f"{len(shown)} architectures between {format_count(min(t.macs for t in shown))} and"
        f" {format_count(max(t.macs for t in shown))} MACs; {len(front)} of them are on the Pareto front.",
        _scatter(dots, budgets, measure.axis, height=330, loss=measure.is_loss),
    )


def _front(macs: Sequence[float], goodness: Sequence[float]) -> list[int]:
    if not macs:
        return []
    costs = np.array([[m, -g] for m, g in zip(macs, goodness, strict=True)])
    return [int(index) for index in np.flatnonzero(non_dominated(costs))]


def _scatter(
    dots: list[dict[str, Any]], budgets: Sequence[Budget], y: str, height: int, *, loss: bool = False
) -> dict[str, Any]:
    """Points with what they have of error bars and labels, the front as steps, the budgets' bounds as lines."""
    bounds = [
        {"x": bound / 1e6, "text": f"{words} {format_count(bound)}", "align": "right", "dx": -6}
        for low, high in dict.fromkeys(budget.bounds().get("macs", (None, None)) for budget in budgets)
        for bound, words in ((low, "at least"), (high, "budget"))
        if bound is not None
    ]
    at = [dot["x"] for dot in dots] + [bound["x"] for bound in bounds]
    heights = [value for dot in dots for value in (dot.get("low", dot["y"]), dot.get("high", dot["y"]))]
    labelled = any("label" in dot for dot in dots)
    span, rise = max(at) - min(at) or max(at) * 0.1, max(heights) - min(heights) or 1.0
    sides = 0.12 if labelled else 0.05
    for bound in bounds:
        if bound["x"] < min(at) + span / 3:  # the left edge is near
            bound |= {"align": "left", "dx": 6}
    low, high = min(heights) - 0.12 * rise, max(heights) + 0.12 * rise
    if loss:
        low, high = max(min(heights), 1e-6) / 1.25, max(heights) * 1.25
    grey = {"stroke": "var(--muted)", "strokeDash": [4, 4], "strokeWidth": 1}
    words = {"y": {"signal": "height - 7"}, "dx": field("dx"), "align": field("align"), "fontSize": 11}
    front = {"interpolate": "step-after", "stroke": "var(--accent)", "strokeWidth": 1.5, "strokeOpacity": 0.7}
    ends = {
        "y": {"scale": "y", "signal": "isValid(datum.low) ? datum.low : datum.y"},
        "y2": {"scale": "y", "signal": "isValid(datum.high) ? datum.high : datum.y"},
    }
    bar = {"stroke": field("colour"), "strokeWidth": 1.6, "strokeOpacity": 0.75}
    marks: list[dict[str, Any]] = [
        mark("rule", "bounds", x=AT["x"], y=0, y2={"signal": "height"}, **grey),
        mark("text", "bounds", x=AT["x"], text=field("text"), fill="var(--muted)", **words),
        mark("line", "front", **AT, **front),
        mark("rule", "dots", x=AT["x"], **ends, **bar),
        points(field("size"), field("colour"), shape=field("shape"), strokeWidth=1.5),
    ]
    if labelled:
        marks += _label_marks()
        _place(dots, (min(at) - sides * span, max(at) + sides * span), (low, high), height)
    return chart(
        height,
        MACS_AXIS,
        y,
        ticks=log_ticks(low, high) if loss else None,
        data=[
            {"name": "dots", "values": dots},
            {
                "name": "front",
                "source": "dots",
                "transform": [
                    {"type": "filter", "expr": "datum.front"},
                    {"type": "collect", "sort": {"field": "x"}},
                ],
            },
            {"name": "bounds", "values": bounds},
        ],
        scales=[
            {
                "name": "x",
                "type": "linear",
                "range": "width",
                "zero": False,
                "domain": [min(at) - sides * span, max(at) + sides * span],
            },
            {
                "name": "y",
                "type": "log" if loss else "linear",
                "range": "height",
                "zero": False,
                "reverse": loss,
                "domain": [low, high],
            },
        ],
        marks=marks,
    )


#: Widths of a chart for which labels are placed; a chart takes those of the next narrower one.
_WIDTHS = (300, 560, 860)
#: Pixels of a chart beside and above its plot.
_BESIDE, _ABOVE = 46, 76


def _place(dots: list[dict[str, Any]], xs: tuple[float, float], ys: tuple[float, float], height: int) -> None:
    """Give each dot the places of its label, one for each of `_WIDTHS`."""
    tall = height - _ABOVE
    order = sorted(range(len(dots)), key=lambda index: dots[index]["priority"])
    for dot in dots:
        dot["places"] = []
    for width in _WIDTHS:
        wide = width - _BESIDE

        def down(y: float) -> float:
            return tall * (ys[1] - y) / (ys[1] - ys[0])

        points = [
            Point(
                wide * (dots[i]["x"] - xs[0]) / (xs[1] - xs[0]),
                down(dots[i]["y"]),
                down(dots[i]["low"]),
                down(dots[i]["high"]),
                dots[i]["label"],
            )
            for i in order
        ]
        corners = sorted(((p.x, p.y) for i, p in zip(order, points, strict=True) if dots[i]["front"]))
        steps = [(one[0], one[1], other[0], one[1]) for one, other in pairwise(corners)]
        steps += [(other[0], one[1], other[0], other[1]) for one, other in pairwise(corners)]
        for i, place in zip(order, place_labels(points, wide, tall, steps), strict=True):
            dots[i]["places"].append({"dx": place.dx, "dy": place.dy, "align": place.align})


def _label_marks() -> list[dict[str, Any]]:
    """The labels, and a line to each that stands away from its point."""
    narrower = "".join(f"width < {width - _BESIDE} ? {index} : " for index, width in enumerate(_WIDTHS[1:]))
    at = f"datum.places[{narrower}{len(_WIDTHS) - 1}]"
    there = {"dx": {"signal": f"{at}.dx"}, "dy": {"signal": f"{at}.dy"}, "align": {"signal": f"{at}.align"}}
    text = {**AT, **there, "baseline": "middle", "text": field("label"), "fontWeight": field("weight")}
    lead = mark(
        "rule",
        "dots",
        **AT,
        x2=AT["x"] | {"offset": {"signal": f"{at}.dx"}},
        y2=AT["y"] | {"offset": {"signal": f"{at}.dy"}},
        stroke="var(--axis)",
        opacity={"signal": f"abs({at}.dy) > 20 ? 1 : 0"},
    )
    # other lines end at a rim around the letters
    rim = mark("text", "dots", **text, stroke="var(--surface)", strokeWidth=4, strokeJoin="round")
    letters = mark("text", "dots", **text, fill="var(--ink)")
    return [{**one, "interactive": False} for one in (lead, rim, {**letters, "name": "labels"})]
