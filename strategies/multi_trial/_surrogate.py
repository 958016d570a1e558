"""A Gaussian process over categorical labels: what is expected of architectures that were not scored, and how surely.

The covariance of two architectures is that of a function with a part for each label, one for each pair of labels and
one for all of them together,

    k(a, b) = sum_l v_l [a_l = b_l]  +  sum_{l<m} u_l u_m [a_l = b_l] [a_m = b_m]  +  v exp(-sum_l t_l [a_l != b_l]),

plus noise on the diagonal. What earlier trainings say of candidates, if anything, is the mean,

    m(a) = r sum_l e_l(a_l),

the sum less its mean and over its standard deviation under uniform draws, of which ``r`` is the usual correlation with
scores of other data. Candidates may be of kinds, as operators of one family with other kernels and widths are.
Then what is alike by kind is alike to a lesser degree: two more parts are

    w sum_l [kind(a_l) = kind(b_l)] / labels  +  c sum_k z_k(a) z_k(b) / kinds,

z_k the number of labels with kind k, less its mean and over its standard deviation under uniform draws. Few scores say
little of each single candidate, but much of kinds. The relevance of each label (``v_l``, ``u_l``, ``t_l``), ``w``,
``c``, ``v`` and the noise maximise the marginal likelihood times a wide prior, by some steps of L-BFGS from where the
last fit ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Steps of L-BFGS in a fit.
_STEPS = 12
#: Prior variances of what kinds at labels, and numbers of kinds, explain.
_KINDS = (0.2, 0.3)
#: Correlation of what earlier trainings say with scores of other data (experiments/results/README.md).
_EXPERIENCE = 0.3
#: Added to the diagonal, of targets with variance 1.
_JITTER = 1e-6
#: Scores lower than so many robust standard deviations below the median count as that low: failed trainings must not
#: set the scale by which good ones are told apart.
_OUTLIER = 4.0

Method = TypeVar("Method", bound=Callable[..., object])


def _on_one_thread(method: Method) -> Method:
    """The matrices are small: where trainings keep the cores busy, a second thread makes a fit several times slower."""
    return cast(Method, ThreadpoolController().wrap(limits=1, user_api="blas")(method))


class GaussianProcess:
    """Fits targets of architectures, given as candidate numbers (n, labels), and predicts those of others.

    Args:
        sizes: how many candidates each label has.
        kinds: for each label the kinds of its candidates, or None if nothing is known of them.
        noise: expected of the noise, of the spread of its logarithm, and of ``v``.
        experience: e_l for the candidates of each label, or None if there is none.
    """

    def __init__(
        self,
        sizes: list[int],
        kinds: Sequence[Sequence[str]] | None,
        noise: tuple[float, float, float],
        experience: Sequence[FloatArray] | None = None,
    ) -> None:
        labels = len(sizes)
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._sizes = np.asarray(sizes)
        self._alike = [] if kinds is None else _features(kinds)
        # log of: v_l (labels), u_l (labels), t_l (labels), w and c (if there are kinds), v, noise
        pairs = np.sqrt(0.6 / max(labels * (labels - 1), 1))
        self._prior_mean = np.log(
            [
                *[0.5 / labels] * labels,
                *[pairs] * labels,
                *[2.0 / labels] * labels,
                *_KINDS[: len(self._alike)],
                noise[2],
                noise[0],
            ]
        )
        alike = [1.5] * len(self._alike)
        self._prior_std = np.array([*[1.5] * labels, *[0.7] * labels, *[1.0] * labels, *alike, 1.0, noise[1]])
        self._low, self._high = np.log(1e-5), np.log(20.0)
        self._parameters = self._prior_mean.copy()
        self._experience = (
            np.zeros(int(self._offsets[-1])) if experience is None else _EXPERIENCE * _standard(experience)
        )
        self._one_hot = np.empty((0, int(self._offsets[-1])))
        self._weights = np.empty(0)
        self._factor = np.empty((0, 0))
        self._mean, self._scale = 0.0, 1.0

    @_on_one_thread
    def fit(self, chosen: IntArray, targets: FloatArray, *, tune: bool) -> None:
        """Condition on finite ``targets`` (n,) of ``chosen`` (n, labels); ``tune`` fits the covariance too."""
        targets = _without_outliers(targets)
        self._mean, self._scale = float(targets.mean()), float(targets.std()) or 1.0
        rows = self.encode(chosen)
        y = (targets - self._mean) / self._scale - rows @ self._experience
        same = (chosen[:, None, :] == chosen[None, :, :]).astype(np.float64)
        alike = [self._likeness(rows, rows, own) for own in self._alike]
        if tune:
            result = minimize(
                self._objective,
                self._parameters,
                args=(same, alike, y),
                jac=True,
                method="L-BFGS-B",
                bounds=[(self._low, self._high)] * len(self._parameters),
                options={"maxiter": _STEPS},
            )
            self._parameters = result.x
        covariance, _, _ = self._covariance(same, alike, self._parameters)
        factor = cho_factor(covariance, lower=True)
        self._factor = np.tril(factor[0])
        self._weights = cho_solve(factor, y)
        self._one_hot = rows

    def _split(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, float, float]:
        """v_l, u_l, t_l, (w, c), v and the noise."""
        values, labels = np.exp(parameters), len(self._sizes)
        alone, pairs, rates = values[: 3 * labels].reshape(3, labels)
        return alone, pairs, rates, values[3 * labels : -2], float(values[-2]), float(values[-1])

    @staticmethod
    def _likeness(rows: FloatArray, others: FloatArray, features: FloatArray) -> FloatArray:
        """Products of the ``features`` (candidates, k) of ``rows`` (n, candidates) and ``others`` (m, candidates)."""
        return np.asarray((rows @ features) @ (others @ features).T)

    def _covariance(
        self, same: FloatArray, alike: Sequence[FloatArray], parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The covariance (n, n) from ``same`` (n, n, labels) and the parts ``alike`` (n, n); in it, the sum whose half
        square is the pairs' part (but for the squares in it), and the joint part."""
        alone, pairs, rates, kinds, scale, noise = self._split(parameters)
        sums, joint = same @ pairs, scale * np.exp(same @ rates - rates.sum())
        total = same @ (alone - 0.5 * pairs**2) + 0.5 * sums**2 + joint
        for weight, part in zip(kinds, alike, strict=True):
            total += weight * part
        total[np.diag_indices_from(total)] += noise + _JITTER
        return total, sums, joint

    def _objective(
        self, parameters: FloatArray, same: FloatArray, alike: Sequence[FloatArray], y: FloatArray
    ) -> tuple[float, FloatArray]:
        """Minus the log posterior of the parameters, and its gradient."""
        labels = len(self._sizes)
        alone, pairs, rates, kinds, _, noise = self._split(parameters)
        total, sums, joint = self._covariance(same, alike, parameters)
        off = (parameters - self._prior_mean) / self._prior_std
        try:
            factor = cho_factor(total, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, off / self._prior_std
        weights = cho_solve(factor, y)
        loss = 0.5 * y @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        # d loss / d covariance
        outer = 0.5 * (cho_solve(factor, np.eye(len(y))) - np.outer(weights, weights))
        gradient = np.empty_like(parameters)
        flat = same.reshape(-1, labels)
        by_label = outer.ravel() @ flat
        gradient[:labels] = alone * by_label
        gradient[labels : 2 * labels] = pairs * ((outer * sums).ravel() @ flat - pairs * by_label)
        both = outer * joint
        gradient[2 * labels : 3 * labels] = rates * (both.ravel() @ flat - both.sum())
        gradient[3 * labels : -2] = [weight * (outer * part).sum() for weight, part in zip(kinds, alike, strict=True)]
        gradient[-2] = both.sum()
        gradient[-1] = noise * np.trace(outer)
        return float(loss), gradient + off / self._prior_std

    def encode(self, chosen: IntArray) -> FloatArray:
        """One-hot rows (n, candidates of all labels)."""
        rows = np.zeros((len(chosen), int(self._offsets[-1])))
        np.put_along_axis(rows, chosen + self._offsets[:-1], 1.0, axis=1)
        return rows

    @_on_one_thread
    def predict(self, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (n,) of the noiseless targets of ``chosen`` (n, labels)."""
        alone, pairs, rates, kinds, scale, _ = self._split(self._parameters)
        rows = self.encode(chosen)

        def matches(weights: FloatArray) -> FloatArray:
            return (rows * np.repeat(weights, self._sizes)) @ self._one_hot.T

        cross = matches(alone - 0.5 * pairs**2) + 0.5 * matches(pairs) ** 2
        cross += scale * np.exp(matches(rates) - rates.sum())
        prior = np.full(len(rows), (alone - 0.5 * pairs**2).sum() + 0.5 * pairs.sum() ** 2 + scale)
        for weight, features in zip(kinds, self._alike, strict=True):
            cross += weight * self._likeness(rows, self._one_hot, features)
            prior += weight * ((rows @ features) ** 2).sum(axis=1)
        explained = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = np.maximum(prior - (explained**2).sum(axis=0), 1e-12)
        mean = rows @ self._experience + cross @ self._weights
        return self._mean + self._scale * mean, self._scale * np.sqrt(variance)

    def additive_scores(self) -> list[FloatArray]:
        """For each label what each of its candidates adds to the mean, as far as labels count alone."""
        sums = self._one_hot.T @ self._weights
        alone, _, _, kinds, _, _ = self._split(self._parameters)
        total = self._experience + np.repeat(alone, self._sizes) * sums
        for weight, features in zip(kinds, self._alike, strict=True):
            total += weight * (features @ (features.T @ sums))
        return [self._scale * values for values in np.split(total, self._offsets[1:-1])]


def _features(kinds: Sequence[Sequence[str]]) -> list[FloatArray]:
    """Features (candidates of all labels, k) whose sums over an architecture's candidates have the products that the
    two parts for kinds are: of the kinds at each label, and of how often each kind is there."""
    names = sorted({kind for own in kinds for kind in own})
    labels = len(kinds)
    per_label = [np.array([[kind == name for name in names] for kind in own], dtype=np.float64) for own in kinds]
    shares = np.array([own.mean(axis=0) for own in per_label])  # how likely a label is to be of each kind
    spread = np.sqrt((shares * (1 - shares)).sum(axis=0) * len(names))
    known = spread > 0
    at_labels = np.zeros((sum(map(len, per_label)), labels, len(names)))
    start = 0
    for label, own in enumerate(per_label):
        at_labels[start : start + len(own), label] = own / np.sqrt(labels)
        start += len(own)
    counts = np.concatenate([own - share for own, share in zip(per_label, shares, strict=True)])
    return [at_labels.reshape(len(at_labels), -1), counts[:, known] / spread[known]]


def _standard(scores: Sequence[FloatArray]) -> FloatArray:
    """The ``scores`` of each label's candidates, all one after the other, shifted and scaled so that their sums have
    mean 0 and variance 1 under uniform draws."""
    spread = np.sqrt(sum(float(own.var()) for own in scores))
    return np.concatenate([own - own.mean() for own in scores]) / (spread or 1.0)


def expected_improvement(mean: FloatArray, std: FloatArray, best: float) -> FloatArray:
    """By how much normal variables are expected to be above ``best``, counting nothing where they are below."""
    z = (mean - best) / std
    return std * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _without_outliers(targets: FloatArray) -> FloatArray:
    median = np.median(targets)
    spread = 1.4826 * np.median(np.abs(targets - median))
    return targets if spread == 0 else np.maximum(targets, median - _OUTLIER * spread)
