"""The files of a reproduced table: ours beside the published figures, what the paper concludes, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from evaluators.measuring.statistics import Difference, Summary, paired_difference, summarise
from experiments.options.config import SearchConfig
from experiments.reproduce.plot import Curve, plot
from experiments.reproduce.table import PaperTable, Published, Row, Setting
from experiments.runs.files import write_text
from experiments.runs.task import DataTask
from experiments.significance import SIGNIFICANT, shown_p
from experiments.tables import table as text_table
from experiments.training.retrain import Result
from search_space.blueprint import AnyNetwork
from search_space.network_cost import cost
from strategies.budget.budget import format_count


@dataclass(frozen=True)
class Trained:
    """A row of a table with its trainings, which lie in ``home``."""

    row: Row
    result: Result
    home: Path


def report_files(table: PaperTable) -> tuple[str, str, str]:
    """Names of the table's CSV, page and picture."""
    return f"{table.name}.csv", f"{table.name}.md", f"{table.name}.png"


def write_report(
    table: PaperTable,
    setting: str,
    trained: Sequence[Trained],
    config: SearchConfig,
    task: DataTask,
    out: Path,
    *,
    width: float = 1.0,
) -> None:
    """Write the files of `report_files` to ``out``.

    Args:
        table: of a paper.
        setting: whose published figures are meant.
        trained: its rows that have a training.
        config: how they were trained.
        task: on which images.
        width: that every row's width was multiplied by.
    """
    csv, page, picture = report_files(table)
    values = {one.row.label: values_of(table, trained, one) for one in trained}
    write_text(out / csv, as_frame(table, setting, trained, values).to_csv(index=False))
    write_text(out / page, as_markdown(table, setting, trained, values, config, task, width=width))
    curves = [
        Curve(
            one.row.label,
            one.row.series or one.row.label,
            getattr(cost(one.result.architecture), table.axis) if table.axis in ("macs", "params") else None,
            summarise(list(values[one.row.label].values())),
            one.row.published.get(setting),
            one.home,
        )
        for one in trained
        if values[one.row.label]
    ]
    if curves:
        plot(curves, table, f"{table.source}: {_title(config)}", out / picture)


def values_of(table: PaperTable, trained: Sequence[Trained], one: Trained) -> dict[int, float]:
    """What the published figures of ``table`` are of, in per cent, by seed: empty if it needs a row that is missing."""
    own = {seed: 100 * value for seed, value in one.result.by_seed.items()}
    if table.measure == "accuracy":
        return own
    first = next((other for other in trained if other.row == table.rows[0]), None)
    if first is None:
        return {}
    base = first.result.by_seed
    return {seed: abs(value - 100 * base[seed]) for seed, value in own.items() if seed in base}


def as_frame(
    table: PaperTable, setting: str, trained: Sequence[Trained], values: dict[str, dict[int, float]]
) -> pd.DataFrame:
    """A row for each row of the paper's table; figures in per cent, None where there is none."""
    known = {one.row.label: one for one in trained}
    rows = []
    for row in table.rows:
        published, one = row.published.get(setting), known.get(row.label)
        ours = _summary(values.get(row.label, {}))
        line = {
            "row": row.label,
            "network": row.network,
            "width": row.width,
            "operator": row.operator,
            "published": None if published is None else published.value,
            "published_std": None if published is None else published.std,
            "ours_mean": None if ours is None else ours.mean,
            "ours_std": None if ours is None else ours.std,
            "n": 0 if ours is None else ours.n,
            "seconds_mean": None,
            "macs": None,
            "params": None,
        }
        if one is not None:
            line |= asdict(cost(one.result.architecture))
            line["seconds_mean"] = sum(one.result.seconds) / len(one.result.seconds)
        rows.append(line)
    return pd.DataFrame(rows)


def _summary(values: dict[int, float]) -> Summary | None:
    return summarise(list(values.values())) if values else None


def as_markdown(
    table: PaperTable,
    setting: str,
    trained: Sequence[Trained],
    values: dict[str, dict[int, float]],
    config: SearchConfig,
    task: DataTask,
    *,
    width: float = 1.0,
) -> str:
    """The page; arguments as of `write_report`, ``values`` as of `values_of` by label."""
    paper = table.settings[setting]
    what = "test accuracy" if table.measure == "accuracy" else "distance of the test error from the first row's"
    unit = "%" if table.measure == "accuracy" else "points"
    known = {one.row.label: one for one in trained}
    head = ["row", "network", "MACs", "params", f"published, {unit}", f"ours, {unit}", "n", "s per training"]
    lines = [
        f"# {table.source}, on {_title(config)}: {table.summary}",
        "",
        f"| {' | '.join(head)} |",
        f"|---|---|{'---:|' * (len(head) - 2)}",
    ]
    for row in table.rows:
        cells = _cells(row, row.published.get(setting), known.get(row.label), values.get(row.label, {}))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Figures are of {what}: the paper's on {paper.data}, ours as mean ± sample standard deviation."]
    lines += _claims(table, setting, values)
    lines += ["", "What differs from the paper:", ""]
    lines += [f"- {line}" for line in differences(paper, trained, config, task, width=width)]
    lines += [f"- left open by the paper: {line}" for line in paper.open]
    lines += [f"- {line}" for line in table.notes]
    made = trained[0].result.provenance
    machine = f"{made['processor']}, {made['cores']} cores, {made['accelerator']}; torch {made['versions']['torch']}"
    lines += ["", f"Machine of the first network: {machine}.", "", f"![{table.source}]({report_files(table)[2]})", ""]
    return "\n".join(lines)


