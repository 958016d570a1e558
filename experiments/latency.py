"""``sepnas latency``: one network's time, or the table of a whole search space as a file of costs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.latency.backends import Backend
from evaluators.latency.table import FittedTable, fit_table, latency_table, space_parts
from evaluators.latency.timing import WARMUP, measure_latency, network_part, time_in_rounds
from experiments.options.config import SearchConfig
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import read_json, sweep, write_json
from experiments.runs.provenance import processor
from experiments.runs.task import SearchTask
from search_space.base.checks import check_int
from search_space.base.errors import InvalidRequest
from search_space.blueprint import AnyNetwork
from search_space.cost_file import FORMAT, VERSION
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet

_TIMINGS = "timings.json"
PARTIAL_TABLE = FolderKind(
    name="timings",
    files=(_TIMINGS, "*.onnx"),
    marker="conditions.json",
    deleted_whole=True,
    remedy="delete it or give another file",
)


def network_latency(
    architecture: AnyNetwork, name: str, backend: Backend, *, batch: int = 1, repeats: int = 100
) -> dict[str, Any]:
    """Measure a network; a JSON value with the times in milliseconds."""
    milliseconds = measure_latency(architecture, backend, batch=batch, repeats=repeats)
    lower, median, upper = np.quantile(milliseconds, (0.25, 0.5, 0.75)).tolist()
    return {
        "network": name,
        **_conditions(backend, batch, repeats),
        "counted": len(milliseconds),
        # then the interrupted calls count too
        "disturbed": len(milliseconds) > repeats,
        "median_ms": median,
        "lower_ms": lower,
        "upper_ms": upper,
    }


def latency_text(value: Mapping[str, Any]) -> str:
    """What `network_latency` returns, for people."""
    lines = [
        "{network}: {median_ms:.4g} ms (quartiles {lower_ms:.4g} to {upper_ms:.4g}) per batch of {batch}",
        "  {backend}, {threads} thread{s}, {version}, {processor}; {counted} calls after {warmup} for warm-up",
    ]
    if value["disturbed"]:
        lines.append("  most calls were interrupted by other processes: repeat it on an idle machine")
    return "\n".join(lines).format(**value, s="s" if value["threads"] > 1 else "")


def write_table(
    config: SearchConfig,
    out: Path,
    backend: Backend,
    *,
    metric: str = "latency_ms",
    batch: int = 1,
    repeats: int = 50,
    rounds: int = 5,
    networks: int = 10,
    overwrite: bool = False,
) -> FittedTable:
    """Time the parts of the config's space and ``networks`` random architectures of it; write the costs to ``out``.

    Timings are kept in the folder ``<out>.partial`` until the table is complete: the same request goes on with them.
    """
    for field, value in {"batch": batch, "repeats": repeats, "rounds": rounds, "networks": networks}.items():
        check_int(field, value, 1)
    if metric in ("", "macs", "params"):
        raise InvalidRequest(f"metric: {metric!r} is not a name for another cost; give one such as latency_ms")
    _check_out(out, overwrite=overwrite)
    task = SearchTask(config)
    space = task.space
    drawn = task.draw(FeasibleSet(space.cost_table, Budget()), networks, "latency")
    samples = [space.sample(architecture) for architecture in drawn]
    parts, wholes = space_parts(space), list(map(network_part, drawn))
    wanted = parts | {part.key: part for part in wholes}
    print(f"{len(parts)} parts and {len(wholes)} networks, {rounds} rounds of {repeats} calls each")
    partial = out.with_name(f"{out.name}.partial")
    conditions = _conditions(backend, batch, repeats)
    ClaimedFolder(partial, PARTIAL_TABLE).claim(conditions)
    sweep(out.parent)
    known = _kept_timings(partial)
    if have := sum(min(len(known.get(key, ())), rounds) for key in wanted):
        print(f"{have} of {rounds * len(wanted)} timings are in {partial} already")
    timings = time_in_rounds(
        list(wanted.values()),
        backend,
        batch=batch,
        repeats=repeats,
        rounds=rounds,
        known=known,
        on_round=lambda timings: write_json(partial / _TIMINGS, {**known, **timings}),
        kept=partial,
    )
    milliseconds = {key: float(np.median(medians)) for key, medians in timings.items()}
    measured = np.array([milliseconds[part.key] for part in wholes])
    fitted = fit_table(latency_table(space, milliseconds), samples, measured)
    # median over the parts of how far their rounds lie apart: (largest - smallest) / median
    spread = float(np.median([np.ptp(medians) / np.median(medians) for medians in timings.values()]))
    skeleton = space.skeleton
    measurement = {**conditions, "rounds": rounds, "spread": spread} | {
        name: getattr(skeleton, name) for name in ("macro", "image_size", "in_channels", "classes")
    }
    costs = {"metric": metric, "unit": "ms", **asdict(fitted.table)}
    validation = _validation(fitted, samples, measured)
    write_json(
        out, {"format": FORMAT, "version": VERSION, **costs, "measurement": measurement, "validation": validation}
    )
    shutil.rmtree(partial)
    return fitted


_CORRECTIONS = {
    "none": "sum of the parts",
    "fixed": "sum and a constant",
    "block": "sum and a constant for each block",
    "scale": "sum times a constant",
}


def fit_text(fitted: FittedTable) -> str:
    """How well the table predicts, for people."""
    lines = [f"prediction error on {fitted.agreement.networks} random networks of the space:"]
    for name, agreement in fitted.tried.items():
        chosen = "  <- taken" if name == fitted.correction and len(fitted.tried) > 1 else ""
        text = f"MAPE {agreement.mape:.1%}, bias {agreement.bias:+.1%}"
        if agreement.kendall is not None:
            text += f", Kendall's tau {agreement.kendall:.2f}, Spearman's rho {agreement.spearman:.2f}"
        lines.append(f"  {_CORRECTIONS[name]:38} {text}{chosen}")
    if fitted.correction != "none":
        amount = f"{fitted.amount:.4g}" if fitted.correction == "scale" else f"{fitted.amount:+.4g} ms"
        lines.append(f"correction: {amount}; its error is that of networks left out when it was fitted")
    return "\n".join(lines)


def _check_out(out: Path, *, overwrite: bool) -> None:
    """InvalidRequest if a table cannot be written to ``out``, or something is there already."""
    if out.is_dir():
        raise InvalidRequest(f"out: {out} is a folder; give a file such as latency.json")
    if out.exists() and not overwrite:
        raise InvalidRequest(f"out: {out} is there already; give another file or --overwrite")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise InvalidRequest(f"out: {out.parent} is not a folder that can be written to; give another file")


def _validation(fitted: FittedTable, samples: list[dict[str, str]], measured: NDArray[np.float64]) -> dict[str, Any]:
    rows = zip(samples, measured.tolist(), fitted.predicted.tolist(), strict=True)
    return {
        "correction": fitted.correction,
        "amount": fitted.amount,
        **asdict(fitted.agreement),
        "tried": {name: asdict(agreement) for name, agreement in fitted.tried.items()},
        "measured_networks": [
            {"sample": sample, "measured_ms": truth, "predicted_ms": predicted} for sample, truth, predicted in rows
        ],
    }


def _conditions(backend: Backend, batch: int, repeats: int) -> dict[str, Any]:
    return {
        "backend": backend.name,
        "threads": backend.threads,
        "batch": batch,
        "version": backend.version,
        "processor": processor(),
        "repeats": repeats,
        "warmup": WARMUP,
    }


def _kept_timings(partial: Path) -> dict[str, list[float]]:
    """The timings in ``partial``; InvalidRequest if they cannot be read."""
    path = partial / _TIMINGS
    if not path.exists():
        return {}
    try:
        return {str(key): [float(value) for value in rounds] for key, rounds in read_json(path).items()}
    except (TypeError, ValueError, AttributeError):
        raise InvalidRequest(f"out: {path} is damaged; delete {partial} to start again") from None
