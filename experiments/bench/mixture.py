"""Step time and peak memory of full-mixture DARTS, beside the same candidates as whole blocks in NNI's own mixture."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from nni.nas.strategy import DARTS as NniDARTS

from evaluators.training.devices import pick_accelerator
from evaluators.training.run import Accelerator
from experiments.bench.clock import Row
from search_space.space import SepConvSpace
from strategies.one_shot.darts import DARTS

BATCH = 16
STEPS = 2


def mixture_rows(repeats: int, accelerator: Accelerator) -> list[Row]:
    """Ratios on the default space, each round in processes of its own: memory once taken is not given back."""
    device = pick_accelerator(accelerator)
    threads = torch.get_num_threads()
    rounds = [{kind: _measured(kind, device, threads) for kind in ("nni", "sepnas")} for _ in range(repeats)]
    rows = []
    for figure, name in (("seconds", "time of a pass"), ("bytes", "peak memory")):
        values = [measured["nni"][figure] / measured["sepnas"][figure] for measured in rounds]
        rows.append({"name": f"darts: {name}, NNI / sepnas", "value": statistics.median(values), "unit": "x"})
    return rows


def _measured(kind: str, device: str, threads: int) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", __name__, kind, device, str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _measure(kind: str, device: str, threads: int) -> None:
    """Forward and backward pass of the mixture of all candidates; prints the fastest of ``STEPS`` and the peak."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    strategy = DARTS() if kind == "sepnas" else NniDARTS()
    supernet = strategy.mutate_model(SepConvSpace()).to(device, memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    before = _memory(device)
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        supernet(images).square().sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        supernet.zero_grad(set_to_none=True)
    print(json.dumps({"seconds": min(seconds), "bytes": _memory(device) - before}))


def _memory(device: str) -> int:
    """The most memory taken so far, bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    _measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
