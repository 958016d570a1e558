"""A Gaussian process over categorical labels: what is expected of architectures that were not scored, and how surely.

The covariance of two architectures is that of a function with a part for each label, one for each pair of labels and
one for all of them together,

    k(a, b) = sum_l v_l [a_l = b_l]  +  sum_{l<m} u_l u_m [a_l = b_l] [a_m = b_m]  +  v exp(-sum_l t_l [a_l != b_l]),

plus noise on the diagonal. The relevance of each label (``v_l``, ``u_l``, ``t_l``), ``v`` and the noise maximise the
marginal likelihood times a wide prior, by some steps of L-BFGS from where the last fit ended.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Steps of L-BFGS in a fit.
_STEPS = 12
#: Added to the diagonal, of targets with variance 1.
_JITTER = 1e-6
#: Scores lower than so many robust standard deviations below the median count as that low: failed trainings must not
#: set the scale by which good ones are told apart.
_OUTLIER = 4.0


class GaussianProcess:
    """Fits targets of architectures, given as candidate numbers (n, labels), and predicts those of others."""

    def __init__(self, sizes: list[int]) -> None:
        labels = len(sizes)
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])
        self._sizes = np.asarray(sizes)
        # log of: v_l (labels), u_l (labels), t_l (labels), v, noise
        pairs = np.sqrt(0.6 / max(labels * (labels - 1), 1))
        self._prior_mean = np.log([*[0.5 / labels] * labels, *[pairs] * labels, *[2.0 / labels] * labels, 0.2, 0.03])
        self._prior_std = np.array([*[1.5] * labels, *[0.7] * labels, *[1.0] * labels, 1.0, 2.0])
        self._low, self._high = np.log(1e-5), np.log(20.0)
        self._parameters = self._prior_mean.copy()
        self._one_hot = np.empty((0, int(self._offsets[-1])))
        self._weights = np.empty(0)
        self._factor = np.empty((0, 0))
        self._mean, self._scale = 0.0, 1.0

    def fit(self, chosen: IntArray, targets: FloatArray, *, tune: bool) -> None:
        """Condition on finite ``targets`` (n,) of ``chosen`` (n, labels); ``tune`` fits the covariance too."""
        targets = _without_outliers(targets)
        self._mean, self._scale = float(targets.mean()), float(targets.std()) or 1.0
        y = (targets - self._mean) / self._scale
        same = (chosen[:, None, :] == chosen[None, :, :]).astype(np.float64)
        if tune:
            result = minimize(
                self._objective,
                self._parameters,
                args=(same, y),
                jac=True,
                method="L-BFGS-B",
                bounds=[(self._low, self._high)] * len(self._parameters),
                options={"maxiter": _STEPS},
            )
            self._parameters = result.x
        covariance, _, _ = self._covariance(same, self._parameters)
        factor = cho_factor(covariance, lower=True)
        self._factor = np.tril(factor[0])
        self._weights = cho_solve(factor, y)
        self._one_hot = self.encode(chosen)

    def _split(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float, float]:
        """v_l, u_l, t_l, v and the noise."""
        values = np.exp(parameters)
        alone, pairs, rates = values[:-2].reshape(3, len(self._sizes))
        return alone, pairs, rates, float(values[-2]), float(values[-1])

    def _covariance(self, same: FloatArray, parameters: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The covariance (n, n) from ``same`` (n, n, labels); in it, the sum whose half square is the pairs' part (but
        for the squares in it), and the joint part."""
        alone, pairs, rates, scale, noise = self._split(parameters)
        sums, joint = same @ pairs, scale * np.exp(same @ rates - rates.sum())
        total = same @ (alone - 0.5 * pairs**2) + 0.5 * sums**2 + joint
        total[np.diag_indices_from(total)] += noise + _JITTER
        return total, sums, joint

    def _objective(self, parameters: FloatArray, same: FloatArray, y: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log posterior of the parameters, and its gradient."""
        labels = len(self._sizes)
        alone, pairs, rates, _, noise = self._split(parameters)
        total, sums, joint = self._covariance(same, parameters)
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
        gradient[-2] = both.sum()
        gradient[-1] = noise * np.trace(outer)
        return float(loss), gradient + off / self._prior_std

    def encode(self, chosen: IntArray) -> FloatArray:
        """One-hot rows (n, candidates of all labels)."""
        rows = np.zeros((len(chosen), int(self._offsets[-1])))
        np.put_along_axis(rows, chosen + self._offsets[:-1], 1.0, axis=1)
        return rows

    def predict(self, chosen: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (n,) of the noiseless targets of ``chosen`` (n, labels)."""
        alone, pairs, rates, scale, _ = self._split(self._parameters)
        rows = self.encode(chosen)

        def matches(weights: FloatArray) -> FloatArray:
            return (rows * np.repeat(weights, self._sizes)) @ self._one_hot.T

        cross = matches(alone - 0.5 * pairs**2) + 0.5 * matches(pairs) ** 2
        cross += scale * np.exp(matches(rates) - rates.sum())
        prior = (alone - 0.5 * pairs**2).sum() + 0.5 * pairs.sum() ** 2 + scale
        explained = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = np.maximum(prior - (explained**2).sum(axis=0), 1e-12)
        return self._mean + self._scale * (cross @ self._weights), self._scale * np.sqrt(variance)

    def additive_scores(self) -> list[FloatArray]:
        """For each label what each of its candidates adds to the mean, as far as labels count alone."""
        sums = self._one_hot.T @ self._weights
        relevance = np.exp(self._parameters[: len(self._sizes)])
        own = np.split(sums, self._offsets[1:-1])
        return [self._scale * factor * values for factor, values in zip(relevance, own, strict=True)]


def expected_improvement(mean: FloatArray, std: FloatArray, best: float) -> FloatArray:
    """By how much normal variables are expected to be above ``best``, counting nothing where they are below."""
    z = (mean - best) / std
    return std * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _without_outliers(targets: FloatArray) -> FloatArray:
    median = np.median(targets)
    spread = 1.4826 * np.median(np.abs(targets - median))
    return targets if spread == 0 else np.maximum(targets, median - _OUTLIER * spread)
