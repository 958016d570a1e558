"""One HTML page on runs and their comparison: all that there is so far, what is missing, and the figures as files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.colors import to_hex

from experiments.figures import network_colour
from experiments.report.accuracy import compared_figure, scored_figure
from experiments.report.contents import Compared, Run, read_comparison, read_run
from experiments.report.drawing import NARROW, WIDE, draw, families_of
from experiments.report.families import NEUTRAL, family, family_colour
from experiments.report.probabilities import probability_figure
from experiments.report.progress import curve_figures, progress_figure
from experiments.report.ranking import card, ranking_figure
from experiments.report.table import table
from experiments.report.vega import Figure, save, save_svg, script
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import write_text
from experiments.runs.folder import RunFolder
from experiments.significance import named_p
from search_space.architecture import SKIP
from search_space.network_cost import cost
from search_space.ops import operators
from strategies.budget.budget import Budget, format_count

PAGE = "index.html"
COMPARISON = "comparison.csv"
_STEMS = ("winner", "accuracy_macs", "scored", "progress", "curve_*", "probabilities", "ranking")
#: those of a second run end with its number
KIND = FolderKind(
    "a report page",
    (PAGE, *(f"{stem}{end}.{kind}" for stem in _STEMS for end in ("", "-[0-9]*") for kind in ("svg", "png"))),
)


def write_page(runs: Sequence[RunFolder], out: Path, *, title: str | None = None, overwrite: bool = False) -> Path:
    """Write ``index.html`` and the figures, as PNG and SVG, to ``out``; returns the path of the page.

    Args:
        runs: searches, at whatever stage.
        out: the folder; a comparison in it is part of the page.
        title: what the data are called; by default as the first run's config says.
        overwrite: whether an older page may be replaced.

    Raises:
        InvalidRequest: the folder holds such files already, or a file of a run is damaged.
    """
    folder = ClaimedFolder(out, KIND)
    folder.check(overwrite=overwrite)
    read = [read_run(run) for run in runs]
    comparison = read_comparison(out / COMPARISON)
    sections = [_run_section(run, f"-{number}" if number > 1 else "") for number, run in enumerate(read, 1)]
    figures = [figure for section in sections for figure in section["figures"].values()]
    for section in sections:
        figures += section["curves"]
    context: dict[str, Any] = {"runs": sections, "missing": _missing(read, comparison is not None), "comparison": None}
    if comparison is not None:
        networks, frame = comparison
        figure = compared_figure(networks, [run.config.budget for run in read])
        figures.append(figure)
        headings, rows = table(frame)
        colours = {one.name: to_hex(network_colour(one.family)) for one in networks}
        context["comparison"] = {"figure": figure, "headings": headings, "rows": rows, "colours": colours}
    context |= _head(read, comparison[0] if comparison else [], title)
    context |= {
        "style": _source("style.css"),
        "vega": Markup(script()) if figures else "",
        "behaviour": _source("page.js"),
        "specs": {figure.name: figure.spec for figure in figures},
        "families": {name: family_colour(family(name)) for name in operators} | {SKIP: NEUTRAL},
    }
    text = _environment().get_template("page.html").render(context)
    folder.claim(overwrite=overwrite)
    for figure in figures:
        save(figure, out)
    for section in sections:
        if section["drawing"]:
            save_svg(section["drawing"]["wide"], section["drawing"]["name"], out)
    write_text(out / PAGE, text)
    return out / PAGE


def _environment() -> Environment:
    # names of classes, folders and networks are the user's: everything is escaped
    return Environment(
        loader=PackageLoader("experiments.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _source(name: str) -> Markup:
    """A file of the templates as it is."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _head(runs: Sequence[Run], networks: Sequence[Compared], title: str | None) -> dict[str, Any]:
    """What stands at the top: what the page is about, the most important numbers, the winner's leads."""
    first = runs[0] if runs else None
    winner = next((one for one in networks if one.role == "winner"), None)
    tiles: list[tuple[str, str, str]] = []  # what it is, the number, what follows it smaller
    if winner is not None:
        spread = "" if winner.std is None else f"± {100 * winner.std:.2f} %"
        runs_of_it = f"n = {winner.n}" if winner.n > 1 else "one training"
        tiles.append((f"test accuracy of the winner, {runs_of_it}", f"{100 * winner.accuracy:.2f}", spread or "%"))
    if first is not None and first.winner is not None:
        costs = cost(first.winner)
        bound = first.config.budget.bounds().get("macs", (None, None))[1]
        share = "" if bound is None else f", {costs.macs / bound:.0%} of the budget"
        tiles.append((f"MACs per image{share}", format_count(costs.macs), ""))
        tiles.append(("parameters", format_count(costs.params), ""))
    if first is not None and first.trials:
        tiles.append(("architectures scored", f"{len({trial.architecture for trial in first.trials}):,}", ""))
    elif first is not None and first.epochs:
        tiles.append(("epochs of the supernet", str(len(first.epochs)), ""))
    leads = []
    for one in networks:
        if winner is None or one.lead is None:
            continue
        mean, low, high, p = one.lead
        span = "" if low is None or high is None else f"95 % interval {100 * low:.2f} to {100 * high:.2f}, "
        chance = "one seed" if p is None else named_p(p)
        words = f"{abs(100 * mean):.2f} points {'ahead of' if mean > 0 else 'behind'}"
        leads.append((words, one.short, f"{span}{chance}".replace("-", "−")))
    if title is None:
        title = first.config.data.display_name if first is not None else "Comparison"
    budget = "" if first is None else readable_budget(first.config.budget)
    return {"title": title, "tiles": tiles, "leads": leads, "first": first, "budget": budget}


