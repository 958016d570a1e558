"""Search by a model of the scores: a Gaussian process over the labels says what is worth scoring next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search_space.base.checks import option
from search_space.base.errors import InvalidRequest
from search_space.cost_table import CostTable
from strategies.multi_trial._proposer import Proposer, Sample
from strategies.options import MultiTrialOptions
from strategies.registry import register

if TYPE_CHECKING:
    from strategies.multi_trial._surrogate import GaussianProcess

IntArray = NDArray[np.int64]

#: The best so many architectures are mutated,
_PARENTS = 10
#: each into so many that differ in more than one label, beside all that differ in one.
_FAR_MUTANTS = 100
#: Proposals drawn uniformly inside the budget.
_DRAWS = 200
#: Steps uphill on the expected improvement from the best proposal.
_CLIMBS = 3
#: New scores until the covariance is fitted anew, and until exact optima are asked for anew.
_EVERY = 4
#: Nodes of the solver's tree that an optimum may take; harder ones are left out.
_SOLVER_NODES = 200
#: Fewest scores that are numbers for a model.
_LEAST = 3
#: Most scores that the model is fitted to: the best and the newest.
_MOST = 400


class Noise(NamedTuple):
    """What is expected of the scores before any is seen, as shares of their variance.

    Attributes:
        noise: what would differ if the same architecture were scored again,
        spread: how unsure that is: the standard deviation of its logarithm.
        own: what is an architecture's own, shared with none that differs from it in many labels.
    """

    noise: float
    spread: float
    own: float


#: Of scores of which nothing is known.
SCORES = Noise(0.03, 2.0, 0.2)
#: Of losses of short trainings: another seed gives a rank correlation of about a third (experiments/results/README.md).
SHORT_TRAININGS = Noise(0.5, 0.5, 0.03)


@dataclass(frozen=True)
class PredictorOptions(MultiTrialOptions):
    """Options of ``predictor``.

    Attributes:
        startup: architectures drawn uniformly before the model is used.
    """

    startup: int = option(10, least=1)


class PredictorProposer(Proposer[PredictorOptions]):
    """Proposes what a Gaussian process expects to improve most on the best, inside the budget, and nothing twice.

    The improvement is that of the noiseless score over the best *predicted* one among those scored. Candidates are
    mutants of the best, uniform draws, and the exact optima of two additive models: the process's own additive part,
    and its mean around the best to first order. What has no score yet counts as scored as predicted, so that several
    can be proposed at once; scores that are not finite count as the lowest.
    """

    #: How noisy the scores are taken to be before they have been seen.
    noise: Noise = SCORES

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._table = self.feasible.table
        self._sizes = np.array([len(values) for values in self._table.candidates.values()])
        self._proposed: list[IntArray] = []  # in the order of trials
        self._metrics: dict[int, float] = {}
        self._process = _process_for(self._table, self.noise)
        self._tuned_at = -_EVERY
        self._optima: list[IntArray] = []

    def propose(self) -> Sample | None:
        """The next architecture to score; None if there is none left."""
        knows = len(self._metrics) >= self.options.startup and self._finite() >= _LEAST
        sample = self._improve() if knows else self.remaining.random(self.rng)
        if sample is not None:
            self._proposed.append(self._table.indices(sample))
        return sample

    def observe(self, trial: int, sample: Sample, metric: float) -> None:
        """Learn that ``sample``, proposal number ``trial`` (from 0), scores ``metric``; nan if it failed."""
        self._metrics[trial] = metric

    def believed(self, samples: Sequence[Sample], metrics: Sequence[float]) -> list[float]:
        """What the model expects of scored architectures, as the luckiest of noisy scores is not the best network."""
        finite = [at for at, metric in enumerate(metrics) if math.isfinite(metric)]
        values = list(metrics)
        if len(finite) >= _LEAST:
            known = [samples[at] for at in finite]
            expected = predict_scores(self._table, known, [metrics[at] for at in finite], known, self.noise)
            for at, value in zip(finite, expected, strict=True):
                values[at] = value
        return values

    def _finite(self) -> int:
        return sum(map(math.isfinite, self._metrics.values()))

    def _improve(self) -> Sample | None:
        tune = len(self._metrics) - self._tuned_at >= _EVERY
        if tune:
            self._tuned_at = len(self._metrics)
        scored, mean = self._fit(tune)
        order = np.argsort(-mean, kind="stable")
        best = float(mean[order[0]])
        if tune:
            self._optima = self._exact_optima(scored[order[0]])
        parents = scored[order[:_PARENTS]]
        pool = [self._mutants(parent) for parent in parents]
        pool.append(self.feasible.sample_many(self.rng, _DRAWS))
        if self._optima:
            pool.append(np.stack(self._optima))
        proposal = self._best_new(np.concatenate(pool), best)
        for _ in range(_CLIMBS):
            nearby = None if proposal is None else self._best_new(self._mutants(proposal[0]), best)
            if proposal is None or nearby is None or nearby[1] <= proposal[1]:
                break
            proposal = nearby
        if proposal is None:
            return self.remaining.nearest(self._table.sample(parents[0]), self.rng)
        return self._table.sample(proposal[0])

    def _fit(self, tune: bool) -> tuple[IntArray, NDArray[np.float64]]:
        """Condition the process on all scores and on what is pending; what was scored, and its predicted scores."""
        trials = sorted(self._metrics)
        metrics = np.array([self._metrics[trial] for trial in trials])
        finite = np.isfinite(metrics)
        metrics[~finite] = metrics[finite].min()
        scored = np.stack([self._proposed[trial] for trial in trials])
        keep = _fitted_to(metrics)
        scored, metrics, finite = scored[keep], metrics[keep], finite[keep]
        self._process.fit(scored, metrics, tune=tune)
        pending = [chosen for trial, chosen in enumerate(self._proposed) if trial not in self._metrics]
        if pending:
            expected, _ = self._process.predict(np.stack(pending))
            self._process.fit(np.stack([*scored, *pending]), np.concatenate([metrics, expected]), tune=False)
        mean, _ = self._process.predict(scored[finite])
        return scored[finite], mean

    def _best_new(self, proposals: IntArray, best: float) -> tuple[IntArray, float] | None:
        """The proposal (labels,) with the largest expected improvement among those that are inside and new, and that
        improvement; None if there is none."""
        from strategies.multi_trial._surrogate import expected_improvement

        inside = self.feasible.budget.inside(self._table.evaluate(proposals, self.feasible.budget.bounds() or None))
        proposals = np.unique(proposals[inside], axis=0)
        if not len(proposals):
            return None
        gain = expected_improvement(*self._process.predict(proposals), best)
        for row in np.argsort(-gain, kind="stable"):
            if self._table.sample(proposals[row]) in self.remaining:
                return proposals[row], float(gain[row])
        return None

    def _mutants(self, parent: IntArray) -> IntArray:
        """All that differ from ``parent`` in one label, and some that differ in two to four; not all are inside."""
        labels = len(self._sizes)
        near = np.repeat(parent[None], self._sizes.sum(), axis=0)
        near[np.arange(len(near)), np.repeat(np.arange(labels), self._sizes)] = np.concatenate(
            [np.arange(size) for size in self._sizes]
        )
        far = np.repeat(parent[None], _FAR_MUTANTS, axis=0)
        changed = 2 + self.rng.randint(0, 3, _FAR_MUTANTS)
        marked = self.rng.random_sample((_FAR_MUTANTS, labels)).argsort(axis=1) < changed[:, None]
        drawn = (self.rng.random_sample(marked.shape) * self._sizes).astype(np.int64)
        return np.concatenate([near, np.where(marked, drawn, far)])

    def _exact_optima(self, incumbent: IntArray) -> list[IntArray]:
        """Inside the budget, the best of the process's additive part, and of its mean around ``incumbent``."""
        mean, _ = self._process.predict(self._mutants(incumbent)[: self._sizes.sum()])
        own = np.split(mean, np.cumsum(self._sizes)[:-1])
        around = [values - values[k] for values, k in zip(own, incumbent, strict=True)]
        optima = []
        for scores in (self._process.additive_scores(), around):
            scale = max(float(np.abs(np.concatenate(scores)).max()), 1e-12)
            scaled = {label: values / scale for label, values in zip(self._table.labels, scores, strict=True)}
            optima.append(self.feasible.nearly_best(scaled, gap=1e-3, nodes=_SOLVER_NODES))
        return [optimum for optimum in optima if optimum is not None]


