"""NNI's form of the multi-trial strategies: one adapter around any `Proposer`."""

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
from strategies.budget.budgeted import Budgeted
from strategies.budget.remaining import Remaining
from strategies.budget.used_labels import sample_key
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.multi_trial.policy_rl import PolicyProposer
from strategies.options import MultiTrialOptions
from strategies.registry import registered

_logger = logging.getLogger(__name__)


class MultiTrial(Budgeted, Strategy):
    """A multi-trial strategy of `STRATEGIES` as an NNI strategy: its proposals are trials, metrics its observations.

    Takes every NNI `ModelSpace` of categorical labels whose costs are known, and every evaluator that reports a number,
    to be maximised. A budget that nothing meets is refused before anything is trained; the strategy ends when nothing
    inside is left. Samples that differ only in labels of a choice that is not taken are one architecture.

    The proposals depend on the seed and the scores alone: `load_state_dict` replays a recorded search, and what was
    proposed but never scored is submitted again.

    Args:
        options: the strategy's options; by default ``values`` and the defaults of the others.
        name: which strategy; its subclasses, such as `TPE`, know.
        values: single options by name, and what `Budgeted` takes.
    """

    #: what `STRATEGIES` calls it
    name = ""
    proposer: Proposer[Any]

    def __init_subclass__(cls, *, name: str, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.name = name

    def __init__(self, options: MultiTrialOptions | None = None, *, name: str | None = None, **values: Any) -> None:
        super().__init__(**{own: values.pop(own) for own in self.COMMON if own in values})
        self.name = self.name if name is None else name
        self.options: MultiTrialOptions = registered(self.name).options_from(options, values)
        self.options.check_packages()
        self._proposed: list[Sample] = []
        self._running: list[tuple[ExecutableModelSpace, int]] = []
        self._events: list[list[Any]] = []  # ["ask", candidate indices] and ["tell", trial, metric], in their order
        self._again: list[int] = []  # trials to submit once more after a resume

    def _make_proposer(self, remaining: Remaining) -> Proposer[Any]:
        proposer: Proposer[Any] = registered(self.name).load()(self.options, self.feasible, remaining, self.seed)
        return proposer

    def _initialize(self, model_space: ExecutableModelSpace, engine: ExecutionEngine) -> ExecutableModelSpace:
        # executable spaces of NNI wrap the space that the user wrote
        inner = getattr(model_space, "model_space", model_space)
        self._meet_space(inner)
        table = self.feasible.table
        if extra := sorted(set(model_space.simplify()) - set(table.candidates)):
            raise InvalidRequest(f"evaluator: label {extra[0]!r} has no costs; only the space may hold choices")
        self.remaining = Remaining(self.feasible, sample_key(inner, table.labels, table.indices))
        self.proposer = self._make_proposer(self.remaining)
        engine.register_model_event_callback(ModelEventType.TrainingEnd, self._training_end_callback)
        return model_space

    def _cleanup(self) -> None:
        self.engine.unregister_model_event_callback(ModelEventType.TrainingEnd, self._training_end_callback)

    def _run(self) -> None:
        while self.wait_for_resource():
            trial = self._again.pop(0) if self._again else self._ask()
            if trial is None and self._running:
                self.engine.wait_models()  # it may be scores that are missing
                trial = self._ask()
            if trial is None:
                _logger.info("After %d architectures nothing inside the budget is left.", len(self._proposed))
                break
            model = self.model_space.freeze(dict(self._proposed[trial]))
            self._running.append((model, trial))
            self.engine.submit_models(model)
        self.engine.wait_models()

    def _ask(self) -> int | None:
        sample = self.proposer.propose()
        if sample is None:
            return None
        self.remaining.remove(sample)
        self._proposed.append(sample)
        self._events.append(["ask", self.feasible.table.indices(sample).tolist()])
        return len(self._proposed) - 1

    def _tell(self, trial: int, metric: float) -> None:
        self._events.append(["tell", trial, metric])
        self.proposer.observe(trial, self._proposed[trial], metric)

    def _training_end_callback(self, event: ModelEvent) -> None:
        trial = next((trial for model, trial in self._running if model is event.model), None)
        if trial is None:
            return  # another strategy's
        self._running = [(model, other) for model, other in self._running if other != trial]
        metric = event.model.metric
        if metric is not None and not isinstance(metric, int | float | np.floating):
            raise TypeError(f"metric: {metric!r} is not a number; report one with nni.report_final_result")
        self._tell(trial, math.nan if metric is None else float(metric))

    def list_models(self, sort: bool = True, limit: int | None = None) -> Iterator[ExecutableModelSpace]:
        """As in NNI, the best first; those without a finite score are left out."""
        models = list(super().list_models(sort=False))
        if sort:
            models = [model for model in models if model.metric is not None and math.isfinite(model.metric)]
            models.sort(key=lambda model: model.metric, reverse=True)
        yield from models[:limit]

    def state_dict(self) -> dict[str, Any]:
        """What was proposed and observed, in order: plain lists of numbers."""
        return {"events": [list(event) for event in self._events]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replay a recorded search, after `initialize` and before `run`; RuntimeError if it was another one."""
        for kind, *values in state_dict["events"]:
            if kind == "tell":
                self._tell(*values)
            else:
                trial = self._ask()
                if trial is None or self.feasible.table.indices(self._proposed[trial]).tolist() != values[0]:
                    raise RuntimeError(
                        f"state: architecture {len(self._proposed)} is not what this strategy proposes; it was recorded"
                        " with another seed, budget, space or option"
                    )
        scored = {trial for kind, trial, *_ in self._events if kind == "tell"}
        self._again = [trial for trial in range(len(self._proposed)) if trial not in scored]


class Random(MultiTrial, name="random"):
    """NNI's form of `strategies.multi_trial.random.RandomProposer`."""


class GridSearch(MultiTrial, name="grid"):
    """NNI's form of `strategies.multi_trial.grid.GridProposer`."""


class RegularizedEvolution(MultiTrial, name="evolution"):
    """NNI's form of `strategies.multi_trial.evolution.EvolutionProposer`."""


class NSGA2(MultiTrial, name="nsga2"):
    """NNI's form of `strategies.multi_trial.nsga2.NSGA2Proposer`."""


class TPE(MultiTrial, name="tpe"):
    """NNI's form of `strategies.multi_trial.tpe.TpeProposer`."""


class Predictor(MultiTrial, name="predictor"):
    """NNI's form of `strategies.multi_trial.predictor.PredictorProposer`."""


class SuccessiveHalving(MultiTrial, name="halving"):
    """NNI's form of `strategies.multi_trial.halving.HalvingProposer`: the evaluator gets the best architectures several
    times, and should continue the training of one that it has seen before."""


class PolicyBasedRL(MultiTrial, name="policy-rl"):
    """NNI's form of `strategies.multi_trial.policy_rl.PolicyProposer`; ``policy_fn``, as in NNI's ``PolicyBasedRL``,
    makes the policy of a ``TuningEnvironment``."""

    def __init__(self, options: MultiTrialOptions | None = None, *, policy_fn: Any = None, **values: Any) -> None:
        super().__init__(options, **values)
        self.policy_fn = policy_fn

    def _make_proposer(self, remaining: Remaining) -> Proposer[Any]:
        return PolicyProposer(self.options, self.feasible, remaining, self.seed, policy_fn=self.policy_fn)
