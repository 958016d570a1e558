"""NNI's execution engine for trials that may run side by side and are reported in the order of their submission."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from nni.nas.execution import SequentialExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus


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
