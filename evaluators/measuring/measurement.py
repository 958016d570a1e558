"""How good a trained network is on labelled images, class by class, and how far its probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MulticlassConfusionMatrix

from evaluators.training.recipes import Precision
from search_space.base.errors import InvalidRequest

#: Confidence bins of equal width, as in Guo et al. 2017, *On Calibration of Modern Neural Networks*.
BINS = 15
#: Sum of the bins' gaps, weighted by their images: the expected calibration error (theirs, equation 3).
NORM: Final = "l1"
#: The second accuracy counts labels among so many most probable classes; it needs more classes than that.
TOP = 5

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class ConfidenceBin:
    """The images whose most probable class has a probability in [``low``, ``high``).

    ``confidence`` is the mean of that probability and ``accuracy`` the share of right answers; None without images.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Measurement:
    """Figures of one network on one set of images.

    Attributes:
        top1: share of images whose label is the most probable class.
        top5: share whose label is among the five most probable ones; None up to five classes.
        per_class: share of right answers among the images of each class; None for a class without images.
        confusion: int64 (classes, classes), images by label (row) and most probable class (column).
        calibration_error: expected calibration error, 0 to 1, over `BINS` bins.
        bins: what the calibration error is made of.
    """

    images: int
    top1: float
    top5: float | None
    per_class: tuple[float | None, ...]
    confusion: NDArray[np.int64]
    calibration_error: float
    bins: tuple[ConfidenceBin, ...]


@torch.inference_mode()
def measure_accuracy(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    classes: int,
    *,
    device: str = "cpu",
    precision: Precision = "fp32",
) -> Measurement:
    """Measure ``network`` on ``batches`` of images (batch, channels, height, width) and labels int64 (batch,).

    The network is moved to ``device``, where the batches must be or are brought, and set to evaluation mode.
    ``precision`` is that of its arithmetic, by autocast; weights and metrics keep theirs. Raises InvalidRequest if
    there is no image or an output is not a finite number.
    """
    network = network.to(device).eval()
    five = MulticlassAccuracy(classes, average="micro", top_k=min(TOP, classes), validate_args=False).to(device)
    confusion = MulticlassConfusionMatrix(classes, validate_args=False).to(device)
    calibration = MulticlassCalibrationError(classes, n_bins=BINS, norm=NORM, validate_args=False).to(device)
    confidences: list[Tensor] = []
    rights: list[Tensor] = []
    for images, labels in batches:
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        labels = labels.to(device)
        with torch.autocast(device, _HALF.get(precision), enabled=precision in _HALF):
            logits = network(images)
        # of doubles: a probability of 1 - 1e-9 is not 1
        probabilities = logits.double().softmax(1)
        if not bool(probabilities.isfinite().all()):
            raise InvalidRequest("weights: the network's outputs are not finite numbers; train it again")
        confidence, best = probabilities.max(1)
        confusion.update(best, labels)
        five.update(probabilities, labels)
        calibration.update(probabilities, labels)
        confidences.append(confidence)
        rights.append(best == labels)
    if not confidences:
        raise InvalidRequest("images: none; measure on at least one")
    table = confusion.compute().cpu().numpy().astype(np.int64)
    right, counts = table.diagonal().tolist(), table.sum(axis=1).tolist()
    return Measurement(
        images=sum(counts),
        top1=sum(right) / sum(counts),
        top5=float(five.compute()) if classes > TOP else None,
        per_class=tuple(own / count if count else None for own, count in zip(right, counts, strict=True)),
        confusion=table,
        calibration_error=float(calibration.compute()),
        bins=_bins(torch.cat(confidences).cpu().numpy(), torch.cat(rights).cpu().numpy()),
    )


def _bins(confidences: NDArray[np.float64], rights: NDArray[np.bool_]) -> tuple[ConfidenceBin, ...]:
    edges = np.linspace(0, 1, BINS + 1)
    where = np.minimum(np.digitize(confidences, edges) - 1, BINS - 1)
    bins = []
    for index in range(BINS):
        inside = where == index
        count = int(inside.sum())
        means = (float(confidences[inside].mean()), float(rights[inside].mean())) if count else (None, None)
        bins.append(ConfidenceBin(float(edges[index]), float(edges[index + 1]), count, *means))
    return tuple(bins)
