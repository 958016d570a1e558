"""What a comparison will hold, before anything is trained: networks, what they are called, where they are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from experiments.comparison.controls import controls
from experiments.comparison.rows import Role
from experiments.options.config import SearchConfig
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from experiments.search.pareto import pareto_networks
from search_space.base.checks import known_names, refusal, unknown
from search_space.blueprint import AnyNetwork
from strategies.budget.budget import Budget


@dataclass(frozen=True)
class Entry:
    """A network of a comparison.

    Attributes:
        label: what tables call it; `distinct` makes labels so.
        name: what a user may call it as well.
        family, budget, role, folder: as of `experiments.comparison.rows.Row`.
        network: as a value.
        home: of its trainings.
    """

    label: str
    name: str
    family: str
    network: AnyNetwork
    budget: Budget | None
    role: Role
    home: Path
    folder: Path | None = None


def entries(
    runs: Sequence[RunFolder], configs: Sequence[SearchConfig], baselines: list[str], pareto: int, task: SearchTask
) -> list[Entry]:
    """Winners, up to ``pareto`` more networks of each run's Pareto set, and the controls that ``baselines`` ask for.

    A winner is held against the budget it was searched under, a control against that of the first run, whose images
    ``task`` has.
    """
    found = []
    for run, config in zip(runs, configs, strict=True):
        strategy, winner = config.strategy.name, run.read_winner()
        of_run = partial(Entry, family=strategy, budget=config.budget, folder=run.path)
        label, name = f"{strategy} winner", run.path.resolve().name
        found.append(of_run(label, name, network=winner, role="winner", home=run.retrain / "winner"))
        members = pareto_networks(run, config) if pareto else []
        others = [(trial, network) for trial, network in members if network != winner]
        for position in _spread(len(others), pareto):
            trial, network = others[position]
            label, name = f"{strategy} Pareto, trial {trial}", f"pareto-{trial}"
            found.append(of_run(label, name, network=network, role="pareto", home=run.retrain / name))
    first = configs[0]
    for control in controls(baselines, task, runs[0]) if baselines else []:
        own = (control.label, control.name, control.family, control.network, first.budget, control.role)
        found.append(Entry(*own, home=runs[0].retrain / control.name))
    return found


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of the positions below ``count``, the first and the last among them, evenly apart."""
    return sorted({round(position) for position in np.linspace(0, count - 1, min(count, most)).tolist()})


def distinct(labels: Sequence[str], folders: Sequence[Path | None]) -> list[str]:
    """``labels``, those of several networks, as winners of one strategy, with their folder behind them."""
    paths = [folder.resolve() for folder in folders if folder is not None]
    short = len({path.name for path in set(paths)}) == len(set(paths))

    def full(label: str, folder: Path | None) -> str:
        if folder is None or list(labels).count(label) == 1:
            return label
        return f"{label} ({folder.resolve().name if short else folder.resolve()})"

    return [full(label, folder) for label, folder in zip(labels, folders, strict=True)]


def find_reference(
    wanted: str | None, labels: Sequence[str], names: Sequence[str], roles: Sequence[Role]
) -> str | None:
    """The label of the network that all are held against: by default the first winner; None if there is no winner.

    ``wanted`` is a label or a name; InvalidRequest if no network has it, or several do.
    """
    if wanted is None:
        return labels[roles.index("winner")] if "winner" in roles else None
    found = [label for label, name in zip(labels, names, strict=True) if wanted in (label, name)]
    if not found:
        raise unknown("reference", wanted, labels)
    if len(found) > 1:
        raise refusal("reference", wanted, "is the name of several networks", f"give one of {known_names(found)}")
    return found[0]
