"""Latency: what is timed, and how."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.latency import backends as latency_backends
from evaluators.latency.backends import Backend, Timer, check_outputs, make_backend, timed
from evaluators.latency.timing import Part, measure_latency, prepared, time_in_rounds
from search_space.architecture import Architecture, Block, Head, Stem
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import baseline

TINY = Architecture(
    "tiny",
    image_size=8,
    in_channels=1,
    classes=3,
    stem=Stem(8, 2),
    blocks=(Block("xsep_k3", 8, 8, expanded_channels=8, se_channels=4, residual=True),),
    head=Head(16, 0),
)


class FakeBackend(Backend):
    """Reports the number of a part's parameters as its time, and counts the calls."""

    name = "pytorch-cpu"
    version = "fake"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.made = 0

    def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
        self.made += 1
        size = sum(p.numel() for p in module.parameters())

        def timer(calls: int) -> list[float]:
            self.calls.append(calls)
            return [float(size)] * calls

        return timer


# --- timing ---


def test_calls_are_timed_in_milliseconds() -> None:
    assert min(timed(lambda: time.sleep(0.002), 3)) >= 2
    assert timed(lambda: None, 0) == []


def interrupted(monkeypatch: pytest.MonkeyPatch, pattern: list[bool]) -> Callable[[], None]:
    """A call of which those are interrupted, in turn, that ``pattern`` says; these take 20 ms."""
    turns = itertools.cycle(pattern)
    count = 0

    def call() -> None:
        nonlocal count
        if next(turns):
            count += 1
            time.sleep(0.02)

    monkeypatch.setattr(latency_backends, "_interruptions", lambda: count)
    return call


def test_interrupted_calls_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    milliseconds = timed(interrupted(monkeypatch, [True, False, True]), 5)
    assert len(milliseconds) == 5
    assert np.median(milliseconds) < 20


def test_where_nearly_all_calls_are_interrupted_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    milliseconds = timed(interrupted(monkeypatch, [True]), 2)
    assert len(milliseconds) == 8
    assert min(milliseconds) >= 20


@pytest.mark.parametrize("name", ["pytorch-cpu", "onnx-cpu"])
def test_a_network_is_timed_and_all_else_left_as_it_was(name: str) -> None:
    torch.manual_seed(3)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    milliseconds = measure_latency(TINY, make_backend(name, threads + 1), batch=2, repeats=9)
    assert min(milliseconds) > 0
    assert 3 <= len(milliseconds) <= 36
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_a_hundred_times_the_work_takes_longer() -> None:
    """What is timed is the work, not the setting up of it."""
    backend = make_backend("pytorch-cpu")

    def median(channels: int) -> float:
        module = nn.Conv2d(channels, channels, 3, padding=1)
        with backend.active():
            return float(np.median(prepared(backend, Part("conv", (channels, 24, 24), lambda: module), 1)(15)))

    assert median(96) > 2 * median(8)


def test_the_asked_number_of_threads_is_in_use_while_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    backend = make_backend("pytorch-cpu", 3)

    class Watching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled(), self.training, x.shape[0]))
            return x

    with backend.active():
        prepared(backend, Part("watching", (2, 4, 4), Watching), 5)(2)
    assert seen[-2:] == [(3, True, False, 5)] * 2


def test_fresh_networks_neither_fade_nor_explode() -> None:
    """Denormal numbers would make them slow; batch norms take their statistics from the noise they get."""
    outputs: list[Tensor] = []

    class Catching(FakeBackend):
        def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
            outputs.append(module.blocks(module.stem(images)))  # type: ignore[operator]
            return super().prepare(module, images, kept)

    measure_latency(baseline("mobilenetv3-small", image_size=16, in_channels=1, width=0.25), Catching(), repeats=1)
    assert 1e-3 < float(outputs[0].std()) < 1e3


def test_an_exported_model_is_kept_and_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make_backend("onnx-cpu")
    part = Part("conv", (2, 4, 4), lambda: nn.Conv2d(2, 2, 1))
    with backend.active():
        prepared(backend, part, 1, tmp_path)
        assert [path.suffix for path in tmp_path.iterdir()] == [".onnx"]

        def export(*arguments: Any) -> bytes:
            raise AssertionError("exported again")

        monkeypatch.setattr("evaluators.latency.backends.to_onnx", export)
        assert len(prepared(backend, part, 1, tmp_path)(3)) == 3


