"""Seeded random choices that keep the share of every class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from sklearn.utils import resample

from search_space.base.checks import shown
from search_space.base.errors import InvalidRequest

Labels = np.ndarray | torch.Tensor | Sequence[int]


def stratified_split(
    labels: Labels, fraction: float, seed: int, *, field: str = "fraction", classes: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of the images, with every class in proportion.

    Args:
        labels: (n,), whole numbers.
        fraction: share to hold out, between 0 and 1; the count is rounded up.
        seed: together with ``labels`` it decides the split.
        field: what error messages call ``fraction``.
        classes: names for error messages; without them the label itself is named.

    Returns:
        (rest_indices, held_out_indices): int64, each ascending; together they are 0..n-1 once each.

    Raises:
        InvalidRequest: a class has fewer than 2 images, or a side gets fewer images than there are classes, or no
            image of some class is left in the rest.
    """
    values = np.asarray(labels, dtype=np.int64)
    present, counts = np.unique(values, return_counts=True)
    if len(present) == 0:
        raise InvalidRequest(f"{field}: {fraction}, but there is no image to split; add some")
    if counts.min() < 2:
        rare = _class_name(present[counts.argmin()], classes)
        raise InvalidRequest(
            f"{field}: {fraction}, but class {rare} has 1 image to split and needs at least 2; add images to it, "
            "leave the class out, or raise max_train_images where it is set"
        )
    # The small term keeps products such as 0.07 * 100 = 7.000000000000001 from being rounded up to 8.
    held_out = math.ceil(fraction * len(values) - 1e-9)
    for side, size in (("held out", held_out), ("left", len(values) - held_out)):
        if size < len(present):
            raise InvalidRequest(
                f"{field}: {fraction} of {len(values)} images means {size} {side}, fewer than the "
                f"{len(present)} classes; change {field} or add images"
            )
    rest, held = train_test_split(np.arange(len(values)), test_size=held_out, stratify=values, random_state=seed)
    _check_all_present(present, values[rest], classes, f"{field}: {fraction}", "lower it or add images")
    return np.sort(rest), np.sort(held)


def stratified_subset(
    labels: Labels, n: int, seed: int, *, field: str = "n", classes: Sequence[str] | None = None
) -> np.ndarray:
    """Choose ``n`` of the images (int64, ascending), with every class in proportion; all if there are no more than n.

    The arguments are those of `stratified_split`. InvalidRequest if ``n`` is too small to keep an image of every class.
    """
    values = np.asarray(labels, dtype=np.int64)
    if n >= len(values):
        return np.arange(len(values))
    present = np.unique(values)
    if n < len(present):
        raise InvalidRequest(f"{field}: {n} is below the {len(present)} classes; raise it to keep each of them")
    # Not train_test_split: that also wants one image of every class among those it leaves out.
    chosen = resample(np.arange(len(values)), replace=False, n_samples=n, stratify=values, random_state=seed)
    _check_all_present(present, values[chosen], classes, f"{field}: {n}", "raise it")
    return np.sort(chosen)


def _check_all_present(
    present: np.ndarray, kept: np.ndarray, classes: Sequence[str] | None, request: str, remedy: str
) -> None:
    for label in np.setdiff1d(present, kept):
        raise InvalidRequest(f"{request} leaves no image of class {_class_name(label, classes)}; {remedy}")


def _class_name(label: int, classes: Sequence[str] | None) -> str:
    return str(label) if classes is None else shown(classes[label])
