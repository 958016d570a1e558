"""Judging by inherited weights, of images in memory and of streamed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from evaluators import InheritedQuality
from evaluators.data.load import load_data
from search_space import baseline, build


def test_streamed_images_are_judged_as_those_in_memory(tmp_path: Path) -> None:
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for number in range(12):
            Image.new("RGB", (16, 16), (level + number,) * 3).save(tmp_path / name / f"{number}.png")

    def judge(where: Any) -> InheritedQuality:
        data = load_data(str(tmp_path), image_size=16, where=where, workers=0, cache=False)
        return InheritedQuality(data, calibration_images=8, batch_size=4)

    held, streamed = judge("memory"), judge("stream")
    network = build(baseline("mobilenetv3-small", image_size=16, in_channels=3, classes=2, width=0.25))
    assert [streamed(network), streamed(network)] == [held(network)] * 2
