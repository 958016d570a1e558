"""An ONNX model in 8-bit integers: calibrated on training images, measured on the test images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from evaluators.data.images import ImageData
from experiments.bundle.check import seen, spread
from experiments.bundle.programs import INPUT
from experiments.bundle.subject import Subject
from search_space.base.atomic import scratch_folder

#: training images by which the ranges of the activations are set, and images in a batch
CALIBRATION = 512
_BATCH = 128


@dataclass(frozen=True)
class Int8Report:
    """What 8-bit integers cost: accuracies in [0, 1] on the test images, and how many images there were.

    ``same`` is the share of test images that both call the same.
    """

    calibration_images: int
    test_images: int
    fp32_accuracy: float
    int8_accuracy: float
    same: float


class _Reader(CalibrationDataReader):
    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch.numpy()}


def write_int8(model: Path, subject: Subject, data: ImageData, path: Path) -> int:
    """Write ``model`` in 8-bit integers (QDQ form: weights by channel, activations by their range on training images).

    Returns the number of training images.
    """
    positions = spread(len(data.train), CALIBRATION)
    batches = (seen(subject, data.train, part) for part in positions.split(_BATCH))
    with scratch_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = folder / "prepared.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return len(positions)


def measure_int8(
    network: Callable[[Tensor], Tensor],
    int8: Callable[[Tensor], Tensor],
    subject: Subject,
    data: ImageData,
    calibration_images: int,
) -> Int8Report:
    """The accuracies of ``network`` and of its 8-bit form on all test images."""
    right = right_int8 = same = 0
    for part in torch.arange(len(data.test)).split(_BATCH):
        images, labels = seen(subject, data.test, part), data.test.labels[part]
        with torch.inference_mode():
            one, other = network(images).argmax(1), int8(images).argmax(1)
        right += int((one == labels).sum())
        right_int8 += int((other == labels).sum())
        same += int((one == other).sum())
    n = len(data.test)
    return Int8Report(calibration_images, n, right / n, right_int8 / n, same / n)
