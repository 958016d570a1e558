"""Speed of a training step in bfloat16, channels last and compiled, against float32, contiguous and eager."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from experiments.bench.bare_loop import BareStep
from experiments.bench.clock import Comparison, Row, free, in_turn, now
from search_space.hand_designed import baseline
from search_space.network import build

#: Images a step. The smaller batch is what CIFAR is trained with; the larger one is there because a GPU may spend the
#: smaller one's time on launching kernels.
BATCHES = (128, 1024)
STEPS = 100
#: Steps before any that count; the first compiles.
WARM_STEPS = 20
CLASSES = 10

FAST = "bf16, channels last, compiled"
PLAIN = "fp32, contiguous, eager"


@dataclass(frozen=True)
class PrecisionSpeeds:
    """Images a second at one batch size: ``speeds.ours`` are those of `FAST`, ``speeds.theirs`` those of `PLAIN`."""

    batch: int
    speeds: Comparison


def precision_speeds(repeats: int, device: str) -> list[PrecisionSpeeds]:
    """The speeds of MobileNetV3-Small at 32 x 32 for each of `BATCHES`.

    None, and a line on stderr, where torch cannot compile for ``device``: it needs a C compiler and Triton, and a GPU
    that Triton knows. What else the bench has measured is not to be lost for that.
    """
    from torch._dynamo.exc import TorchDynamoException  # takes seconds, and is not needed without a GPU

    try:
        return [
            PrecisionSpeeds(batch, compare(_network, batch, device, repeats, steps=STEPS, warm_steps=WARM_STEPS))
            for batch in BATCHES
        ]
    except TorchDynamoException as error:
        reason = " ".join(str(error).split())[:300]
        print(f"sepnas: bench: rows of precision left out, torch.compile fails here: {reason}", file=sys.stderr)
        return []


def precision_rows(measured: list[PrecisionSpeeds]) -> list[Row]:
    """Both speeds and their ratio for each batch size."""
    rows = []
    for batch, speeds in ((one.batch, one.speeds) for one in measured):
        rows += [
            {"name": f"retrain: images a second, batch {batch}, {PLAIN}", "value": speeds.theirs, "unit": "/s"},
            {"name": f"retrain: images a second, batch {batch}, {FAST}", "value": speeds.ours, "unit": "/s"},
            {"name": f"retrain: speed of {FAST} / plain, batch {batch}", "value": speeds.ratio, "unit": "x"},
        ]
    return rows


def compare(
    make_network: Callable[[], nn.Module],
    batch: int,
    device: str,
    repeats: int,
    *,
    steps: int,
    warm_steps: int,
    compiled: bool = True,
) -> Comparison:
    """Images a second of training steps in `FAST` (without its compilation if not ``compiled``) and in `PLAIN`.

    ``make_network`` is called once for each and maps (batch, 3, 32, 32) to logits of `CLASSES` classes. Both train on
    one batch that stays on ``device``, ``steps`` at a time in turn, after ``warm_steps`` each.
    """
    fast = BareStep(make_network(), device, bf16=True, compiled=compiled, channels_last=True)
    plain = BareStep(make_network(), device, channels_last=False)
    try:
        return _compare(fast, plain, batch, device, repeats, steps=steps, warm_steps=warm_steps)
    finally:
        del fast, plain
        if compiled:
            # what is compiled is kept for the process, and of one function only so many variants
            torch.compiler.reset()
        free(device)


def _compare(
    fast: BareStep, plain: BareStep, batch: int, device: str, repeats: int, *, steps: int, warm_steps: int
) -> Comparison:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator).to(device)
    labels = torch.randint(CLASSES, (batch,), generator=generator).to(device)

    def speed(step: BareStep, count: int) -> float:
        start = now(device)
        for _ in range(count):
            step(images, labels)
        return count * batch / (now(device) - start)

    for step in (fast, plain):
        speed(step, warm_steps)
    return in_turn(lambda: speed(fast, steps), lambda: speed(plain, steps), repeats)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return build(baseline("mobilenetv3-small", classes=CLASSES))
