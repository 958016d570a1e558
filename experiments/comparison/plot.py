"""Pictures of results."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from experiments.training.retrain import Result
from search_space.base.atomic import replacing
from search_space.network_cost import cost
from strategies.budget.budget import Budget


def plot_results(results: list[Result], budgets: list[Budget], data_name: str, path: Path) -> None:
    """Test accuracy against MACs, one point a network with its standard deviation, each budget as a line (PNG)."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2, 4.4), dpi=150, layout="constrained")
        axes = figure.subplots()
        for index, result in enumerate(results):
            searched = "winner" in result.name
            axes.errorbar(
                cost(result.architecture).macs / 1e6,
                100 * result.summary.mean,
                yerr=100 * result.summary.std if result.summary.std is not None else None,
                fmt="o" if searched else "s",
                markersize=8,
                capsize=4,
                color=f"C{index}",
                label=result.name,
            )
        for budget in dict.fromkeys(budgets):
            low, high = budget.bounds().get("macs", (None, None))
            for bound, text in ((high, "budget: at most"), (low, "budget: at least")):
                if bound is not None:
                    label = f"{text} {bound / 1e6:g}M"
                    axes.axvline(bound / 1e6, color="0.5", linestyle="--", linewidth=1, label=label)
        counts = sorted({len(result.seeds) for result in results})
        seeds = " or ".join(map(str, counts))
        axes.set_xlabel("MACs a forward pass, millions")
        axes.set_ylabel(f"test accuracy, % (mean ± std, n = {seeds})" if counts != [1] else "test accuracy, % (n = 1)")
        axes.set_title(data_name)
        axes.grid(alpha=0.3)
        axes.margins(x=0.15, y=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        with replacing(path) as temporary:
            figure.savefig(temporary)
