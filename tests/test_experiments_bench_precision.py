"""The bench of precision: both sides train as their names say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import experiments.bench.measuring as bench_measuring
import experiments.bench.precision as bench
from experiments.bench.measuring import Comparison


def tiny() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, bench.CLASSES),
    )


class Watched:
    """Makes networks and notes what their convolutions see."""

    def __init__(self) -> None:
        self.networks: list[nn.Module] = []
        self.first: list[list[Tensor]] = []
        self.seen: list[tuple[int, torch.dtype, bool, int]] = []

    def __call__(self) -> nn.Module:
        network = tiny()
        number = len(self.networks)

        def note(conv: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            last = inputs[0].is_contiguous(memory_format=torch.channels_last)
            self.seen.append((number, output.dtype, last, len(output)))

        network[0].register_forward_hook(note)  # type: ignore[operator, index]
        self.networks.append(network)
        self.first.append([value.detach().clone() for value in network.parameters()])
        return network


def test_both_sides_are_what_they_are_called() -> None:
    make = Watched()
    found = bench.compare(make, 6, "cpu", 2, steps=3, warm_steps=1, compiled=False)
    fast, plain = (0, torch.bfloat16, True, 6), (1, torch.float32, False, 6)
    # the warm step of each, and then three steps of each in turn
    assert make.seen == [fast, plain, *([fast] * 3 + [plain] * 3) * 2]
    assert min(found.ours, found.theirs, found.ratio) > 0
    for network, first in zip(make.networks, make.first, strict=True):
        for before, after in zip(first, network.parameters(), strict=True):
            assert after.dtype == torch.float32
            assert torch.isfinite(after).all()
            assert not torch.equal(before, after)


def test_one_side_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []

    def compile_quickly(function: Any, **options: Any) -> Any:
        assert options == {"dynamic": False}

        def call(images: Tensor) -> Tensor:
            compiled.append(len(images))
            return function(images)

        return call

    monkeypatch.setattr(torch, "compile", compile_quickly)
    bench.compare(tiny, 4, "cpu", 1, steps=2, warm_steps=1)
    assert compiled == [4] * 3
    bench.compare(tiny, 4, "cpu", 1, steps=2, warm_steps=1, compiled=False)
    assert compiled == [4] * 3


def test_speeds_are_images_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by a second at each step of the fast network and by three at those of the plain one."""
    time = 0.0
    networks = 0

    def make() -> nn.Module:
        nonlocal networks
        networks += 1
        seconds = 2 * networks - 1
        network = tiny()

        def tick(*args: Any) -> None:
            nonlocal time
            time += seconds

        network.register_forward_hook(tick)
        return network

    monkeypatch.setattr(bench, "now", lambda device: time)
    assert bench.compare(make, 5, "cpu", 1, steps=4, warm_steps=2, compiled=False) == Comparison(5, 5 / 3, 3)


def test_the_clock_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    monkeypatch.setattr(bench_measuring.time, "perf_counter", lambda: order.append("read") or 1.0)
    assert bench_measuring.now("cpu") == bench_measuring.now("cuda") == 1
    assert order == ["read", "wait", "read"]


def test_what_cannot_be_compiled_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C compiler")

    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: original(function, backend=broken, **options))
    monkeypatch.setattr(bench, "_network", tiny)
    monkeypatch.setattr(bench, "BATCHES", (2,))
    assert list(bench.precision_rows(1, "cpu")) == []
    told = capsys.readouterr().err
    assert told.startswith("sepnas: bench: rows of precision left out, torch.compile fails here: ")
    assert "no C compiler" in told
    assert told.count("\n") == 1


def test_rows_of_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {128: Comparison(30.0, 10.0, 3.1), 1024: Comparison(40.0, 8.0, 5.1)}
    monkeypatch.setattr(bench, "compare", lambda make, batch, *_, **options: measured[batch])
    assert {row.name: row.value for row in bench.precision_rows(1, "cpu")} == {
        "retrain: images per second, batch 128, fp32, contiguous, eager": 10,
        "retrain: images per second, batch 128, bf16, channels last, compiled": 30,
        "retrain: speed of bf16, channels last, compiled / plain, batch 128": 3.1,
        "retrain: images per second, batch 1024, fp32, contiguous, eager": 8,
        "retrain: images per second, batch 1024, bf16, channels last, compiled": 40,
        "retrain: speed of bf16, channels last, compiled / plain, batch 1024": 5.1,
    }
