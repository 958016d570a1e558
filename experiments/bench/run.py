"""Running benchmarks and printing what they measure, as it comes."""

from __future__ import annotations

import json
import logging
import platform
import sys
from collections.abc import Callable, Iterator

import torch

from evaluators.training.devices import pick_accelerator
from evaluators.training.run import Accelerator
from experiments.bench import BENCHMARKS
from experiments.bench.exact import budget_rows, cost_rows
from experiments.bench.measuring import Row
from experiments.bench.supernets import mixture_rows, step_rows
from experiments.bench.training import retrain_rows

_ROWS: dict[str, Callable[[int, Accelerator], Iterator[Row]]] = {
    "cost": lambda repeats, accelerator: cost_rows(repeats),
    "budget": lambda repeats, accelerator: budget_rows(repeats),
    "step": step_rows,
    "darts": mixture_rows,
    "retrain": retrain_rows,
}


def bench(what: str, repeats: int, accelerator: Accelerator, *, as_json: bool) -> None:
    """Measure ``what`` (one of `BENCHMARKS` or "all") and print each row as it comes, JSON at the end.

    A benchmark that fails loses no rows, neither its own nor those of the others: it is named on standard error, and
    a RuntimeError follows when all are through.
    """
    logging.getLogger("nni").setLevel(logging.ERROR)  # its profiler warns of every layer that costs nothing
    device = torch.cuda.get_device_name() if pick_accelerator(accelerator) == "cuda" else "cpu"
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}"
    if not as_json:
        print(f"medians of {repeats} rounds ({machine})", flush=True)
    rows, failed = [], []
    for name in BENCHMARKS if what == "all" else (what,):
        try:
            for row in _ROWS[name](repeats, accelerator):
                rows.append(row._asdict())
                if not as_json:
                    print(f"  {row.name:74} {row.value:>12,.6g} {row.unit}", flush=True)
        except Exception as error:
            failed.append(name)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"sepnas: bench: {name} failed: {reason}", file=sys.stderr)
    if as_json:
        print(json.dumps({"machine": machine, "repeats": repeats, "results": rows}, indent=2))
    if failed:
        raise RuntimeError(f"{', '.join(failed)} failed, see above; the other rows are whole")
