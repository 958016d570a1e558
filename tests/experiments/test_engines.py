"""NNI's strategies on our engines: each metric belongs to its architecture, and trials that fail stop nothing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nni
import psutil
import pytest
from helpers.runs import outcome, rows
from helpers.searches import run
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import ModelStatus, RawFormatModelSpace
from nni.nas.strategy import RegularizedEvolution
from torch import nn

import strategies
from evaluators.training.pools import InProcess
from experiments.cli import main
from experiments.runs.errors import TooManyFailed
from experiments.search.engines import OrderedEngine, PoolEngine
from search_space.candidates import SearchSpace
from search_space.space import SepConvSpace

#: keeps a figure that evaluators/README.md states: `pytest --junit-xml FILE` writes them down
Record = Callable[[str, object], None]
ROOT = Path(__file__).resolve().parents[2]
LABELS, CHOICES = [f"b{label}" for label in range(8)], 6


class Named(nn.Module):
    """A layer that can be told from others."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Wide(ModelSpace):  # type: ignore[misc]
    """More than a million architectures."""

    def __init__(self) -> None:
        super().__init__()
        for label in LABELS:
            names = [f"c{choice}" for choice in range(CHOICES)]
            setattr(self, label, LayerChoice({name: Named(name) for name in names}, label=label))


