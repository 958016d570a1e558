"""What happens to a picture in front of a trained network, and the names of what the network tells apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_space.base.errors import InvalidRequest

FORMAT = "sepnas-preprocessing"
VERSION = 1


@dataclass(frozen=True)
class Preprocessing:
    """Facts of the images that a network was trained on.

    Attributes:
        name: of the data set.
        classes: names of the classes, in the order of the network's outputs.
        image_size: side of what the network sees, in pixels.
        stored_size: side to which pictures are resized first; the central ``image_size`` pixels of it are seen.
        channels: 1 for grey, 3 for colour.
        mean: per channel, in units of the 0..1 pixel scale: what is subtracted; None if nobody knows.
        std: likewise: what the difference is divided by.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    stored_size: int
    channels: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Preprocessing:
        """That of a JSON object; KeyError, TypeError or ValueError for one that cannot be."""
        channels, size, stored = (int(values[name]) for name in ("channels", "image_size", "stored_size"))
        if channels not in (1, 3) or not 1 <= size <= stored:
            raise ValueError(f"{channels} channels, image_size {size}, stored_size {stored}")
        mean, std = (None if values[name] is None else tuple(map(float, values[name])) for name in ("mean", "std"))
        for name, numbers in (("mean", mean), ("std", std)):
            if numbers is not None and (len(numbers) != channels or not all(map(math.isfinite, numbers))):
                raise ValueError(f"{name} is not one finite number per channel")
        if (mean is None) != (std is None):
            raise ValueError("only one of mean and std is known")
        if std is not None and min(std) <= 0:
            raise ValueError("std is not above 0")
        return cls(str(values["name"]), tuple(map(str, values["classes"])), size, stored, channels, mean, std)

    def as_dict(self) -> dict[str, Any]:
        """A JSON value of which `of` makes an equal one, with the steps in words."""
        return {"format": FORMAT, "version": VERSION, **asdict(self), "steps": self.steps}

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the training's images; InvalidRequest if nobody knows them."""
        if self.mean is None or self.std is None:
            raise InvalidRequest(
                "mean: unknown, as the weights came without what they were trained on; fill in mean and std of"
                " preprocessing.json"
            )
        return self.mean, self.std

    @property
    def steps(self) -> list[str]:
        """What is done to a picture, one step a line."""
        size, stored = self.image_size, self.stored_size
        colour = "grey (ITU-R 601 luma)" if self.channels == 1 else "RGB"
        steps = [
            f"apply the EXIF orientation, lay a transparent picture over white, convert it to {colour}, 8 bits",
            f"resize the shorter side to {stored} pixels (bilinear, antialiased), keep the central {stored}x{stored}",
        ]
        if stored != size:
            steps.append(f"keep the central {size}x{size} of those")
        if self.mean is None:
            steps.append("normalise as in the training of the weights, which is not known")
        else:
            steps.append("divide by 255, subtract mean, divide by std, channel by channel")
        return [*steps, f"float32, (batch, {self.channels}, {size}, {size})"]
