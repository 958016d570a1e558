"""The report card of `rank`: whether a search's ranking can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.report.contents import Ranking, tip
from experiments.report.vega import Figure, chart, padded, points
from strategies.budget.budget import format_count

#: what costs are called
NAMES = {"macs": "MACs"}
#: keys of the figures of a ranking, and what they are called
_ESTIMATES = {
    "predicted": "the {}",
    "top": "the {}, top fifth alone",
    "ceiling": "a second training: the noise ceiling",
}


def card(ranking: Ranking) -> dict[str, Any]:
    """The answer, the reason, and the rows of the table of taus."""
    figures = ranking.figures
    taus, name = figures["kendall_tau_b"], figures["ranked_by"]
    rows = [(words.format(name), taus.get(key)) for key, words in _ESTIMATES.items()]
    rows += [(f"{NAMES.get(cost, cost)} alone", estimate) for cost, estimate in taus.get("costs", {}).items()]
    return {
        "answer": str(figures["verdict"]["trusted"]),
        "text": str(figures["verdict"]["text"]),
        "rows": [(words, *_shown(estimate)) for words, estimate in rows if estimate is not None],
        "architectures": figures.get("architectures", len(ranking.rows)),
        "name": name,
    }


def ranking_figure(ranking: Ranking, colour: str) -> Figure | None:
    """Stand-alone accuracy against what was predicted; None if nothing was trained well."""
    rows = [row for row in ranking.rows if not row["failed"]]
    if not rows:
        return None
    name = ranking.figures["ranked_by"]
    dots = [
        {
            "x": row["predicted"],
            "y": 100 * row["standalone_accuracy"],
            "tip": tip(
                f"{format_count(int(row['macs']))} MACs",
                str(row["architecture"]),
                predicted=f"{row['predicted']:.4g}",
                **{"accuracy on its own, %": f"{100 * row['standalone_accuracy']:.2f}"},
            ),
        }
        for row in rows
    ]
    return Figure(
        "ranking",
        f"What the {name} predicts, and what training on its own gives",
        f"{len(rows)} architectures. If the ranking could be trusted, the points would rise from left to right.",
        f"{len(rows)} points; Kendall's tau {_shown(ranking.figures['kendall_tau_b']['predicted'])[0]}.",
        chart(
            320,
            f"predicted by the {name}",
            "accuracy on its own, %",
            data=[{"name": "dots", "values": dots}],
            scales=[
                {
                    "name": axis,
                    "type": "linear",
                    "range": side,
                    "zero": False,
                    "domain": padded(min(dot[axis] for dot in dots), max(dot[axis] for dot in dots)),
                }
                for axis, side in (("x", "width"), ("y", "height"))
            ],
            marks=[points(55, colour, fillOpacity=0.7)],
        ),
    )


def _shown(estimate: Mapping[str, Any]) -> tuple[str, str, str]:
    """(tau, its interval, n) as text."""
    value, interval = estimate.get("value"), estimate.get("interval")
    number = "undefined" if value is None else f"{value:.2f}"
    return number, "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}", str(estimate.get("n", ""))