def kinds_of(table: CostTable) -> list[list[str]] | None:
    """For each label the kinds of its candidates; None if they tell no more than the candidates do."""
    kinds = [list(table.kinds[label]) for label in table.labels] if table.kinds is not None else []
    return kinds if any(len(set(own)) < len(own) for own in kinds) else None


def _process_for(table: CostTable, noise: Noise) -> GaussianProcess:
    from strategies.multi_trial._surrogate import GaussianProcess

    known = None if table.experience is None else [table.experience[label] for label in table.labels]
    return GaussianProcess([len(values) for values in table.candidates.values()], kinds_of(table), noise, known)


def _fitted_to(metrics: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the ``metrics``, in the order of trials, a model is fitted to: not more than it can take."""
    keep = np.ones(len(metrics), dtype=bool)
    if len(metrics) > _MOST:
        keep[:] = False
        keep[np.argsort(-metrics, kind="stable")[: _MOST // 2]] = True
        keep[np.flatnonzero(~keep)[-(_MOST - _MOST // 2) :]] = True
    return keep


def predict_scores(
    table: CostTable,
    scored: Sequence[Sample],
    scores: Sequence[float],
    wanted: Sequence[Sample],
    noise: Noise = SCORES,
) -> list[float]:
    """What the model of `PredictorProposer`, given the finite ``scores`` of ``scored``, expects of ``wanted``.

    InvalidRequest if there are fewer than three scores.
    """
    if len(scores) < _LEAST:
        raise InvalidRequest(f"scores: {len(scores)} are too few for a model; score {_LEAST} architectures or more")
    process = _process_for(table, noise)
    metrics = np.asarray(scores, dtype=np.float64)
    keep = _fitted_to(metrics)
    process.fit(np.stack([table.indices(sample) for sample in scored])[keep], metrics[keep], tune=True)
    return process.predict(np.stack([table.indices(sample) for sample in wanted]))[0].tolist()


register(
    "predictor",
    "a Gaussian process over the scores so far proposes what it expects to improve on the best the most",
    PredictorOptions,
    PredictorProposer,
)
