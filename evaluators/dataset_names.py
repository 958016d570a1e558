"""What may be asked for as data, in words; imports nothing heavy, so that listing it is instant."""

from __future__ import annotations

DATASETS: dict[str, str] = {
    "digits": "1797 handwritten digits of scikit-learn, 10 classes, grey, 8x8 resized to image_size; needs no network",
    "<folder>": "a local folder of class folders, or of train/, val/ and test/ above class folders "
    "(jpg, jpeg, png, webp, bmp)",
    "owner/name": "an image classification data set of the Hugging Face hub, where no such local folder exists",
    "hf:name[:config]": "the same, said explicitly, with its configuration if it has several; "
    "name may also be a local copy of the repository",
}


def accepted_names() -> str:
    """Return the keys of `DATASETS` as one phrase for an error message."""
    return ", ".join(DATASETS)
