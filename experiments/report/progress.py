"""A search as it went on: scores and the best so far, and curves over the epochs of a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.colors import to_hex

from experiments.figures import network_colour
from experiments.report.contents import Measure, Trial
from experiments.report.vega import AT, Figure, chart, field, log_ticks, mark, padded, points
from strategies.budget.budget import Budget, format_count

#: What is drawn of the epochs of a supernet: the figure's name, its axis, a unit, and {column: what it is called}.
_CURVES = (
    ("accuracy", "accuracy, %", 0.01, {"train_accuracy": "training", "val_accuracy": "validation"}),
    ("loss", "loss", 1.0, {"train_loss": "training", "val_loss": "validation"}),
    ("expected_cost", "expected MACs, millions", 1e6, {"expected_macs": "expected"}),
    ("entropy", "entropy of the choices, nats", 1.0, {"architecture_entropy": "entropy"}),
)


def progress_figure(trials: Sequence[Trial], measure: Measure, family: str) -> Figure:
    """Every score in order, and the best so far of each rung as a line."""
    colour, best, rung = to_hex(network_colour(family)), None, 0
    dots: list[dict[str, Any]] = []
    line: list[dict[str, Any]] = []
    rungs = max(trial.rung for trial in trials)
    for trial in trials:
        if trial.score is None:
            continue
        y = measure.shown(trial)
        best = y if best is None or trial.rung != rung else (min if measure.is_loss else max)(best, y)
        rung = trial.rung
        size = 34 + 26 * trial.rung
        dots.append({"x": trial.number + 1, "y": y, "size": size, "rung": trial.rung, "tip": trial.tip()})
        line.append({"x": trial.number + 1, "y": best})
    end = [{**line[-1], "text": f"best so far: {best:.3g}"}]
    several = (
        f" Larger points: trained on, for the {rungs + 1} rungs of the search, each with its line." if rungs else ""
    )
    marks = [
        mark("line", "best", **AT, interpolate="step-after", stroke=colour, strokeWidth=2),
        points(field("size"), colour, fillOpacity=0.55),
        mark("text", "end", **AT, dy=-10, align="right", text=field("text"), fontWeight=650, fill="var(--ink)"),
    ]
    good = [trial for trial in trials if trial.score is not None]
    diverged = len(trials) - len(good)
    values = [measure.shown(trial) for trial in good]
    ys = padded(min(values), max(values), log=measure.is_loss)
    return Figure(
        "progress",
        f"The search, score by score: {measure.name}",
        f"{len(trials)} scores in their order; the line is the best so far.{several}"
        + (f" {diverged} training{'' if diverged == 1 else 's'} diverged." if diverged else ""),
        f"{len(trials)} scores; the first is {values[0]:.3g}, the best {best:.3g}.",
        chart(
            320,
            "architectures scored",
            measure.axis,
            ticks=log_ticks(*ys) if measure.is_loss else None,
            data=[{"name": "dots", "values": dots}, {"name": "best", "values": line}, {"name": "end", "values": end}],
            scales=[
                {"name": "x", "type": "linear", "range": "width", "domain": [0, len(trials) + 1], "zero": False},
                {
                    "name": "y",
                    "type": "log" if measure.is_loss else "linear",
                    "range": "height",
                    "domain": ys,
                    "reverse": measure.is_loss,
                    "zero": False,
                },
            ],
            marks=marks,
        ),
    )


def curve_figures(epochs: Sequence[Mapping[str, float]], budgets: Sequence[Budget], family: str) -> list[Figure]:
    """What there is of accuracy, loss, expected cost and entropy over the epochs of a supernet."""
    figures = []
    for name, axis, unit, columns in _CURVES:
        own = {words: column for column, words in columns.items() if any(column in row for row in epochs)}
        if not own:
            continue
        points = [
            {"x": row["epoch"] + 1, "y": row[column] / unit, "line": words}
            for words, column in own.items()
            for row in epochs
            if column in row
        ]
        bounds = [bound for budget in budgets if (bound := budget.bounds().get("macs", (None, None))[1]) is not None]
        limit = []
        if name == "expected_cost" and bounds:
            limit = [{"y": min(bounds) / unit, "text": f"budget {format_count(min(bounds))}"}]
        title = axis.partition(",")[0]
        first, last = points[0]["y"], points[-1]["y"]
        figures.append(
            Figure(
                f"curve_{name}",
                f"{title[0].upper()}{title[1:]} over the epochs",
                {
                    "expected_cost": "What a network drawn by the probabilities costs on average.",
                    "entropy": "Near 0 the search has made up its mind.",
                    "accuracy": "Of the supernet, on what it learns from.",
                    "loss": "Of the supernet, on what it learns from.",
                }[name],
                f"{axis}: {first:.3g} after the first epoch, {last:.3g} after the last of {len(epochs)}.",
                _lines(points, limit, axis, to_hex(network_colour(family)), len(epochs)),
            )
        )
    return figures


def _lines(
    points: list[dict[str, Any]], limits: list[dict[str, Any]], axis: str, colour: str, epochs: int
) -> dict[str, Any]:
    names = list(dict.fromkeys(point["line"] for point in points))
    values = [point["y"] for point in points] + [limit["y"] for limit in limits]
    ends = [[point for point in points if point["line"] == name][-1] for name in names] if len(names) > 1 else []
    across = {"x": 0, "x2": {"signal": "width"}, "y": AT["y"], "stroke": "var(--muted)", "strokeDash": [4, 4]}
    curve = {"stroke": colour, "strokeWidth": 2, "interpolate": "monotone", "strokeDash": field("line", "dash")}
    marks = [
        mark("rule", "limits", **across),
        mark("text", "limits", x=4, y=AT["y"], dy=-5, text=field("text"), fontSize=11, fill="var(--muted)"),
        {
            "type": "group",
            "from": {"facet": {"name": "own", "data": "points", "groupby": "line"}},
            "marks": [mark("line", "own", **AT, **curve)],
        },
        mark("text", "ends", **AT, dy=-9, align="right", text=field("line"), fill="var(--ink)"),
    ]
    low, high = min(values), max(values)
    spec = chart(
        210,
        "epoch",
        axis,
        data=[
            {"name": "points", "values": points},
            {"name": "limits", "values": limits},
            {"name": "ends", "values": ends},
        ],
        scales=[
            {"name": "x", "type": "linear", "range": "width", "domain": [1, max(2, epochs)], "zero": False},
            {"name": "y", "type": "linear", "range": "height", "domain": padded(low, high), "zero": False},
            {"name": "dash", "type": "ordinal", "domain": names, "range": [[1, 0], [5, 3]][: len(names)]},
        ],
        marks=marks,
    )
    return {**spec, "width": 460}
