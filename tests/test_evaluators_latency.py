"""Latency: what is timed, what the sums of parts are, and what a correction does."""

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
from evaluators.latency.parts import EMPTY, HEAD, STEM, Part, network_part, space_parts
from evaluators.latency.table import Agreement, LatencyTable, fit_table, latency_table
from evaluators.latency.timing import Latency, measure_latency, prepared, time_in_rounds
from search_space.architecture import Architecture, Block, Head, Stem
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace

SPACE = SearchSpace.create(
    image_size=16, in_channels=1, width=0.25, operators=["dw_k3", "xsep_k3", "sep_k3", "skip"], widths=[1.0]
)
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
    """Says how long a part takes by the number of its parameters, and counts the calls."""

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


def test_median_and_quartiles() -> None:
    assert Latency.of([5, 1, 2, 4, 3]) == Latency(3, 2, 4, 5)


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
    found = timed(interrupted(monkeypatch, [True, False, True]), 5)
    assert len(found) == 5
    assert np.median(found) < 20


def test_where_nearly_all_calls_are_interrupted_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found = timed(interrupted(monkeypatch, [True]), 2)
    assert len(found) == 8
    assert min(found) >= 20


@pytest.mark.parametrize("name", ["pytorch-cpu", "onnx-cpu"])
def test_a_network_is_timed_and_all_else_left_as_it_was(name: str) -> None:
    torch.manual_seed(3)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    found = measure_latency(TINY, make_backend(name, threads + 1), batch=2, repeats=9, warmup=1)
    assert 0 < found.lower <= found.median <= found.upper
    assert 3 <= found.counted <= 36
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_a_hundred_times_the_work_takes_longer() -> None:
    """What is timed is the work, not the setting up of it."""
    backend = make_backend("pytorch-cpu")

    def median(channels: int) -> float:
        module = nn.Conv2d(channels, channels, 3, padding=1)
        with backend.active():
            return float(np.median(prepared(backend, module, (channels, 24, 24), 1)(15)))

    assert median(96) > 2 * median(8)


def test_the_asked_number_of_threads_is_in_use_while_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    backend = make_backend("pytorch-cpu", 3)

    class Watching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled(), self.training, x.shape[0]))
            return x

    with backend.active():
        prepared(backend, Watching(), (2, 4, 4), 5)(2)
    assert seen[-2:] == [(3, True, False, 5)] * 2


def test_fresh_networks_neither_fade_nor_explode() -> None:
    """Denormal numbers would make them slow; batch norms take their statistics from the noise they get."""
    outputs: list[Tensor] = []

    class Catching(FakeBackend):
        def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
            outputs.append(module.blocks(module.stem(images)))  # type: ignore[operator]
            return super().prepare(module, images, kept)

    measure_latency(network_part_architecture(), Catching(), repeats=1)
    assert 1e-3 < float(outputs[0].std()) < 1e3


def network_part_architecture() -> Architecture:
    return SPACE.architecture({label: SPACE.candidates[i][0] for i, label in enumerate(SPACE.labels)})