def _run_section(run: Run, suffix: str) -> dict[str, Any]:
    """What the page shows of one search."""
    strategy = run.config.strategy.name
    figures: dict[str, Figure] = {}
    scored = [trial for trial in run.trials if trial.score is not None]
    if run.measure is not None and scored:
        figures["progress"] = progress_figure(run.trials, run.measure, strategy)
        figures["scored"] = scored_figure(run.trials, run.measure, [run.config.budget], strategy)
    if run.probabilities is not None and len(run.probabilities[0]) > 0:
        figures["probabilities"] = probability_figure(*run.probabilities)
    curves = curve_figures(run.epochs, [run.config.budget], strategy) if len(run.epochs) > 1 else []
    ranking = None
    if run.ranking is not None:
        ranking = card(run.ranking)
        figure = ranking_figure(run.ranking, to_hex(network_colour(strategy)))
        if figure is not None:
            figures["ranking"] = figure
    drawing = None
    if run.winner is not None:
        name = f"{strategy} winner"
        drawing = {
            "name": f"winner{suffix}",
            "wide": Markup(draw(run.winner, name, WIDE)),
            "narrow": Markup(draw(run.winner, name, NARROW)),
            "families": families_of(run.winner),
            "text": str(run.winner),
        }
    made, config = run.provenance, run.config
    facts = {
        "folder": str(run.folder.path),
        "command": shlex.join(map(str, made.get("command", []))),
        "begun": made.get("time"),
        "seed": made.get("seed"),
        "data": f"{config.data.name}, {config.data.image_size} × {config.data.image_size} pixels",
        "budget": readable_budget(config.budget),
        "recipe of the search": _recipe(config.search),
        "recipe of the final trainings": f"{_recipe(config.retrain.recipe)}; on {config.retrain.train_on}, seeds"
        f" {', '.join(map(str, config.retrain.seeds))}",
        "machine": f"{made.get('processor')}, {made.get('cores')} cores, {made.get('accelerator')}",
        "versions": ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items() if version),
        "revision": made.get("revision"),
    }
    return {
        "run": run,
        "name": run.folder.path.resolve().name,
        "strategy": strategy,
        "figures": {key: _named(figure, suffix) for key, figure in figures.items()},
        "curves": [_named(figure, suffix) for figure in curves],
        "ranking": ranking,
        "path": shlex.quote(str(run.folder.path)),
        "drawing": drawing,
        "facts": {name: value for name, value in facts.items() if value not in (None, "")},
        "config": yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True),
    }


def _named(figure: Figure, suffix: str) -> Figure:
    return Figure(figure.name + suffix, figure.title, figure.caption, figure.alt, figure.spec)


def readable_budget(budget: Budget) -> str:
    """``macs <= 300.00k`` as ``MACs ≤ 300.00k``."""
    return str(budget).replace("macs ", "MACs ").replace("<=", "≤").replace(">=", "≥")


def _recipe(recipe: Any) -> str:
    return f"{recipe.epochs} epochs, batch {recipe.batch_size}, peak learning rate {recipe.learning_rate:g}"


def _missing(runs: Sequence[Run], compared: bool) -> list[tuple[str, str]]:
    """What is not there yet, and the command that makes it."""
    missing = []
    for run in runs:
        path = shlex.quote(str(run.folder.path))
        if run.winner is None:
            done = f"{len(run.trials)} scores" if run.trials else f"{len(run.epochs)} epochs"
            what = f"The search in {run.folder.path} is not finished ({done}): there is no winner."
            missing.append((what, f"sepnas search … --out {path} --resume"))
    if not compared and runs and all(run.winner is not None for run in runs):
        paths = " ".join(shlex.quote(str(run.folder.path)) for run in runs)
        missing.insert(0, ("Nothing has been compared yet: there are no test accuracies.", f"sepnas compare {paths}"))
    return missing
