"""``sepnas latency``: one network's time, or the table of a whole search space as a file of costs."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.latency.backends import Backend
from evaluators.latency.parts import network_part, space_parts
from evaluators.latency.table import Agreement, FittedTable, fit_table, latency_table
from evaluators.latency.timing import WARMUP, Rounds, measure_latency, time_in_rounds
from experiments.options.config import SearchConfig
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import read_json, write_json
from experiments.runs.provenance import processor
from experiments.runs.task import SearchTask, stream_seed
from search_space.architecture import Architecture
from search_space.base.checks import check_int
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.cost_table import FORMAT, VERSION

UNIT = "ms"
_TIMINGS = "timings.json"
PARTIAL_TABLE = FolderKind(
    name="timings",
    files=(_TIMINGS, "*.onnx"),
    marker="conditions.json",
    deleted_whole=True,
    remedy="delete it or give another file",
)


def network_latency(
    architecture: Architecture, name: str, backend: Backend, *, batch: int = 1, repeats: int = 100, warmup: int = WARMUP
) -> dict[str, Any]:
    """Measure a network; a JSON value with the times in milliseconds."""
    found = measure_latency(architecture, backend, batch=batch, repeats=repeats, warmup=warmup)
    return {
        "network": name,
        **_conditions(backend, batch),
        "warmup": warmup,
        "repeats": repeats,
        "counted": found.counted,
        # then the interrupted ones count too
        "disturbed": found.counted > repeats,
        "median_ms": found.median,
        "lower_ms": found.lower,
        "upper_ms": found.upper,
    }


def tell_latency(value: dict[str, Any]) -> str:
    """What `network_latency` returns, for people."""
    threads = f"{value['threads']} thread{'s' if value['threads'] > 1 else ''}"
    return (
        f"{value['network']}: {value['median_ms']:.4g} ms (quartiles {value['lower_ms']:.4g} to"
        f" {value['upper_ms']:.4g}) per batch of {value['batch']}\n"
        f"  {value['backend']}, {threads}, {value['version']}, {value['processor']};"
        f" {value['counted']} calls after {value['warmup']} for warm-up"
        + (
            "\n  most calls were interrupted by other processes: repeat it on an idle machine"
            if value["disturbed"]
            else ""
        )
    )


def check_out(out: Path, *, overwrite: bool) -> None:
    """InvalidRequest if a table cannot be written to ``out``, or something is there already."""
    if out.is_dir():
        raise InvalidRequest(f"out: {out} is a folder; give a file, as latency.json")
    if out.exists() and not overwrite:
        raise InvalidRequest(f"out: {out} is there already; give another file or --overwrite")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise InvalidRequest(f"out: {out.parent} is not a folder that can be written to; give another file")


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

    Timings are kept in the folder ``<out>.partial`` until the table is whole: the same request goes on with them.
    """
    for field, value in {"batch": batch, "repeats": repeats, "rounds": rounds, "networks": networks}.items():
        check_int(field, value, 1)
    if metric in ("", "macs", "params"):
        raise InvalidRequest(f"metric: {metric!r} is not a name for another cost; take one such as latency_ms")
    check_out(out, overwrite=overwrite)
    space = SearchTask(config).space
    samples = random_samples(space, networks, config.seed)
    parts = space_parts(space)
    wholes = [network_part(space.architecture(sample)) for sample in samples]
    wanted = {part.key: part for part in (*parts.parts.values(), *wholes)}
    print(f"{len(parts.parts)} parts and {len(wholes)} networks, {rounds} rounds of {repeats} calls each")
    partial = out.with_name(f"{out.name}.partial")
    conditions = {**_conditions(backend, batch), "repeats": repeats, "warmup": WARMUP}
    ClaimedFolder(partial, PARTIAL_TABLE).claim(conditions)
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
        on_round=lambda done: write_json(partial / _TIMINGS, {**known, **done}),
        kept=partial,
    )
    milliseconds = {key: float(np.median(values)) for key, values in timings.items()}
    measured = np.array([milliseconds[part.key] for part in wholes])
    fitted = fit_table(latency_table(parts, milliseconds), samples, measured)
    about = {**conditions, "rounds": rounds, "spread": _spread(timings)}
    write_json(out, _file(fitted, metric, about, space, samples, measured))
    shutil.rmtree(partial)
    return fitted


