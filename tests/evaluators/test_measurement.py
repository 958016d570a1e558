"""Measured accuracy and calibration: hand-counted figures, and those of scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, top_k_accuracy_score
from torch import Tensor, nn

from evaluators.measuring.measurement import BINS, Measurement, measure_accuracy
from search_space.base.errors import InvalidRequest


class Given(nn.Module):
    """Images (batch, classes, 1, 1) are logits already."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def logits_of(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities).log()[:, :, None, None]


def measured(logits: Tensor, labels: Tensor, batch: int = 1000) -> Measurement:
    batches = list(zip(logits.split(batch), labels.split(batch), strict=True))
    return measure_accuracy(Given(), batches, logits.shape[1])


def test_four_images_counted_by_hand() -> None:
    logits = logits_of([[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.1, 0.6, 0.3], [0.2, 0.35, 0.45]])
    m = measured(logits, torch.tensor([0, 2, 1, 2]), batch=3)
    assert m.images == 4
    assert m.top1 == 0.75
    assert m.top5 is None
    assert m.per_class == (1.0, 1.0, 0.5)
    assert m.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    # bins of 1/15: two images at 0.9, one of them right; one at 0.6, right; one at 0.45, right
    assert m.calibration_error == pytest.approx(2 / 4 * 0.4 + 1 / 4 * 0.4 + 1 / 4 * 0.55, abs=1e-6)
    used = [(b.images, b.accuracy) for b in m.bins if b.images]
    assert used == [(1, 1.0), (1, 1.0), (2, 0.5)]
    assert next(b for b in m.bins if b.images == 2).confidence == pytest.approx(0.9)


def test_figures_are_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(500, 8, 1, 1, generator=generator) * 2
    labels = torch.randint(0, 8, (500,), generator=generator)
    m = measured(logits, labels, batch=128)
    scores = logits.flatten(1).softmax(1).numpy()
    best = scores.argmax(1)
    assert m.top1 == pytest.approx(accuracy_score(labels, best))
    assert m.top5 == pytest.approx(top_k_accuracy_score(labels, scores, k=5))
    assert m.per_class == pytest.approx(tuple(recall_score(labels, best, average=None)))
    assert np.array_equal(m.confusion, confusion_matrix(labels, best))


def test_the_calibration_error_is_what_the_bins_add_up_to() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(700, 6, 1, 1, generator=generator) * 3
    labels = logits.flatten(1).softmax(1).multinomial(1, generator=generator)[:, 0]  # well calibrated
    m = measured(logits, labels, batch=64)
    assert sum(b.images for b in m.bins) == 700
    gaps = [b.images / 700 * abs(b.accuracy - b.confidence) for b in m.bins if b.accuracy is not None and b.confidence]
    assert m.calibration_error == pytest.approx(math.fsum(gaps), abs=1e-6)
    assert m.calibration_error < 0.06
    assert measured(logits * 5, labels).calibration_error > 0.2  # overconfident
    for part in m.bins:
        assert part.high - part.low == pytest.approx(1 / BINS)
        assert part.confidence is None or part.low <= part.confidence <= part.high


def test_batches_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(50, 7, 1, 1, generator=generator)
    labels = torch.randint(0, 7, (50,), generator=generator)
    one, many = measured(logits, labels), measured(logits, labels, batch=7)
    assert (one.top1, one.top5, one.per_class) == (many.top1, many.top5, many.per_class)
    assert one.calibration_error == pytest.approx(many.calibration_error, abs=1e-6)
    assert np.array_equal(one.confusion, many.confusion)


def test_a_class_without_images_has_no_accuracy_and_leaves_the_others_alone() -> None:
    m = measured(logits_of([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]), torch.tensor([0, 0]))
    assert m.per_class == (0.5, None, None)
    assert m.top1 == 0.5


def test_top_5_starts_at_six_classes() -> None:
    labels = torch.arange(5)
    assert measured(torch.eye(5)[:, :, None, None], labels).top5 is None
    ranked = torch.arange(6.0, 0, -1).repeat(6, 1)[:, :, None, None]  # class 0 is the most probable, 5 the least
    assert measured(ranked, torch.arange(6)).top5 == pytest.approx(5 / 6)


def test_certainty_falls_into_the_last_bin() -> None:
    m = measured(torch.tensor([[1e4, 0.0], [1e4, 0.0]])[:, :, None, None], torch.tensor([0, 0]))
    assert m.bins[-1].images == 2
    assert m.calibration_error == 0


def test_the_network_is_measured_in_evaluation_mode() -> None:
    network = nn.Sequential(Given(), nn.Dropout(0.99)).train()
    m = measure_accuracy(network, [(torch.eye(4).repeat(20, 1)[:, :, None, None], torch.arange(4).repeat(20))], 4)
    assert m.top1 == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(
        InvalidRequest, match=r"^weights: the network's outputs are not finite numbers; train it again$"
    ):
        measured(torch.tensor([[value, 0.0]])[:, :, None, None], torch.tensor([0]))


def test_no_image_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^images: none"):
        measure_accuracy(Given(), [], 3)
