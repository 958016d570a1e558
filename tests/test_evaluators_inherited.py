"""Which batches judging by inherited weights keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.spaces import small_images
from PIL import Image
from torch.utils.data import DataLoader

from evaluators import InheritedAccuracy
from evaluators.data.load import load_data
from evaluators.measuring import inherited as inherited_module
from search_space import baseline, build


def test_validation_batches_are_kept_only_while_they_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_images(64)
    network = build(baseline("mobilenetv3-small", image_size=8, in_channels=1, classes=4, width=0.25))

    def judge() -> InheritedAccuracy:
        return InheritedAccuracy(data, calibration_images=32, batch_size=32)

    kept = judge()
    assert isinstance(kept.validation, list)
    size = sum(images.nbytes for images, _ in kept.validation)
    monkeypatch.setattr(inherited_module, "_HELD", size)
    assert isinstance(judge().validation, list)
    monkeypatch.setattr(inherited_module, "_HELD", size - 1)
    made = judge()
    assert isinstance(made.validation, DataLoader)
    # for the second network, too
    assert [made(network), made(network)] == [kept(network)] * 2


def test_streamed_validation_images_are_never_kept(tmp_path: Path) -> None:
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("RGB", (16, 16), (level + number,) * 3).save(tmp_path / name / f"{number}.png")

    def judge(where: Any) -> InheritedAccuracy:
        data = load_data(str(tmp_path), image_size=16, where=where, workers=0, cache=False)
        return InheritedAccuracy(data, calibration_images=8, batch_size=4)

    held, streamed = judge("memory"), judge("stream")
    assert isinstance(held.validation, list)
    assert isinstance(streamed.validation, DataLoader)
    network = build(baseline("mobilenetv3-small", image_size=16, in_channels=3, classes=2, width=0.25))
    assert [streamed(network), streamed(network)] == [held(network)] * 2
