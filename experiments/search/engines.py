"""Engines that run the models of NNI's multi-trial strategies, several at once, and report them in order."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nni
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, IntermediateMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.runtime.trial_command_channel import (
    TrialCommandChannel,
    get_default_trial_command_channel,
    set_default_trial_command_channel,
)
from nni.typehint import ParameterRecord

from evaluators.training.pools import Call, Pool
from experiments.runs.failures import FailedShare, reason_of
from experiments.runs.records import TrialRecord

#: What a trial reported: metrics on the way, and the last one.
Reports = tuple[list[Any], list[Any]]


class OrderedEngine(SequentialExecutionEngine):
    """Runs submitted models by ``begin`` and reports their metrics in the order of submission.

    So what a strategy proposes depends on its seed and the metrics alone, not on which trial ends first: a search with
    several jobs can be repeated and resumed exactly.

    Args:
        begin: starts a model's trial without waiting for it, and returns a function that does.
        limit: models to run; then the budget of the engine is used up.
        ahead: models that may have been submitted and not reported: 1 runs them one after another.
    """

    def __init__(
        self, begin: Callable[[ExecutableModelSpace], Callable[[], float]], limit: int, ahead: int = 1
    ) -> None:
        super().__init__(max_model_count=limit)
        self.begin = begin
        self.ahead = ahead
        self._running: deque[tuple[ExecutableModelSpace, Callable[[], float]]] = deque()

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        for model in models:
            while len(self._running) >= self.ahead:
                self._report()
            model.status = ModelStatus.Training
            self._history.append(model)
            self._model_count += 1
            self._running.append((model, self.begin(model)))
            if self.ahead == 1:
                self._report()

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        while self._running:
            self._report()

    def _report(self) -> None:
        model, metric = self._running.popleft()
        self.dispatch_model_event(FinalMetricEvent(model, metric()))
        self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))


class PoolEngine(OrderedEngine):
    """NNI's engine on a pool of processes or of a Ray cluster: any multi-trial strategy submits to it unchanged.

    The shared value of the pool is the executable space that is searched; only samples travel. For instance::

        space = RawFormatModelSpace(space, evaluator)
        with closing(RayPool(RayOptions(), space, 8)) as pool:
            strategy(space, PoolEngine(pool, limit=1000, ahead=8))

    A trial that raises, reports nothing or no finite number, takes too long or loses its process again and again has
    failed, which strategies are told, and the search goes on.

    Args:
        pool: what runs the trials.
        limit: models to run; then the budget of the engine is used up.
        ahead: models that run at once. What a strategy proposes depends on it, and not on the pool. At most the size of
            the population where a strategy has one.
        max_failed: share of 8 or more trials that may fail; with more of them `TooManyFailed` ends the search.
        record: CSV file (`TrialRecord`) that gets a row for each trial.
    """

    def __init__(
        self, pool: Pool, limit: int, ahead: int = 1, max_failed: float = 0.5, record: Path | None = None
    ) -> None:
        super().__init__(self._begin, limit, ahead)
        self._pool = pool
        self._failed = FailedShare(max_failed)
        self._record = None if record is None else TrialRecord(record, ("metric",))

    def idle_worker_available(self) -> bool:
        """Waits until one is."""
        while len(self._running) >= self.ahead:
            self._report()
        return True

    def _begin(self, model: ExecutableModelSpace) -> Callable[[], float]:
        call: Call[Reports] = self._pool.submit(_execute, dict(model.sample))
        return partial(self._wait, model, call, self._model_count)

    def _wait(self, model: ExecutableModelSpace, call: Call[Reports], number: int) -> float:
        metric, reason = math.nan, ""
        try:
            intermediate, final = call.result()
        except Exception as error:
            reason = reason_of(error)
        else:
            for value in intermediate:
                self.dispatch_model_event(IntermediateMetricEvent(model, value))
            metric = final[-1] if final else math.nan
            if not (isinstance(metric, int | float) and math.isfinite(metric)):
                reason = f"its metric is {metric!r}" if final else "it reported no final result"
        if self._record is not None:
            self._record.add(
                title=f"trial {number}",
                metric=metric,
                node=call.node,
                seconds=call.seconds,
                attempts=call.attempts,
                reason=reason,
                architecture=json.dumps(model.sample, sort_keys=True, default=str),
            )
        self._failed.count(reason)
        return math.nan if reason else float(metric)

    def _report(self) -> None:
        model, wait = self._running.popleft()
        if math.isnan(metric := wait()):  # a metric that is none would win NNI's tournaments
            self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Failed))
            return
        self.dispatch_model_event(FinalMetricEvent(model, metric))
        self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained))


class _Channel(TrialCommandChannel):
    """Takes what the evaluator of a model reports."""

    def __init__(self, model: ExecutableModelSpace) -> None:
        self.model = model
        self.reports: Reports = ([], [])

    def receive_parameter(self) -> ParameterRecord:
        return ParameterRecord(parameter_id=0, parameters=self.model)

    def send_metric(self, type: str, parameter_id: int | None, trial_job_id: str, sequence: int, value: Any) -> None:
        self.reports[type == "FINAL"].append(value)


def _execute(space: ExecutableModelSpace, sample: dict[str, Any]) -> Reports:
    """What the evaluator of ``space`` reports of ``sample``."""
    model = space.freeze(sample)
    model.status = ModelStatus.Training
    before, channel = get_default_trial_command_channel(), _Channel(model)
    set_default_trial_command_channel(channel)
    try:
        nni.get_next_parameter()  # as every trial does before it reports
        model.execute()
    finally:
        set_default_trial_command_channel(before)
    return channel.reports
