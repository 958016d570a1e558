"""scikit-learn's handwritten digits: real images that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evaluators.sources.base import ArrayImages, Listing, Source, source


@source(
    "digits",
    "1797 handwritten digits of scikit-learn, 10 classes, grey, 8x8 resized to image_size; needs no network",
    order=0,
)
def open_digits(name: str, path: Path | None) -> Source | None:
    """Return the 1797 digits of scikit-learn, grey 0..16 stretched to 0..255, without a split of their own."""
    if name != "digits":
        return None
    from sklearn.datasets import load_digits

    bundle = load_digits()
    pixels = np.rint(bundle.images * (255.0 / 16.0)).astype(np.uint8)[:, None]
    listing = Listing(ArrayImages(pixels, "digits"), np.asarray(bundle.target, dtype=np.int64))
    return Source("digits", tuple(str(label) for label in bundle.target_names), listing, channels=(1,))
