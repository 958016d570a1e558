"""Scoring what a multi-trial strategy proposes: by inherited weights, or by training, several candidates at once."""

from __future__ import annotations

import gc
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.space import ExecutableModelSpace, RawFormatModelSpace

from evaluators.base.progress import progress_bar
from evaluators.measuring.inherited import InheritedQuality
from evaluators.training.run import TrainingRun
from experiments.runs.errors import TrialFailed
from experiments.runs.failures import Failures, reason_of
from experiments.runs.folder import RunFolder
from experiments.runs.records import Judged, ScoreRecord
from experiments.runs.scores import Score
from experiments.runs.task import SearchTask, stream_seed
from experiments.runs.trainings import Trainings
from experiments.search.engines import OrderedEngine
from experiments.search.pareto import pareto_front, write_pareto
from experiments.search.plan import SEARCH, Plan
from experiments.tracking.trackers import Tracking
from search_space.architecture import Architecture
from search_space.network_cost import cost
from search_space.space import SepConvSpace
from strategies.options import MultiTrialOptions
from strategies.registry import make


class Judge(ABC):
    """Says how good a candidate is: by default, as soon as it is asked, in this process."""

    #: whether a candidate is scored as soon as it is begun
    immediate = True

    @abstractmethod
    def begin(self, model: ExecutableModelSpace, architecture: Architecture, trial: int) -> Callable[[], Judged]:
        """Begin to score proposal number ``trial``; the result waits for the score.

        It raises `TrialFailed` if the candidate has none.
        """

    def note(self, architecture: Architecture, trial: int) -> None:  # noqa: B027 - not all keep count
        """Count a proposal that was scored before the search was interrupted."""

    def close(self) -> None:  # noqa: B027 - not all train
        """Give up candidates that are in training."""


class InheritedWeights(Judge):
    """Minus the validation loss, or the accuracy, with weights inherited from a trained supernet."""

    def __init__(self, options: MultiTrialOptions, task: SearchTask, device: str) -> None:
        images, seed = options.images_to_calibrate, stream_seed(task.seed, "calibration")
        self.quality = InheritedQuality(task.data, calibration_images=images, seed=seed, device=device)
        self.name = options.scores[0]

    def begin(self, model: ExecutableModelSpace, architecture: Architecture, trial: int) -> Callable[[], Judged]:
        accuracy, loss = self.quality(model.executable_model())
        score = Score(accuracy, loss, math.nan).score(self.name)
        if not math.isfinite(score):
            raise TrialFailed(f"its score is {score}")
        return lambda: Judged(score, accuracy)


class ShortTrainings(Judge):
    """The validation accuracy, or minus a loss, after training from scratch.

    An architecture that is proposed again is trained on from where it was left in the run's folder, for the epochs of
    its next rung.
    """

    def __init__(self, options: MultiTrialOptions, task: SearchTask, run: RunFolder) -> None:
        self.config = task.config
        self.options = options
        self.folder = run.candidates
        self.trainings = Trainings(task, self.config.search, options.ahead, run.trials)
        self.immediate = not self.trainings.parallel
        self._ends = options.epochs_at_rungs(self.config.search.epochs)
        self._first: dict[Architecture, int] = {}
        self._rungs: Counter[Architecture] = Counter()

    def begin(self, model: ExecutableModelSpace, architecture: Architecture, trial: int) -> Callable[[], Judged]:
        rung = self._rungs[architecture]
        self.note(architecture, trial)
        first = self._first[architecture]
        home = self.folder / str(first) if len(self._ends) > 1 else None
        if home is not None:
            home.mkdir(parents=True, exist_ok=True)
        run = TrainingRun(
            seed=stream_seed(self.config.seed, f"trial {first}"),
            train_on="train",
            measure_on="validation",
            accelerator=self.config.accelerator,
            title=f"candidate {first}",
            folder=home,
            cycles=() if home is None else self._ends,
            # of one rung, an architecture that is proposed again is scored again
            until=self._ends[min(rung, len(self._ends) - 1)],
        )
        wait = self.trainings.begin(architecture, run)

        def score() -> Judged:
            try:
                result = wait()
            except Exception as error:
                reason = reason_of(error)
            else:
                value = result.score(self.options.scores[min(rung, len(self.options.scores) - 1)])
                if math.isfinite(value):
                    return Judged(value, result.accuracy)
                reason = result.reason or f"its score is {value}"
            gc.collect()  # what a training that was broken off holds would be missing in the next one
            raise TrialFailed(reason)

        return score

    def note(self, architecture: Architecture, trial: int) -> None:
        self._first.setdefault(architecture, trial)
        self._rungs[architecture] += 1

    def close(self) -> None:
        self.trainings.close()