def random_samples(space: SearchSpace, count: int, seed: int) -> list[dict[str, str]]:
    """``count`` different architectures of ``space``, drawn uniformly; all of them where there are fewer."""
    rng = np.random.default_rng(stream_seed(seed, "latency"))
    found: dict[tuple[str, ...], None] = {}
    while len(found) < min(count, space.size):
        found[tuple(names[rng.integers(len(names))] for names in space.candidates)] = None
    return [dict(zip(space.labels, names, strict=True)) for names in found]


def tell_table(fitted: FittedTable) -> str:
    """How well the table predicts, for people."""
    lines = [f"prediction error on {fitted.agreement.networks} random networks of the space:"]
    for name, agreement in fitted.tried.items():
        chosen = "  <- taken" if name == fitted.correction and len(fitted.tried) > 1 else ""
        lines.append(f"  {_CORRECTIONS[name]:38} {_tell(agreement)}{chosen}")
    if fitted.correction != "none":
        amount = f"{fitted.amount:.4g}" if fitted.correction == "scale" else f"{fitted.amount:+.4g} ms"
        lines.append(f"correction: {amount}; its errors are of networks that were left out when it was fitted")
    return "\n".join(lines)


_CORRECTIONS = {
    "none": "sum of the parts",
    "fixed": "sum and a constant",
    "block": "sum and a constant for each block",
    "scale": "sum times a constant",
}


def _tell(agreement: Agreement) -> str:
    ranks = (
        ""
        if math.isnan(agreement.kendall)
        else f", Kendall's tau {agreement.kendall:.2f}, Spearman's rho {agreement.spearman:.2f}"
    )
    return f"MAPE {agreement.mape:.1%}, bias {agreement.bias:+.1%}{ranks}"


def _file(
    fitted: FittedTable,
    metric: str,
    conditions: dict[str, Any],
    space: SearchSpace,
    samples: list[dict[str, str]],
    measured: np.ndarray,
) -> dict[str, Any]:
    skeleton = space.skeleton
    return {
        "format": FORMAT,
        "version": VERSION,
        "metric": metric,
        "unit": UNIT,
        "fixed": fitted.table.fixed,
        "costs": {label: dict(values) for label, values in fitted.table.costs.items()},
        "measurement": {
            **conditions,
            "macro": skeleton.macro,
            "image_size": skeleton.image_size,
            "in_channels": skeleton.in_channels,
            "classes": skeleton.classes,
        },
        "validation": {
            "correction": fitted.correction,
            "amount": fitted.amount,
            **_agreement(fitted.agreement),
            "tried": {name: _agreement(agreement) for name, agreement in fitted.tried.items()},
            "measured_networks": [
                {"sample": sample, "measured_ms": float(truth), "predicted_ms": float(told)}
                for sample, truth, told in zip(samples, measured, fitted.predicted, strict=True)
            ],
        },
    }


def _agreement(agreement: Agreement) -> dict[str, Any]:
    # JSON has no NaN
    return {name: None if math.isnan(value) else value for name, value in asdict(agreement).items()}


def _spread(timings: Rounds) -> float:
    """Median over the parts of how far their rounds lie apart: (largest - smallest) / median."""
    return float(np.median([np.ptp(values) / np.median(values) for values in timings.values()]))


def _conditions(backend: Backend, batch: int) -> dict[str, Any]:
    return {
        "backend": backend.name,
        "threads": backend.threads,
        "batch": batch,
        "version": backend.version,
        "processor": processor(),
    }


def _kept_timings(partial: Path) -> dict[str, list[float]]:
    """The timings in ``partial``; InvalidRequest if they cannot be read."""
    path = partial / _TIMINGS
    if not path.exists():
        return {}
    try:
        return {str(key): [float(value) for value in rounds] for key, rounds in read_json(path).items()}
    except (TypeError, ValueError, AttributeError):
        raise InvalidRequest(f"out: {path} is damaged; delete {partial} to begin anew") from None