def test_an_exported_model_is_kept_and_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make_backend("onnx-cpu")
    kept = tmp_path / "model.onnx"
    with backend.active():
        prepared(backend, nn.Conv2d(2, 2, 1), (2, 4, 4), 1, kept)
        assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]

        def export(*arguments: Any) -> bytes:
            raise AssertionError("exported again")

        monkeypatch.setattr("evaluators.latency.backends.to_onnx", export)
        assert len(prepared(backend, nn.Conv2d(2, 2, 1), (2, 4, 4), 1, kept)(3)) == 3


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
    message = rf"^backend: onnx-cpu needs {missing}; pip install 'sepnas\[onnx\]', or take pytorch-cpu$"
    with pytest.raises(InvalidRequest, match=message):
        make_backend("onnx-cpu")
    make_backend("pytorch-cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_without_a_gpu() -> None:
    with pytest.raises(
        InvalidRequest, match=r"^backend: cuda, but torch sees no GPU here; take pytorch-cpu or onnx-cpu$"
    ):
        make_backend("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_is_timed() -> None:
    found = measure_latency(TINY, make_backend("cuda"), repeats=20)
    assert 0 < found.lower <= found.median <= found.upper < 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch: 0 must be a whole number of at least 1"),
        ({"repeats": 0}, "repeats: 0 must be a whole number of at least 1"),
        ({"warmup": -1}, "warmup: -1 must be a whole number of at least 0"),
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


# --- parts ---


def test_the_parts_of_a_network_have_its_parameters_and_its_shapes() -> None:
    """Stem, blocks and head of any architecture, made alone, are what the network is made of."""
    parts = space_parts(SPACE)
    rng = np.random.default_rng(0)
    for _ in range(5):
        sample = {label: str(rng.choice(names)) for label, names in zip(SPACE.labels, SPACE.candidates, strict=True)}
        keys = [parts.keys[label][name] for label, name in sample.items()]
        chain = [parts.parts[key] for key in (STEM, *keys, HEAD) if key is not None]
        x = torch.randn(2, *chain[0].shape)
        params = 0
        for part in chain:
            assert x.shape[1:] == part.shape
            module = part.make()
            params += sum(p.numel() for p in module.parameters())
            x = module(x)
        assert x.shape == (2, SPACE.skeleton.classes)
        own = network_part(SPACE.architecture(sample))
        assert params == sum(p.numel() for p in own.make().parameters())


def test_equal_blocks_on_maps_of_equal_size_are_one_part() -> None:
    parts = space_parts(SPACE)
    named = [key for own in parts.keys.values() for key in own.values() if key is not None]
    assert len(parts.parts) == len(set(named)) + 3 < len(named)
    for index, (_, size) in enumerate(SPACE.skeleton.sized_blocks()):
        for other, (_, its_size) in enumerate(SPACE.skeleton.sized_blocks()):
            for name, block in zip(SPACE.candidates[index], SPACE.choices[index], strict=True):
                for its_name, its_block in zip(SPACE.candidates[other], SPACE.choices[other], strict=True):
                    if block.is_skip or its_block.is_skip:
                        continue
                    same = parts.keys[SPACE.labels[index]][name] == parts.keys[SPACE.labels[other]][its_name]
                    assert same == (block == its_block and size == its_size)


def test_keys_and_weights_are_the_same_every_time() -> None:
    one, two = space_parts(SPACE), space_parts(SPACE)
    assert list(one.parts) == list(two.parts)
    torch.manual_seed(0)
    first = [p.clone() for part in one.parts.values() for p in part.make().parameters()]
    torch.manual_seed(1)
    second = [p for part in two.parts.values() for p in part.make().parameters()]
    assert all(map(torch.equal, first, second))


def test_making_parts_leaves_the_random_state() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for part in space_parts(SPACE).parts.values():
        part.make()
    assert torch.equal(torch.random.get_rng_state(), before)


# --- rounds ---


def three_parts() -> list[Part]:
    return [Part(f"part {n}", (n, 4, 4), lambda n=n: nn.Conv2d(n, n, 1, bias=False)) for n in (1, 2, 3)]  # type: ignore[misc]


def test_every_part_is_timed_once_a_round_after_a_warm_up() -> None:
    backend = FakeBackend()
    found = time_in_rounds(three_parts(), backend, rounds=4, repeats=7, warmup=2)
    assert found == {"part 1": [1.0] * 4, "part 2": [4.0] * 4, "part 3": [9.0] * 4}
    assert backend.calls == [2, 7] * 12
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
    time_in_rounds(parts, Noting(), rounds=3, warmup=0, repeats=1)
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


# --- the table ---


def exact(parts: Any, empty: float = 0.25) -> dict[str, float]:
    """Times of parts: their parameters, and what it takes to call anything."""
    return {
        key: empty + (0 if key == EMPTY else sum(p.numel() for p in part.make().parameters()) / 1000)
        for key, part in parts.parts.items()
    }


def random_samples(count: int) -> list[dict[str, str]]:
    rng = np.random.default_rng(1)
    return [
        {label: str(rng.choice(names)) for label, names in zip(SPACE.labels, SPACE.candidates, strict=True)}
        for _ in range(count)
    ]


def whole(sample: dict[str, str]) -> float:
    network = network_part(SPACE.architecture(sample)).make()
    return sum(p.numel() for p in network.parameters()) / 1000


def test_times_that_add_up_are_predicted_exactly() -> None:
    """The overhead of a call is in every part, and in a network once."""
    parts = space_parts(SPACE)
    samples = random_samples(6)
    measured = np.array([0.25 + whole(sample) for sample in samples])
    fitted = fit_table(latency_table(parts, exact(parts)), samples, measured)
    assert fitted.correction == "none"
    assert fitted.table.predict(samples) == pytest.approx(measured)
    assert fitted.agreement.mape == pytest.approx(0, abs=1e-9)
    assert (fitted.agreement.kendall, fitted.agreement.spearman) == pytest.approx((1, 1))


def test_the_table_is_one_that_a_budget_takes() -> None:
    parts = space_parts(SPACE)
    table = latency_table(parts, exact(parts))
    own = SPACE.cost_table.with_cost("latency_ms", table.costs, table.fixed)
    samples = random_samples(4)
    assert [own.cost(sample)["latency_ms"] for sample in samples] == pytest.approx(table.predict(samples).tolist())
    for label, names in zip(SPACE.labels, SPACE.candidates, strict=True):
        if "skip" in names:
            assert table.costs[label]["skip"] == 0


def test_no_time_is_negative() -> None:
    parts = space_parts(SPACE)
    table = latency_table(parts, {key: 0.5 if key == EMPTY else 0.1 for key in parts.parts})
    assert table.fixed == 0
    assert {value for own in table.costs.values() for value in own.values()} == {0.0}


def blocks(sample: dict[str, str]) -> int:
    return sum(name != "skip" for name in sample.values())


@pytest.mark.parametrize(
    ("correction", "change", "amount"),
    [
        ("fixed", lambda ms, sample: ms + 0.7, 0.7),
        ("fixed", lambda ms, sample: ms - 0.2, -0.2),
        ("block", lambda ms, sample: ms + 0.2 * blocks(sample), 0.2),
        ("scale", lambda ms, sample: ms * 1.3, 1.3),
    ],
)
def test_a_systematic_error_is_corrected_and_named(correction: str, change: Any, amount: float) -> None:
    parts = space_parts(SPACE)
    samples = random_samples(8)
    table = latency_table(parts, exact(parts))
    measured = np.array([change(0.25 + whole(sample), sample) for sample in samples])
    fitted = fit_table(table, samples, measured)
    assert fitted.correction == correction
    assert fitted.amount == pytest.approx(amount)
    assert fitted.agreement.mape < 1e-9
    assert fitted.tried["none"].mape > 1e-3
    unseen = random_samples(20)[8:]
    wanted = [change(0.25 + whole(sample), sample) for sample in unseen]
    assert fitted.table.predict(unseen) == pytest.approx(np.array(wanted))
    assert all(own.get("skip", 0.0) == 0 for own in fitted.table.costs.values())


def test_the_stated_error_is_of_networks_the_correction_has_not_seen() -> None:
    """One number fitted to noise looks better than it is; left out, each network is predicted worse."""
    table = LatencyTable(1.0, {"a": {"x": 1.0, "y": 2.0, "z": 3.0}, "b": {"x": 0.5, "y": 0.6}})
    samples = [{"a": a, "b": b} for a in "xyz" for b in "xy"]
    rng = np.random.default_rng(0)
    measured = table.predict(samples) * 2 * rng.uniform(0.8, 1.25, 6)
    fitted = fit_table(table, samples, measured)
    assert fitted.correction != "none"
    seen = Agreement.of(fitted.table.predict(samples), measured)
    assert fitted.agreement.mape > seen.mape
    assert fitted.agreement == Agreement.of(fitted.predicted, measured)


def test_few_networks_correct_nothing() -> None:
    table = LatencyTable(1.0, {"a": {"x": 1.0, "y": 2.0}})
    fitted = fit_table(table, [{"a": "x"}, {"a": "y"}], np.array([4.0, 6.0]))
    assert (fitted.correction, fitted.table) == ("none", table)
    assert set(fitted.tried) == {"none"}
    assert fitted.agreement.bias == pytest.approx(-0.5)


def test_agreement_counted_by_hand() -> None:
    found = Agreement.of(np.array([1.1, 1.8, 4.0, 3.0]), np.array([1.0, 2.0, 3.2, 4.0]))
    assert found.networks == 4
    assert found.mape == pytest.approx((0.1 + 0.1 + 0.25 + 0.25) / 4)
    assert found.bias == pytest.approx((0.1 - 0.1 + 0.25 - 0.25) / 4)
    assert found.kendall == pytest.approx((5 - 1) / 6)  # of 6 pairs one is in the wrong order
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_ranks_of_one_network_are_unknown() -> None:
    found = Agreement.of(np.array([2.0]), np.array([1.0]))
    assert found.mape == found.bias == 1
    assert math.isnan(found.kendall)
    assert math.isnan(found.spearman)
    with pytest.raises(InvalidRequest, match=r"^networks: none; measure at least one$"):
        Agreement.of(np.array([]), np.array([]))