def test_an_export_that_computes_something_else_is_found() -> None:
    expected = torch.tensor([[1.0, -2.0]])
    check_outputs(expected, expected + 1e-4)
    with pytest.raises(RuntimeError, match=r"^ONNX Runtime's outputs differ from PyTorch's by up to 0\.1 \(largest"):
        check_outputs(expected, torch.tensor([[1.0, -1.9]]))
    with pytest.raises(RuntimeError, match="differ"):
        check_outputs(expected, torch.full((1, 2), math.nan))


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_onnx_is_asked_for_by_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(latency_backends, "find_spec", lambda name: None if name == missing else object())
    message = rf"^backend: onnx-cpu needs {missing}; pip install 'sepnas\[onnx\]', or use pytorch-cpu$"
    with pytest.raises(InvalidRequest, match=message):
        make_backend("onnx-cpu")
    make_backend("pytorch-cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_without_a_gpu() -> None:
    with pytest.raises(
        InvalidRequest, match=r"^backend: cuda, but torch sees no GPU here; use pytorch-cpu or onnx-cpu$"
    ):
        make_backend("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_is_timed() -> None:
    milliseconds = measure_latency(TINY, make_backend("cuda"), repeats=20)
    assert 0 < min(milliseconds) <= max(milliseconds) < 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch: 0 must be a whole number of at least 1"),
        ({"repeats": 0}, "repeats: 0 must be a whole number of at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}$"):
        measure_latency(TINY, FakeBackend(), **options)


def test_unknown_backends_and_no_threads_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^backend: 'tpu' is unknown; known are pytorch-cpu, onnx-cpu, cuda"):
        make_backend("tpu")
    with pytest.raises(InvalidRequest, match=r"^threads: 0 must be a whole number of at least 1$"):
        make_backend("onnx-cpu", 0)


# --- rounds ---


def three_parts() -> list[Part]:
    return [Part(f"part {n}", (n, 4, 4), lambda n=n: nn.Conv2d(n, n, 1, bias=False)) for n in (1, 2, 3)]  # type: ignore[misc]


def test_every_part_is_timed_once_a_round_after_a_warm_up() -> None:
    backend = FakeBackend()
    timings = time_in_rounds(three_parts(), backend, rounds=4, repeats=7)
    assert timings == {"part 1": [1.0] * 4, "part 2": [4.0] * 4, "part 3": [9.0] * 4}
    assert backend.calls == [10, 7] * 12
    assert backend.made == 3


def test_a_round_s_figure_is_the_median_of_its_calls() -> None:
    class Uneven(FakeBackend):
        def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
            return lambda calls: [1.0, 100.0, 2.0][:calls]

    assert time_in_rounds(three_parts(), Uneven(), rounds=1, repeats=3)["part 1"] == [2.0]


def test_rounds_visit_the_parts_in_different_orders() -> None:
    order: list[float] = []

    class Noting(FakeBackend):
        def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
            size = float(images.shape[1])

            def timer(calls: int) -> list[float]:
                order.append(size)
                return [size] * calls

            return timer

    parts = [Part(f"part {n}", (n, 2, 2), nn.Identity) for n in range(1, 9)]
    time_in_rounds(parts, Noting(), rounds=3, repeats=1)
    rounds = [order[16 * r : 16 * (r + 1) : 2] for r in range(3)]
    assert all(sorted(own) == list(range(1, 9)) for own in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_a_killed_timing_goes_on_with_what_it_had() -> None:
    whole = time_in_rounds(three_parts(), FakeBackend(), rounds=3)
    kept: list[dict[str, list[float]]] = []

    class Killed(BaseException):
        pass

    def note(done: dict[str, list[float]]) -> None:
        kept.append({key: list(values) for key, values in done.items()})
        if sum(map(len, done.values())) == 2:
            raise Killed

    with pytest.raises(Killed):
        time_in_rounds(three_parts(), FakeBackend(), rounds=3, on_round=note)
    backend = FakeBackend()
    assert time_in_rounds(three_parts(), backend, rounds=3, known=kept[-1], repeats=50) == whole
    assert backend.calls.count(50) == 9 - 2
    idle = FakeBackend()
    assert time_in_rounds(three_parts(), idle, rounds=3, known=whole) == whole
    assert idle.made == 0
