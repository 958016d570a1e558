"""``sepnas predict``: the classes of pictures, by a bundle's weights in PyTorch or its ONNX model in ONNX Runtime.

No code of a bundle is run: of what it holds, JSON, safetensors and ONNX are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.augment.augmentation import normalise
from evaluators.augment.crops import centre
from evaluators.data.decode import reason, square
from evaluators.sources.base import open_image
from experiments.bundle.files import FORMAT_FILES, INT8_FILE
from experiments.bundle.forms import Runtime
from experiments.bundle.programs import OnnxNetwork, check_packages
from experiments.training.preprocessing import Preprocessing
from experiments.training.trained import PREPROCESSING_FILE, is_bundle, read_preprocessing
from search_space.base.checks import check_int, plain, printable
from search_space.base.errors import InvalidRequest
from search_space.network import build
from search_space.serialization import load_plain_network
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE, load_weights

_ONNX_FILES = {"onnx": FORMAT_FILES["onnx"], "int8": INT8_FILE}
_BATCH = 64
#: classes that are named by default
_TOP = 5


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, with their probabilities, the best first."""

    image: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """A JSON value."""
        pairs = zip(self.classes, self.probabilities, strict=True)
        return {"image": self.image, "predictions": [{"class": name, "probability": share} for name, share in pairs]}

    def __str__(self) -> str:
        pairs = zip(self.classes, self.probabilities, strict=True)
        return f"{printable(self.image)}: {', '.join(f'{printable(name)} {share:.1%}' for name, share in pairs)}"


def predict(
    bundle: Path, images: Sequence[Path], *, runtime: Runtime = "torch", top: int | None = None
) -> list[Prediction]:
    """Classify image files by what `sepnas export` wrote to ``bundle``.

    ``top`` is the number of classes that are named, by default five, or all if there are fewer. InvalidRequest for a
    bundle that is none, damaged or of other files than ``runtime`` needs, and for a picture that cannot be read.
    """
    if not is_bundle(bundle):
        files = f"{WEIGHTS_FILE}, {PREPROCESSING_FILE}"
        raise InvalidRequest(f"bundle: {plain(bundle)} is not one ({files}); give the folder of `sepnas export`")
    known = read_preprocessing(bundle / PREPROCESSING_FILE)
    run = _network(bundle, known, runtime)
    count = len(known.classes)
    top = min(_TOP, count) if top is None else check_int("top", top, 1, count)
    mean, std = known.normalisation
    pixels = [_pixels(path, known) for path in images]
    made: list[Prediction] = []
    for start in range(0, len(pixels), _BATCH):
        batch = normalise(torch.stack(pixels[start : start + _BATCH]), mean, std)
        with torch.inference_mode():
            logits = run(batch)
        if not bool(logits.isfinite().all()):
            raise InvalidRequest(f"bundle: {plain(bundle)} gives outputs that are not finite numbers; export it again")
        shares, best = logits.double().softmax(1).topk(top)
        for path, row, numbers in zip(images[start:], shares.tolist(), best.tolist(), strict=False):
            made.append(Prediction(str(path), tuple(known.classes[index] for index in numbers), tuple(row)))
    return made


def _network(bundle: Path, known: Preprocessing, runtime: Runtime) -> Callable[[Tensor], Tensor]:
    """Images (batch, channels, size, size) to logits (batch, classes)."""
    if runtime != "torch":
        path = bundle / _ONNX_FILES[runtime]
        if not path.is_file():
            option = "--formats onnx" + (" --int8" if runtime == "int8" else "")
            raise InvalidRequest(
                f"runtime: {runtime}, but {plain(bundle)} has no {path.name}; export with {option}, or use torch"
            )
        check_packages(f"runtime: {runtime}", ["onnxruntime"])
        return OnnxNetwork(path, (known.channels, known.image_size, known.image_size), len(known.classes))
    architecture = load_plain_network(bundle / ARCHITECTURE_FILE)
    shape = architecture.in_channels, architecture.image_size, architecture.classes
    if shape != (known.channels, known.image_size, len(known.classes)):
        raise InvalidRequest(
            f"bundle: {plain(bundle)} has an {ARCHITECTURE_FILE} and a {PREPROCESSING_FILE} of different networks;"
            " export it again"
        )
    network = build(architecture)
    load_weights(network, bundle / WEIGHTS_FILE)
    return network.eval()


def _pixels(path: Path, known: Preprocessing) -> Tensor:
    """What the network sees of a picture: uint8 (channels, image_size, image_size)."""
    try:
        with open_image(str(path)) as image:
            pixels = square(image, known.stored_size, known.channels)
    except FileNotFoundError:
        raise InvalidRequest(f"image: {plain(path)} does not exist") from None
    # damaged files make Pillow raise nearly anything
    except Exception as error:
        why = getattr(error, "strerror", None) or reason(error)
        raise InvalidRequest(f"image: {plain(path)} cannot be read ({why}); leave it out") from None
    return centre(torch.from_numpy(np.array(pixels))[None], (known.image_size, known.image_size))[0]
