"""scikit-learn's handwritten digits: real images that come with the package."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from evaluators.sources.base import Listing, Source


@dataclass(frozen=True, eq=False)
class Digit:
    """One 8x8 digit.

    Args:
        pixels: uint8, (8, 8), 0..255.
        name: what messages call it.
    """

    pixels: np.ndarray
    name: str

    def open(self) -> Image.Image:
        """Return it as a grey image."""
        return Image.fromarray(self.pixels)


def digits_source() -> Source:
    """Return the 1797 digits of scikit-learn, grey 0..16 stretched to 0..255, without a split of their own."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    pixels = np.rint(bundle.images * (255.0 / 16.0)).astype(np.uint8)
    pictures = [Digit(image, f"digits[{index}]") for index, image in enumerate(pixels)]
    labels = np.asarray(bundle.target, dtype=np.int64)
    return Source("digits", tuple(str(name) for name in bundle.target_names), Listing(pictures, labels))