def digest(sample: dict[str, Any]) -> float:
    """The metric that an architecture alone can have."""
    text = json.dumps(sample, sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def built(model: Any) -> float:
    """The digest of the layers that ``model`` really has."""
    return digest({label: getattr(model, label).name for label in LABELS})


def evaluate(model: Any) -> None:
    nni.report_intermediate_result(0.5)
    nni.report_final_result(built(model))


def fail_sometimes(model: Any) -> None:
    value = built(model)
    if value < 0.1:
        raise MemoryError("out of memory")
    nni.report_final_result(math.nan if value < 0.2 else value)


def fail(model: Any) -> None:
    raise ValueError("odd")


def evolve(evaluator: Any, engine_of: Any, trials: int) -> tuple[list[Any], PoolEngine]:
    """What NNI's own evolution submits, its models with their metrics."""
    space = RawFormatModelSpace(Wide(), FunctionalEvaluator(evaluator))
    engine = engine_of(space)
    strategy = RegularizedEvolution(population_size=20, sample_size=5, mutation_prob=0.2, seed=1)
    strategy(space, engine)
    models = list(engine.list_models())
    assert len(models) == trials
    return models, engine


def test_an_nni_strategy_runs_unchanged_and_is_told_of_trials_that_fail(tmp_path: Path) -> None:
    record = tmp_path / "trials.csv"
    models, _ = evolve(fail_sometimes, lambda space: PoolEngine(InProcess(space), 60, 3, record=record), 60)
    failed = [model for model in models if digest(model.sample) < 0.2]
    assert 0 < len(failed) < 30
    for model in models:
        assert model.status == (ModelStatus.Failed if model in failed else ModelStatus.Trained)
        assert model.metric == (None if model in failed else digest(model.sample))
    written = rows(record)
    assert [json.loads(row["architecture"]) for row in written] == [model.sample for model in models]
    reasons = {row["reason"] for row in written}
    assert reasons == {"", "MemoryError: out of memory", "its metric is nan"}


def test_more_failures_than_allowed_end_the_search_of_an_nni_strategy() -> None:
    with pytest.raises(TooManyFailed, match=r"8 of 8 trials failed, more than max_failed 0\.5 .* ValueError: odd"):
        evolve(fail, lambda space: PoolEngine(InProcess(space), 60), 60)


def test_the_engine_of_searches_takes_little_time_for_each_trial(record_property: Record) -> None:
    space = SepConvSpace(SearchSpace.create(operators=["dw_k3", "xsep_k3"], image_size=8, in_channels=1, classes=10))
    model, trials = RawFormatModelSpace(space, FunctionalEvaluator(fail)), 200
    strategy = strategies.RegularizedEvolution(costs=space.cost_table, seed=1)
    start = time.process_time()
    strategy(model, OrderedEngine(lambda model: lambda: digest(model.sample), trials))
    each = (time.process_time() - start) / trials
    record_property("ms a trial, sequential engine", round(1000 * each, 2))
    assert each < 0.005
    assert len(list(strategy.list_models(sort=False))) == trials


# --- Ray, minutes ---


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A Ray cluster of two nodes on this machine, head and worker, each with 4 cores and processes of its own."""
    from evaluators.cluster.join import OwnCluster, leave

    cluster = OwnCluster(4)
    try:
        cluster.nodes.add_node(node_ip_address="127.0.0.1", num_cpus=4)
        yield cluster.nodes
    finally:
        leave()
        cluster.shutdown()


def workers_of(node: Any) -> list[psutil.Process]:
    """The processes of a Ray node that calls run in."""
    (raylet,) = (info.process.pid for info in node.all_processes["raylet"])
    return [
        process
        for process in psutil.Process(raylet).children()
        if process.name().startswith(("ray::sepnas", "ray::IDLE"))
    ]


def memory() -> float:
    """MB of this process and of all that it has started."""
    here = psutil.Process()
    return sum(process.memory_info().rss for process in [here, *here.children(recursive=True)]) / 2**20


@pytest.mark.slow
def test_each_of_500_metrics_belongs_to_its_architecture_though_workers_are_killed(
    nodes: Any, tmp_path: Path, record_property: Record
) -> None:
    from evaluators.cluster.options import RayOptions
    from evaluators.cluster.pool import RayPool

    record, rng, killed = tmp_path / "trials.csv", random.Random(0), []

    class Deadly(PoolEngine):
        def _report(self) -> None:
            super()._report()
            if len(rows(record)) % 50 == 0:
                victims = [process for node in nodes.list_all_nodes() for process in workers_of(node)]
                victim = rng.choice(victims)
                killed.append(victim.pid)
                os.kill(victim.pid, signal.SIGKILL)

    alone, _ = evolve(evaluate, lambda space: PoolEngine(InProcess(space), 500, 8), 500)
    space = RawFormatModelSpace(Wide(), FunctionalEvaluator(evaluate))
    with closing(RayPool(RayOptions(address=nodes.address), space, 8, retries=3)) as pool:
        models, _ = evolve(evaluate, lambda _: Deadly(pool, 500, 8, record=record), 500)
    written = rows(record)
    record_property("trials begun anew", sum(row["attempts"] != "1" for row in written))
    record_property("mix-ups", sum(model.metric != digest(model.sample) for model in models))
    record_property("trials by node", dict(Counter(row["node"] for row in written)))
    assert len(killed) == 10
    assert [model.metric for model in models] == [digest(model.sample) for model in models]
    assert [model.sample for model in models] == [model.sample for model in alone]
    assert len({row["node"] for row in written}) == 2


@pytest.mark.slow
def test_a_thousand_trials_on_ray_take_no_more_memory(record_property: Record) -> None:
    from evaluators.cluster.join import leave
    from evaluators.cluster.options import RayOptions
    from evaluators.cluster.pool import RayPool

    space = RawFormatModelSpace(Wide(), FunctionalEvaluator(evaluate))
    seen: list[tuple[float, float]] = []

    class Watched(PoolEngine):
        def _report(self) -> None:
            super()._report()
            if len(self._history) % 100 == 0:
                seen.append((memory(), time.monotonic()))

    try:
        with closing(RayPool(RayOptions(), space, 4)) as pool:
            models, _ = evolve(evaluate, lambda _: Watched(pool, 1000, 4), 1000)
    finally:
        leave()
    assert [model.metric for model in models] == [digest(model.sample) for model in models]
    (before, start), (after, end) = seen[0], seen[-1]
    record_property("MB more after 1,000 trials on Ray", round(after - before))
    record_property("ms a trial on Ray", round(1000 * (end - start) / 900, 1))
    assert after - before < 200


@pytest.mark.slow
def test_a_search_whose_node_is_lost_gives_what_it_gives_alone(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    trials = ("--strategy.options.trials", "12", "--strategy.options.ahead", "4")
    whole = run(tmp_path, "training", *trials, name="whole")
    from experiments.runs.records import TrialRecord

    original = TrialRecord.add

    def add(self: TrialRecord, **values: Any) -> None:
        original(self, **values)
        if len(rows(self._table.path)) == 4:
            (worker,) = nodes.worker_nodes
            nodes.remove_node(worker, allow_graceful=False)

    monkeypatch.setattr(TrialRecord, "add", add)
    ray = ("--engine", "ray", "--ray.address", nodes.address, "--jobs", "4", "--retries", "3")
    spread = run(tmp_path, "training", *trials, *ray, name="spread")
    record_property("trials begun anew", sum(row["attempts"] != "1" for row in rows(spread / "trials.csv")))
    assert not nodes.worker_nodes
    assert outcome(spread) == outcome(whole)
    assert len({row["node"] for row in rows(spread / "trials.csv")}) == 2
    assert not (spread / "failures.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_search_on_ray_that_is_ended_leaves_no_process_and_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    trials = ["--strategy.options.trials", "60", "--strategy.options.ahead", "2"]
    whole = run(tmp_path, "training", *trials, name="whole")
    search = ["search", str(tmp_path / "training.yaml"), *trials, "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "experiments", *search, "--engine", "ray", "--jobs", "2"]
    scored = tmp_path / "out" / "architectures.csv"
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        while not scored.exists() or not rows(scored):
            assert process.poll() is None
            time.sleep(0.02)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 4
        process.send_signal(number)
    assert process.returncode == (128 + number if number == signal.SIGTERM else -number)
    assert not (tmp_path / "out" / "winner.json").exists()
    latest = time.monotonic() + 120  # agents of Ray look for their cluster for a minute
    while left := [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < latest, left
        time.sleep(0.1)
    assert main([*search, "--resume"]) == 0
    assert outcome(tmp_path / "out") == outcome(whole)
