"""The benches of precision and roofline: both sides train as their names say, and bytes and MACs are counted right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import experiments.bench.clock as bench_clock
import experiments.bench.precision as bench
import experiments.bench.roofline as roofline
from experiments.bench.clock import Comparison
from experiments.bench.precision import PrecisionSpeeds
from search_space import baseline, build, cost


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
    monkeypatch.setattr(bench_clock.time, "perf_counter", lambda: order.append("read") or 1.0)
    assert bench_clock.now("cpu") == bench_clock.now("cuda") == 1
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
    assert bench.precision_speeds(1, "cpu") == []
    told = capsys.readouterr().err
    assert told.startswith("sepnas: bench: rows of precision left out, torch.compile fails here: ")
    assert "no C compiler" in told
    assert told.count("\n") == 1


def test_rows_of_precision() -> None:
    measured = [PrecisionSpeeds(128, Comparison(30.0, 10.0, 3.1)), PrecisionSpeeds(1024, Comparison(40.0, 8.0, 5.1))]
    assert {row["name"]: row["value"] for row in bench.precision_rows(measured)} == {
        "retrain: images a second, batch 128, fp32, contiguous, eager": 10,
        "retrain: images a second, batch 128, bf16, channels last, compiled": 30,
        "retrain: speed of bf16, channels last, compiled / plain, batch 128": 3.1,
        "retrain: images a second, batch 1024, fp32, contiguous, eager": 8,
        "retrain: images a second, batch 1024, bf16, channels last, compiled": 40,
        "retrain: speed of bf16, channels last, compiled / plain, batch 1024": 5.1,
    }


def test_one_convolution_by_hand() -> None:
    # 2 images of 3 x 8 x 8 to 2 x 5 x 6 x 6; 5 x 3 x 3 x 3 = 135 weights
    x, y, w = 2 * 3 * 8 * 8, 2 * 5 * 6 * 6, 135
    work = roofline.step_work(nn.Sequential(nn.Conv2d(3, 5, 3, bias=False)), torch.randn(2, 3, 8, 8))
    assert work.macs == 3 * 135 * 6 * 6 * 2
    # read x, w, write y; read dy, x, w, write dw. Nobody asks for dx.
    assert work.moved == (x + w + y) + (y + x + w + w)
    assert work.trained == w
    assert work.bytes(4) == 4 * work.moved + 20 * w
    assert work.bytes(2) == 2 * work.moved + 20 * w


def test_each_kind_of_layer_by_hand() -> None:
    # with dx from the second layer on
    network = nn.Sequential(
        nn.Conv2d(1, 4, 1, bias=False),  # x = 32, y = 128, w = 4
        nn.BatchNorm2d(4),  # 128 -> 128, w = 8
        nn.Hardswish(),  # 128 -> 128
        nn.Identity(),
        nn.Conv2d(4, 4, 3, groups=4, bias=True),  # 128 -> 2 x 4 x 2 x 2 = 32, w = 36 + 4
        nn.AdaptiveAvgPool2d(1),  # 32 -> 8
    )
    work = roofline.step_work(network, torch.randn(2, 1, 4, 4))
    assert work.moved == sum(
        (
            (32 + 4 + 128) + (128 + 32 + 4 + 4),
            (128 + 8 + 128) + (128 + 128 + 8 + 128 + 8),
            (128 + 128) + (128 + 128 + 128),
            (128 + 40 + 32) + (32 + 128 + 40 + 128 + 40),
            (32 + 8) + (8 + 32),
        )
    )
    assert work.macs == 3 * 2 * (1 * 4 * 16 + 4 * 9 * 4)
    assert work.trained == 4 + 8 + 40


def test_macs_are_those_of_the_cost_table() -> None:
    network = build(baseline("mobilenetv3-small"))
    work = roofline.step_work(network, torch.randn(2, 3, 32, 32))
    total = cost(network.architecture)
    assert work.macs == 3 * 2 * total.macs
    assert work.trained == total.params
    hooked = [module for module in network.modules() if module._forward_hooks]
    assert hooked == []


def test_rows_of_the_roofline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "BATCH", 4)
    monkeypatch.setattr(roofline, "baseline", lambda name: baseline(name, width=0.25))
    rows = {row["name"].removeprefix("retrain: roofline, "): row for row in roofline.roofline_rows([])}
    macs, full, half = (rows[name]["value"] for name in ("MACs a step", "bytes a step fp32", "bytes a step bf16"))
    assert full / 2 < half < full
    assert rows["intensity fp32"]["value"] == macs / full
    assert rows["intensity bf16"]["value"] == macs / half
    measured = [PrecisionSpeeds(8, Comparison(1.0, 1.0, 1.0)), PrecisionSpeeds(4, Comparison(40.0, 20.0, 2.0))]
    more = {row["name"]: row["value"] for row in roofline.roofline_rows(measured)[len(rows) :]}
    assert more == {
        "retrain: roofline, achieved by fp32, contiguous, eager": 5 * macs,
        "retrain: roofline, moved by fp32, contiguous, eager": 5 * full,
        "retrain: roofline, achieved by bf16, channels last, compiled": 10 * macs,
        "retrain: roofline, moved by bf16, channels last, compiled": 10 * half,
    }