def _title(config: SearchConfig) -> str:
    return config.data.display_name


def _cells(row: Row, published: Published | None, one: Trained | None, values: dict[int, float]) -> list[str]:
    name = row.network or "quoted alone"
    name += f", width {row.width:g}" if row.width != 1 and row.network is not None else ""
    name += "" if row.operator is None else f", every block {row.operator}"
    counts, seconds = ["", ""], ""
    if one is not None:
        counts = [format_count(count) for count in asdict(cost(one.result.architecture)).values()]
        seconds = f"{sum(one.result.seconds) / len(one.result.seconds):.0f}"
    ours = _summary(values)
    spread = "" if ours is None or ours.std is None else f" ± {ours.std:.2f}"
    shown = "" if ours is None else f"{ours.mean:.2f}{spread}"
    return [
        row.label,
        name,
        *counts,
        "" if published is None else str(published),
        shown if one is not None or row.network is None else "not trained yet",
        "" if ours is None else str(ours.n),
        seconds,
    ]


def _claims(table: PaperTable, setting: str, values: dict[str, dict[int, float]]) -> list[str]:
    """What the paper concludes, beside ours: a row for each pair whose networks are both trained."""
    published = {row.label: row.published.get(setting) for row in table.rows}
    # of distances the smaller is the better
    sign = 1 if table.measure == "accuracy" else -1
    rows = []
    for better, worse in table.claims:
        first, second = values.get(better, {}), values.get(worse, {})
        if not set(first) & set(second):
            continue
        one, other = published[better], published[worse]
        theirs = "" if one is None or other is None else f"{sign * (one.value - other.value):+.2f}"
        ours = paired_difference(first, second) if sign == 1 else paired_difference(second, first)
        rows.append(f"| {better} over {worse} | {theirs} | {' | '.join(_difference_cells(ours))} |")
    if not rows:
        return []
    return [
        "",
        "| the paper's conclusion | published, points | ours, points | 95 % interval | p | ours says |",
        "|---|---:|---:|---:|---:|---|",
        *rows,
        "",
        "Ours are paired by seed, each p is that of a two-sided paired t-test of one comparison alone.",
    ]


def _difference_cells(difference: Difference) -> list[str]:
    own = difference.summary
    interval = "" if own.interval is None else " to ".join(f"{end:.2f}" for end in own.interval)
    shown = difference.p is not None and difference.p < SIGNIFICANT
    verdict = "undecided" if not shown else "so" if own.mean > 0 else "the opposite"
    return [f"{own.mean:+.2f}", interval, "" if difference.p is None else shown_p(difference.p), verdict]


def differences(
    paper: Setting, trained: Sequence[Trained], config: SearchConfig, task: DataTask, *, width: float
) -> list[str]:
    """What was otherwise than in the paper, a line each."""
    options, sizes = config.retrain, task.data.sizes
    images = sizes["train"] + (sizes["validation"] if options.train_on == "train+validation" else 0)
    theirs = f"{paper.data}: {paper.train_images:,} training and {paper.test_images:,} test images of"
    theirs += f" {paper.image_size} pixels, {paper.classes} classes"
    ours = f"{_title(config)}: {images:,} and {sizes['test']:,} of {config.data.image_size} pixels, {len(task.classes)}"
    seeds = sorted({len(one.result.seeds) for one in trained})
    lines = [
        f"data: ours {ours} classes; the paper's {theirs}",
        f"trainings: ours {' or '.join(map(str, seeds))} of each row; the paper's {paper.trainings or 'not said'}",
    ]
    if task.channels != 3:
        lines.append("channels: ours 1 (grey), the paper's 3")
    if width != 1:
        lines.append(f"width: each network's channels times {width:g}")
    theirs_recipe, ours_recipe = asdict(paper.recipe), asdict(options.recipe)
    lines += [
        f"{name}: ours {value}, the paper's {theirs_recipe[name]}"
        for name, value in ours_recipe.items()
        if value != theirs_recipe[name]
    ]
    return lines


def forecast_text(rows: Sequence[tuple[Row, AnyNetwork, float]], trainings: int) -> str:
    """A line for each network with the time of one training, and of all: so many trainings of each."""
    cells = [
        (row.label, *map(format_count, asdict(cost(network)).values()), _duration(seconds))
        for row, network, seconds in rows
    ]
    total = sum(seconds for _, _, seconds in rows) * trainings
    head = ("row", "MACs", "params", "one training")
    return f"{text_table(cells, head, (1, 2, 3))}\nall, {trainings} trainings of each: {_duration(total)} one by one"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
