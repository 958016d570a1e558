"""Speed of a training step in bfloat16, channels last and compiled, against float32, contiguous and eager."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch
from torch import nn

from experiments.bench.measuring import BareStep, Comparison, Row, free, in_turn, now
from search_space.hand_designed import baseline
from search_space.network import build

#: Images per step. The smaller batch is what CIFAR is trained with; the larger one is there because a GPU may spend the
#: smaller one's time on launching kernels.
BATCHES = (128, 1024)
STEPS = 100
#: Steps before any that count; the first compiles.
WARM_STEPS = 20
CLASSES = 10

FAST = "bf16, channels last, compiled"
PLAIN = "fp32, contiguous, eager"


def precision_rows(repeats: int, device: str) -> Iterator[Row]:
    """Both speeds of MobileNetV3-Small at 32 x 32, and their ratio, for each of `BATCHES`.

    None, and a line on stderr, where torch cannot compile for ``device``: it needs a C compiler and Triton, and a GPU
    that Triton knows.
    """
    from torch._dynamo.exc import TorchDynamoException  # takes seconds, and is not needed without a GPU

    for batch in BATCHES:
        try:
            speeds = compare(_network, batch, device, repeats, steps=STEPS, warm_steps=WARM_STEPS)
        except TorchDynamoException as error:
            reason = " ".join(str(error).split())[:300]
            print(f"sepnas: bench: rows of precision left out, torch.compile fails here: {reason}", file=sys.stderr)
            return
        yield Row(f"retrain: images per second, batch {batch}, {PLAIN}", speeds.theirs, "/s")
        yield Row(f"retrain: images per second, batch {batch}, {FAST}", speeds.ours, "/s")
        yield Row(f"retrain: speed of {FAST} / plain, batch {batch}", speeds.ratio, "x")


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
    """Images per second of training steps in `FAST` (without its compilation if not ``compiled``) and in `PLAIN`.

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
