"""Speed on this machine, as ratios of things measured in turn within one run."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable

import torch

from evaluators.training.devices import pick_accelerator
from evaluators.training.run import Accelerator
from experiments.bench.budget import budget_rows
from experiments.bench.clock import Row
from experiments.bench.cost import cost_rows
from experiments.bench.mixture import mixture_rows
from experiments.bench.names import BENCHMARKS
from experiments.bench.retrain import retrain_rows
from experiments.bench.step import step_rows


def bench(what: str, repeats: int, accelerator: Accelerator, *, as_json: bool) -> None:
    """Measure ``what`` (one of `BENCHMARKS` or "all") and print it."""
    logging.getLogger("nni").setLevel(logging.ERROR)  # its profiler warns of every layer that costs nothing
    measure: dict[str, Callable[[], list[Row]]] = {
        "cost": lambda: cost_rows(repeats),
        "budget": lambda: budget_rows(repeats),
        "step": lambda: step_rows(repeats, accelerator),
        "darts": lambda: mixture_rows(repeats, accelerator),
        "retrain": lambda: retrain_rows(repeats, accelerator),
    }
    rows = [row for name in (BENCHMARKS if what == "all" else (what,)) for row in measure[name]()]
    device = torch.cuda.get_device_name() if pick_accelerator(accelerator) == "cuda" else "cpu"
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}"
    if as_json:
        print(json.dumps({"machine": machine, "repeats": repeats, "results": rows}, indent=2))
        return
    print(f"medians of {repeats} rounds ({machine})")
    for row in rows:
        print(f"  {row['name']:74} {row['value']:>12,.6g} {row['unit']}")