def score_proposals(
    options: MultiTrialOptions,
    task: SearchTask,
    run: RunFolder,
    space: SepConvSpace,
    judge: Judge,
    tracking: Tracking,
    plan: Plan,
) -> list[Architecture]:
    """Score what the strategy proposes until it has had its trials; the architectures that went furthest, best first.

    A search that was killed is answered from its record first: the strategy is deterministic, so it proposes the same
    architectures again. A trial that fails has no score (nan); `TooManyFailed` if more than ``config.max_failed`` do.
    """
    config, record = task.config, ScoreRecord(run.architectures, options.scores)
    failures = Failures(run.failures, config.max_failed)
    replay = list(record.scored)
    limit = sum(options.rung_sizes)
    bar = progress_bar(limit, plan.title(SEARCH, config.strategy.name), "architecture", work=plan.work)
    trial = 0

    def begin(model: ExecutableModelSpace) -> Callable[[], float]:
        nonlocal trial
        architecture, number = task.space.architecture(dict(model.sample)), trial
        trial += 1
        if number < len(replay):
            if replay[number].architecture != architecture:
                raise RuntimeError(f"{run.architectures}: row {number} is not what this search proposes; start again")
            judge.note(architecture, number)
            return lambda: report(number, replay[number].score)
        wait = judge.begin(model, architecture, number)

        def finish() -> float:
            try:
                judged = wait()
            except TrialFailed as failure:
                failures.add(number, str(failure), architecture)
                judged = Judged(math.nan)
            record.add(architecture, *judged)
            return judged.score

        if judge.immediate:  # recorded at once, so that a kill loses nothing; the strategy is told in its turn
            score = finish()
            return lambda: report(number, score)
        return lambda: report(number, finish())

    def report(number: int, score: float) -> float:
        failures.check(record.scored[: number + 1])
        tracking.send({"score": score, **asdict(cost(record.scored[number].architecture))}, number)
        finite = [scored.score for scored in record.scored if math.isfinite(scored.score)]
        # a refresh would draw the bar within its delay, and closing it would not clear it then
        bar.set_postfix(best=f"{max(finite, default=math.nan):.3f}", refresh=False)
        plan.scored(number, before=number < len(replay))
        bar.update(1)
        return score

    seed = stream_seed(config.seed, "strategy")
    strategy = make(config.strategy.name, options.for_trials(), feasible=task.searched, seed=seed)
    with bar:
        model = RawFormatModelSpace(space, FunctionalEvaluator(_never))
        strategy(model, OrderedEngine(begin, limit, options.ahead))
    failures.check_some_left(record.scored)
    if trial < limit:
        plan.gone(trial)
        print(f"{config.strategy.name}: no new architecture inside the budget after {trial} of {limit} trials")
        if task.searched is not task.feasible:
            print(f"searched was {task.searched.budget}; --fill 0 searches the whole budget")
    if objectives := options.objectives_beside_accuracy:
        front = pareto_front(record.scored, task.space, task.feasible.table, config.budget, objectives)
        write_pareto(front, config.budget, run.path)
    samples = [task.space.sample(scored.architecture) for scored in record.scored]
    believed = strategy.proposer.believed(samples, [scored.score for scored in record.scored])
    return record.ranked(believed, trained_on=len(options.rung_sizes) > 1)


def _never(model: object) -> None:
    """The engine scores models itself; NNI asks for an evaluator all the same."""
    raise RuntimeError("models are scored by the engine")
