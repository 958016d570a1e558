"""The Pareto set of a run, of any strategy that measures the accuracy of all architectures, and what fits a wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.figures import draw_bounds, figure
from experiments.options.config import SearchConfig
from experiments.runs.files import write_text
from experiments.runs.folder import RunFolder
from experiments.runs.records import Scored, ScoreRecord
from experiments.runs.task import cost_table
from experiments.tables import table
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.layer_cost import Cost
from search_space.network_cost import cost
from strategies.budget.budget import EXACT_METRICS, Budget, format_count, parse_count
from strategies.multi_trial.pareto import OBJECTIVES, Reference, hypervolume_history, non_dominated
from strategies.options import MultiTrialOptions, Score, StrategyOptions

#: What `write_pareto` leaves in a run's folder.
FILES = ("pareto.csv", "hypervolume.csv", "pareto.png")
#: What was scored where each architecture's accuracy is on record too.
_MEASURED: tuple[Score, ...] = ("validation_accuracy", "negative_validation_loss")
_LABELS = {"macs": "MACs"}
_AXES = {"macs": "MACs per image", "params": "parameters"}
_UNITS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))


@dataclass(frozen=True)
class Member:
    """An architecture of a Pareto set: its number among all that were scored (from 0), accuracy, and costs by name."""

    trial: int
    architecture: Architecture
    accuracy: float
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Front:
    """The architectures that no other one scored beats in accuracy and in each of ``objectives`` (names of costs).

    ``members`` are ordered by the first objective, the cheapest first. ``accuracies`` (n,), nan for failures, and
    ``costs`` ({metric: (n,)}) are those of all that were scored, in their order; ``volumes`` and ``sizes`` (n,) the
    hypervolume and the size of the front after each of them.
    """

    objectives: tuple[str, ...]
    members: tuple[Member, ...]
    reference: Reference
    accuracies: NDArray[np.float64]
    costs: Mapping[str, NDArray[Any]]
    volumes: NDArray[np.float64]
    sizes: NDArray[np.int64]


def pareto_front(
    scored: Sequence[Scored], space: SearchSpace, table: CostTable, budget: Budget, objectives: Sequence[str]
) -> Front:
    """The Pareto set of ``scored``, architectures of ``space`` with their accuracies, by the costs of ``table``.

    InvalidRequest if ``objectives`` are not costs of ``table``, or if nothing has an accuracy.
    """
    reference = Reference.of(table, budget, objectives)
    accuracies = np.array([one.accuracy for one in scored], dtype=np.float64)
    if not np.isfinite(accuracies).any():
        raise InvalidRequest("run: no architecture has an accuracy yet; continue the search with --resume")
    costs = table.evaluate(np.stack([table.indices(space.sample(one.architecture)) for one in scored]))
    scaled = reference.objectives(accuracies, costs)
    members = []
    for trial in np.flatnonzero(non_dominated(scaled)).tolist():
        own_costs = {name: values[trial].item() for name, values in costs.items()}
        members.append(Member(trial, scored[trial].architecture, scored[trial].accuracy, own_costs))
    members.sort(key=lambda member: (member.costs[objectives[0]], -member.accuracy, member.trial))
    return Front(tuple(objectives), tuple(members), reference, accuracies, costs, *hypervolume_history(scaled))


def run_front(run: RunFolder, config: SearchConfig, objectives: Sequence[str] | None = None) -> Front:
    """The Pareto set of what ``run`` has scored so far; looks at no image.

    ``objectives`` are by default those of ``nsga2``'s options, for other strategies MACs and params. InvalidRequest if
    the run's strategy does not measure the accuracies of all architectures alike, or has not yet measured any.
    """
    options = config.strategy.typed_options()
    scored = [] if _in_rungs(options) else ScoreRecord(run.architectures, _MEASURED).scored
    if not scored:
        why = f"has not measured the accuracies of architectures, or not alike ({config.strategy.name})"
        remedy = "give a run of a strategy that does, such as nsga2 or evolution"
        raise InvalidRequest(f"run: {run.path} {why}; {remedy}")
    if objectives is None:
        objectives = options.objectives_beside_accuracy or OBJECTIVES
    first = scored[0].architecture  # what the images were, without a look at them
    space = SearchSpace.create(
        config.space, image_size=first.image_size, in_channels=first.in_channels, classes=first.classes
    )
    return pareto_front(scored, space, cost_table(config, space), config.budget, objectives)


def pareto_networks(run: RunFolder, config: SearchConfig) -> list[tuple[int, Architecture]]:
    """The architectures of the Pareto set of ``run`` with their numbers among all scored, the cheapest first.

    It is that of `run_front`; where some candidates were trained on in rungs, that over loss, MACs and params of those
    that were trained the longest. InvalidRequest as of `run_front`.
    """
    options = config.strategy.typed_options()
    if not _in_rungs(options):
        return [(member.trial, member.architecture) for member in run_front(run, config).members]
    record = ScoreRecord(run.architectures, options.scores)
    numbers = {scored.architecture: number for number, scored in enumerate(record.scored)}
    front: dict[Architecture, Cost] = {}
    for architecture in record.ranked(trained_on=True):  # the best first
        own = cost(architecture)
        if not any(better.macs <= own.macs and better.params <= own.params for better in front.values()):
            front[architecture] = own
    return [(numbers[network], network) for network in sorted(front, key=lambda network: front[network].macs)]


def _in_rungs(options: StrategyOptions) -> TypeGuard[MultiTrialOptions]:
    return isinstance(options, MultiTrialOptions) and len(options.rung_sizes) > 1


def write_pareto(front: Front, budget: Budget, folder: Path) -> None:
    """Write ``pareto.csv`` (a row per member), ``hypervolume.csv`` (one per evaluation) and ``pareto.png``."""
    members = [
        {"trial": m.trial, "accuracy": m.accuracy, **m.costs, "architecture": m.architecture} for m in front.members
    ]
    write_text(folder / FILES[0], pd.DataFrame(members).to_csv(index=False, lineterminator="\n"))
    evaluations = np.arange(1, len(front.volumes) + 1)
    history = pd.DataFrame({"evaluations": evaluations, "hypervolume": front.volumes, "members": front.sizes})
    for kind, accuracy, costs in (("reference", 0, front.reference.worst), ("ideal", 1, front.reference.ideal)):
        corner = {"accuracy": accuracy, **costs}
        history = history.assign(**{f"{kind}_{name}": value for name, value in corner.items()})
    write_text(folder / FILES[1], history.to_csv(index=False, lineterminator="\n"))
    plot_pareto(front, budget.bounds(), folder / FILES[2])


def pick(front: Front, wishes: Sequence[str]) -> Member:
    """The most accurate member that keeps all ``wishes``, the cheaper one of equals.

    A wish is the most that a cost may be: ``"16.7M"`` for MACs, ``"params:1.2M"`` for another objective. InvalidRequest
    for a wish that cannot be read, or if no member keeps them.
    """
    bounds: dict[str, float] = {}
    for wish in wishes:
        metric, bound = _parse_wish(wish, front.objectives)
        bounds[metric] = min(bound, bounds.get(metric, bound))
    fitting = [m for m in front.members if all(m.costs[metric] <= bound for metric, bound in bounds.items())]
    if not fitting:
        wanted = " and ".join(f"at most {_amount(bounds, metric)}" for metric in bounds)
        smallest = []
        for metric in bounds:
            least = min(front.members, key=lambda member: (member.costs[metric], -member.accuracy))
            smallest.append(f"the smallest has {_amount(least.costs, metric)} (accuracy {least.accuracy:.2%})")
        raise InvalidRequest(f"pick: no architecture of the Pareto set has {wanted}; {', '.join(smallest)}")
    return max(fitting, key=lambda m: (m.accuracy, *(-m.costs[name] for name in front.objectives), -m.trial))


def front_table(front: Front, picked: Member | None = None) -> str:
    """The members as text, a line each, with ``picked`` marked; and how much the whole front dominates."""
    costs = list(front.costs)
    rows = []
    for member in front.members:
        amounts = [format_count(member.costs[name]) for name in costs]
        rows.append((member.trial, f"{member.accuracy:.2%}", *amounts, "<- picked" if member is picked else ""))
    header = ("trial", "accuracy", *(_LABELS.get(name, name) for name in costs), "")
    objectives = ", ".join(_LABELS.get(name, name) for name in front.objectives)
    worst = ", ".join(_amount(front.reference.worst, name) for name in front.reference.worst)
    return "\n".join(
        [
            table(rows, header, right=range(2 + len(costs))),
            f"{len(front.members)} of {len(front.accuracies)} scored architectures are in the Pareto set over accuracy,"
            f" {objectives}",
            f"hypervolume {front.volumes[-1]:.4f} (reference point: accuracy 0, {worst}; 1 is the ideal)",
        ]
    )


def _amount(costs: Mapping[str, float], metric: str) -> str:
    return f"{format_count(costs[metric])} {_LABELS.get(metric, metric)}"


def _parse_wish(wish: str, objectives: Sequence[str]) -> tuple[str, float]:
    """``("macs", 16700000)`` of ``"16.7M"`` or ``"macs:16.7M"``."""
    name, colon, value = wish.rpartition(":")
    metric = name.strip() if colon else "macs"
    if metric not in objectives:
        raise InvalidRequest(
            f"pick: {wish!r} bounds {metric or 'nothing'!r}, which is not an objective of this Pareto set; those are"
            f" {', '.join(objectives)}, as in {objectives[-1]}:1.2M"
        )
    if metric in EXACT_METRICS:
        return metric, parse_count(value, "pick")
    try:
        bound = float(value)
    except ValueError:
        raise InvalidRequest(f"pick: {value!r} is not a number; write it like {metric}:5.0") from None
    if not 0 <= bound < float("inf"):
        raise InvalidRequest(f"pick: {value!r} must be a number of at least 0")
    return metric, bound


def plot_pareto(front: Front, bounds: Mapping[str, tuple[float | None, float | None]], path: Path) -> None:
    """Two panels (PNG): every architecture scored, at its first objective, and the hypervolume after each.

    ``bounds`` are those of the budget. Of a front over several costs, a line joins those members that are on it by
    accuracy and the cost shown alone, and colour gives the second cost.
    """
    objectives, costs, volumes = front.objectives, front.costs, front.volumes
    on_front = np.zeros(len(front.accuracies), dtype=bool)
    on_front[[member.trial for member in front.members]] = True
    shown = objectives[0]
    title, unit = _axis(shown, costs[shown])
    x, y = np.asarray(costs[shown], dtype=np.float64) / unit, 100 * front.accuracies
    with figure(path, 10.4, 4.4) as drawing:
        left, right = drawing.subplots(1, 2, width_ratios=(1.7, 1))
        left.scatter(x[~on_front], y[~on_front], s=14, color="0.75", label="scored", zorder=1)
        alone = non_dominated(np.stack([-y, x], axis=1))
        order = np.flatnonzero(alone)[np.argsort(x[alone], kind="stable")]
        left.step(x[order], y[order], where="post", color="C0", linewidth=1.2, zorder=2)
        if len(objectives) > 1:
            second, second_unit = _axis(objectives[1], costs[objectives[1]][on_front])
            colours = {"c": np.asarray(costs[objectives[1]])[on_front] / second_unit, "cmap": "viridis"}
        else:
            second, colours = "", {"color": "C0"}
        members = left.scatter(
            x[on_front], y[on_front], s=42, edgecolors="black", linewidths=0.6, label="Pareto set", zorder=3, **colours
        )
        if second:
            drawing.colorbar(members, ax=left, label=second)
        draw_bounds(left, bounds.get(shown, (None, None)), unit)
        left.set_xlabel(title)
        left.set_ylabel("validation accuracy, %")
        left.set_title(f"{len(front.members)} of {len(front.accuracies)} architectures in the Pareto set", fontsize=10)
        left.grid(alpha=0.3)
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize=8)
        right.step(np.arange(1, len(volumes) + 1), volumes, where="post", color="C0")
        right.set_xlabel("architectures scored")
        right.set_ylabel("hypervolume (1 is the ideal)")
        right.set_title(f"over accuracy, {', '.join(objectives)}", fontsize=10)
        right.grid(alpha=0.3)


def _axis(metric: str, values: NDArray[Any]) -> tuple[str, float]:
    """What an axis of ``metric`` is called, and the unit of its numbers; a user's own cost keeps the user's unit."""
    if metric not in _AXES:
        return metric, 1.0
    for unit, name in _UNITS:
        if np.max(values) >= unit:
            return f"{_AXES[metric]}, {name}", unit
    return _AXES[metric], 1.0
