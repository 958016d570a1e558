"""NNI's execution engine for trials that may run side by side and are reported in the order of their submission."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus

#: Begins the trial of a model and returns what waits for its metric.
Begin = Callable[[ExecutableModelSpace], Callable[[], float]]


class OrderedEngine(ExecutionEngine):
    """Runs submitted models by ``begin`` and tells the strategy their metrics in the order in which they came.

    So what a strategy proposes depends on its seed and the metrics alone, not on which trial happens to end first: a
    search with several jobs can be repeated and resumed exactly.

    Args:
        begin: starts a model's trial without waiting for it, and returns a function that does.
        limit: models to run; then the budget of the engine is used up.
        ahead: models that may have been submitted and not reported: 1 runs them one after another.
    """

    def __init__(self, begin: Begin, limit: int, ahead: int = 1) -> None:
        super().__init__()
        self.begin = begin
        self.limit = limit
        self.ahead = ahead
        self._models: list[ExecutableModelSpace] = []
        self._running: deque[tuple[ExecutableModelSpace, Callable[[], float]]] = deque()

    def submit_models(self, *models: ExecutableModelSpace) -> None:
        for model in models:
            while len(self._running) >= self.ahead:
                self._report()
            model.status = ModelStatus.Training
            self._models.append(model)
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

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        return [model for model in self._models if status is None or model.status == status]

    def idle_worker_available(self) -> bool:
        return True  # `submit_models` waits for a free place by itself

    def budget_available(self) -> bool:
        return len(self._models) < self.limit

    def shutdown(self) -> None:
        self._running.clear()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
