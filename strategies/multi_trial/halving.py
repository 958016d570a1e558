"""Successive halving over real trainings, whose candidates a model of the scores proposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from search_space.base.checks import option, require
from strategies.multi_trial._proposer import Sample
from strategies.multi_trial.predictor import SHORT_TRAININGS, PredictorOptions, PredictorProposer
from strategies.options import Score
from strategies.registry import register


@dataclass(frozen=True)
class HalvingOptions(PredictorOptions):
    """Options of ``halving``. ``trials`` is the number of architectures of the first rung.

    On the last rung an architecture is scored by its validation loss, on those before by the training loss of the last
    epoch: of short trainings that tells more than the validation loss (experiments/results/README.md; Ru et al. 2021).

    Attributes:
        scoring: always by training.
        rungs: stages of training, each for the best of the one before; with 1 all get the whole recipe at once.
        experience: what the model starts from: tables of networks trained on other images (`sepnas tabulate`), as
            folders; cifar10-jpeg-16 comes with sepnas. Empty for none.
        reduction_factor: one in this many goes on to the next rung, whose epochs are this many times as many; those of
            the last rung are all epochs of the recipe.
    """

    trials: int = option(48, least=1)
    scoring: Literal["training"] = "training"
    ahead: int = option(4, least=1)
    rungs: int = option(2, least=1, most=8)
    reduction_factor: int = option(4, least=2)
    experience: list[str] = option(factory=lambda: ["cifar10-jpeg-16"])

    @property
    def scores(self) -> tuple[Score, ...]:
        """Losses, as they tell more than accuracies where images are few."""
        early: list[Score] = ["negative_training_loss"] * (self.rungs - 1)
        return (*early, "negative_validation_loss")

    @property
    def rung_sizes(self) -> tuple[int, ...]:
        """How many architectures are scored at each rung."""
        return tuple(math.ceil(self.trials / self.reduction_factor**rung) for rung in range(self.rungs))

    def epochs_at_rungs(self, epochs: int) -> tuple[int, ...]:
        """For how many of the recipe's ``epochs`` in all a candidate is trained when it is scored at each rung."""
        shares = [self.reduction_factor ** (self.rungs - 1 - rung) for rung in range(self.rungs)]
        # few epochs may not be told apart by all rungs: each gets one more than the rung before at least
        ends = [max(rung + 1, round(epochs / share)) for rung, share in enumerate(shares)]
        require(
            ends[-1] <= epochs,
            "strategy.options.rungs",
            self.rungs,
            f"cannot be told apart by search.epochs {epochs}",
            "use fewer rungs or more epochs",
        )
        return tuple(ends)


class HalvingProposer(PredictorProposer):
    """Successive halving (Jamieson & Talwalkar 2016; Li et al. 2018, Hyperband, section 3) inside the budget.

    The first rung's architectures are the `PredictorProposer`'s, which learns from that rung's scores alone: they were
    trained equally long. Those of which the model then expects most go on to the second rung, and of later rungs the
    best with a finite score: what is proposed for the n-th time is to be trained on to rung n - 1, never from the
    beginning.
    """

    options: HalvingOptions
    noise = SHORT_TRAININGS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._rung = 0
        self._queue: list[int] = []  # first-rung trials that are still to be proposed at the current rung
        self._first: list[int] = []  # of each proposal the first-rung trial of the same architecture
        self._samples: list[Sample] = []  # of the first rung
        self._scores: list[dict[int, float]] = [{} for _ in range(self.options.rungs)]  # rung -> first trial -> score
        self._filling = True  # whether the first rung is not complete yet

    def propose(self) -> Sample | None:
        if self._filling:
            sample = super().propose() if len(self._samples) < self.options.trials else None
            if sample is not None:
                self._first.append(len(self._samples))
                self._samples.append(sample)
                return sample
            self._filling = False
        if not self._queue and not self._promote():
            return None
        self._first.append(self._queue.pop(0))
        return dict(self._samples[self._first[-1]])

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        first = self._first[trial]
        rung = self._first[: trial + 1].count(first) - 1
        self._scores[rung][first] = metric
        if rung == 0:
            super().observe(trial, sample, metric)

    def believed(self, samples: Sequence[Sample], metrics: Sequence[float]) -> list[float]:
        """The metrics as they are: those of the last rung are too few for a model."""
        return list(metrics)

    def _promote(self) -> bool:
        """Queue the best of the current rung for the next, unless there is none or scores of this rung are missing."""
        pending = len(self._first) - sum(map(len, self._scores))
        if pending or self._rung + 1 >= self.options.rungs:
            return False
        finite = {first: score for first, score in self._scores[self._rung].items() if math.isfinite(score)}
        if self._rung == 0:  # their scores are noisy, but enough for a model
            trials = sorted(finite)
            samples, scores = [self._samples[trial] for trial in trials], [finite[trial] for trial in trials]
            finite = dict(zip(trials, super().believed(samples, scores), strict=True))
        best = sorted(finite, key=lambda first: (-finite[first], first))
        self._rung += 1
        self._queue = best[: self.options.rung_sizes[self._rung]]
        return bool(self._queue)


register(
    "halving",
    "successive halving over real trainings of architectures that a Gaussian process proposes",
    HalvingOptions,
    HalvingProposer,
)
