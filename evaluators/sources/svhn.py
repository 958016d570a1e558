"""SVHN, cropped digits, as the original MATLAB files ``train_32x32.mat``, ``test_32x32.mat``, ``extra_32x32.mat``.

``X`` is uint8 (32, 32, 3, n) and ``y`` is (n, 1), in which 10 stands for the digit 0 (Netzer et al. 2011). Where the
extra file lies beside the others, its images are trained on too, as in XSepConv section 4.1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from evaluators.sources.base import ArrayImages, Listing, Source, files_origin, reason, source, unusable
from search_space.base.checks import require

TRAIN, TEST, EXTRA = "train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"


@source("<SVHN>", f"{TRAIN}, or the folder of it; {TEST} and {EXTRA} beside it are used")
def open_svhn(name: str, path: Path | None) -> Source | None:
    """List the images of a folder, or of the folder of the train file.

    Raises:
        InvalidRequest: it is another .mat file, or a file is not what it should be.
    """
    if path is not None and path.is_dir():
        return _open_folder(name, path)
    if path is None or path.suffix != ".mat":
        return None
    opened = _open_folder(name, path.parent) if path.name == TRAIN else None
    why = f"is a .mat file but not {TRAIN} of SVHN"
    require(opened is not None, "data.name", name, why, "give that file or its folder")
    return opened


def _open_folder(name: str, folder: Path) -> Source | None:
    if not (folder / TRAIN).is_file():
        if (folder / TEST).is_file() or (folder / EXTRA).is_file():
            raise unusable(name, f"lacks {TRAIN} of SVHN", "put it beside the others")
        return None
    extra, test = folder / EXTRA, folder / TEST
    train = _read(name, [folder / TRAIN, *([extra] if extra.is_file() else [])], "train")
    held = _read(name, [test], "test") if test.is_file() else None
    return Source(name, tuple("0123456789"), train, test=held, channels=(3,))


def _read(name: str, paths: list[Path], split: str) -> Listing:
    parts = [_read_file(name, path) for path in paths]
    pixels = np.concatenate([pixels for pixels, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Listing(ArrayImages(pixels, split), labels, partial(files_origin, paths, "svhn"))


def _read_file(name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels, uint8 (n, 3, 32, 32), and labels, int64 (n,), of one file."""
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except NotImplementedError as error:
        why = f"has {path.name} in MATLAB's version 7.3"
        raise unusable(name, why, "use the original file (version 5)") from error
    # scipy lets through whatever its parser, the decompression and reading past the end raise
    except Exception as error:
        raise unusable(name, f"has a {path.name} that cannot be read ({reason(error)})", "fetch it again") from error
    pixels, labels = content.get("X"), content.get("y")
    fits = pixels is not None and labels is not None and pixels.dtype == np.uint8
    if not fits or pixels.shape != (32, 32, 3, labels.size) or not np.isin(labels, np.arange(11)).all():
        why = f"has a {path.name} that is not SVHN's, with X, uint8 (32, 32, 3, n), and y, 1..10 (n, 1)"
        raise unusable(name, why, "fetch it again")
    digits = labels.ravel().astype(np.int64) % 10
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), digits
