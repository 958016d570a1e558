"""What all strategies that score one architecture after the other have in common."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import ModelEvent, ModelEventType
from nni.nas.space import ExecutableModelSpace
from nni.nas.strategy.base import Strategy

from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.budget.budget import Budget
from strategies.budget.budgeted import Budgeted
from strategies.multi_trial.remaining import Unasked
from strategies.multi_trial.used_labels import sample_key

_logger = logging.getLogger(__name__)


class MultiTrial(Budgeted, Strategy):
    """A strategy that asks for architectures inside a `Budget`, one at a time, and is told what each scores.

    Works on every NNI `ModelSpace` of categorical labels whose costs are known (its own ``cost_table`` or ``costs``),
    with every evaluator that reports a number, to be maximised. A budget that no architecture meets is refused before
    anything is trained, and when nothing inside is left to ask for, the strategy ends. Samples that differ only in
    labels of a choice that is not taken are one architecture.

    All randomness comes from ``seed``, so what is asked for depends on the seed and the scores alone: `load_state_dict`
    replays a recorded search, and what was asked for but never scored is asked for again.

    A subclass says what to ask for next (`_propose`) and what it learns from a score (`_observe`).
    """

    rng: np.random.RandomState
    unasked: Unasked

    def _set_up(self, budget: Budget | None, costs: CostTable | None, seed: int) -> None:
        self._set_budget(budget, costs)
        self.rng = np.random.RandomState(seed)
        self._asked: list[dict[str, Any]] = []
        self._running: list[tuple[ExecutableModelSpace, int]] = []
        self._events: list[list[Any]] = []  # ["ask", candidate numbers] and ["tell", trial, score], in their order
        self._again: list[int] = []  # trials to submit once more after a resume

    def _propose(self) -> dict[str, Any] | None:
        """The next sample to ask for; None if there is none left."""
        raise NotImplementedError

    def _observe(self, trial: int, sample: dict[str, Any], metric: float) -> None:
        """Learn that ``sample``, asked for as number ``trial`` (from 0), scores ``metric``; nan if it failed."""

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        # executable spaces of NNI wrap the space that the user wrote
        inner = getattr(model_space, "model_space", model_space)
        self._meet_space(inner)
        if extra := sorted(set(model_space.simplify()) - set(self.feasible.table.candidates)):
            raise InvalidRequest(f"evaluator: label {extra[0]!r} has no costs; only the space may hold choices")
        table = self.feasible.table
        self.unasked = Unasked(self.feasible, sample_key(inner, table.labels, table.indices))
        engine.register_model_event_callback(ModelEventType.TrainingEnd, self._training_end_callback)
        return model_space

    def _cleanup(self) -> None:
        self.engine.unregister_model_event_callback(ModelEventType.TrainingEnd, self._training_end_callback)

    def _run(self) -> None:
        while self.wait_for_resource():
            trial = self._again.pop(0) if self._again else self._ask()
            if trial is None:
                _logger.info("Nothing inside the budget is left to ask for after %d architectures.", len(self._asked))
                break
            model = self.model_space.freeze(dict(self._asked[trial]))
            self._running.append((model, trial))
            self.engine.submit_models(model)
        self.engine.wait_models()

    def _ask(self) -> int | None:
        sample = self._propose()
        if sample is None:
            return None
        self.unasked.note(sample)
        self._asked.append(sample)
        self._events.append(["ask", self.feasible.table.indices(sample).tolist()])
        return len(self._asked) - 1

    def _tell(self, trial: int, metric: float) -> None:
        self._events.append(["tell", trial, metric])
        self._observe(trial, self._asked[trial], metric)

    def _training_end_callback(self, event: ModelEvent) -> None:
        trial = next((trial for model, trial in self._running if model is event.model), None)
        if trial is None:
            return  # another strategy's
        self._running = [(model, other) for model, other in self._running if other != trial]
        metric = event.model.metric
        if metric is not None and not isinstance(metric, int | float | np.floating):
            raise TypeError(f"metric: {metric!r} is no number; report one with nni.report_final_result")
        self._tell(trial, math.nan if metric is None else float(metric))

    def list_models(self, sort: bool = True, limit: int | None = None) -> Iterator[ExecutableModelSpace]:
        """As in NNI, the best first; those without a finite score are no results."""
        models = list(super().list_models(sort=False))
        if sort:
            models = [model for model in models if model.metric is not None and math.isfinite(model.metric)]
            models.sort(key=lambda model: model.metric, reverse=True)
        yield from models[:limit]

    def state_dict(self) -> dict[str, Any]:
        """What was asked for and told, in order: plain lists of numbers."""
        return {"events": [list(event) for event in self._events]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replay a recorded search, after `initialize` and before `run`; RuntimeError if it was another one."""
        for kind, *values in state_dict["events"]:
            if kind == "tell":
                self._tell(*values)
            else:
                trial = self._ask()
                if trial is None or self.feasible.table.indices(self._asked[trial]).tolist() != values[0]:
                    raise RuntimeError(
                        f"state: architecture {len(self._asked)} is not what this strategy asks for; it was recorded"
                        " with another seed, budget, space or option"
                    )
        told = {trial for kind, trial, *_ in self._events if kind == "tell"}
        self._again = [trial for trial in range(len(self._asked)) if trial not in told]
