"""The winner as files that need no NNI."""

from __future__ import annotations

from pathlib import Path

from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import copy_file, read_json, write_json, write_text
from experiments.training.retrain import DATA_FILE, RESULT_FILE, read_conditions
from experiments.training.trained import TRAINING_FILE, find_training
from search_space.weights import ARCHITECTURE_FILE, WEIGHTS_FILE

#: an export takes no folder in which anything else is, unless asked to
EXPORT = FolderKind("an export", ("*",))

_LOADER = '''"""Loads the exported network; needs torch and sepnas's package `search_space`, no NNI.

    python load.py IMAGE...    prints the class of each image (needs Pillow as well)
"""

import json
import sys
from pathlib import Path

import torch

from search_space import load_network

HERE = Path(__file__).parent
DATA = json.loads((HERE / "data.json").read_text())


def load():
    """The network in evaluation mode: (batch, channels, size, size), normalised -> logits (batch, classes)."""
    return load_network(HERE)


def normalise(images):
    """uint8 (batch, channels, size, size) -> what the network was trained on."""
    mean = torch.tensor(DATA["mean"]).view(1, -1, 1, 1)
    std = torch.tensor(DATA["std"]).view(1, -1, 1, 1)
    return (images.float() / 255 - mean) / std


def read(path):
    """An 8-bit image file as uint8 (1, channels, size, size): over white if it is transparent, shorter side resized,
    centre cropped as in the training's tests."""
    from PIL import Image, ImageOps

    size, channels = DATA["image_size"], DATA["channels"]
    stored = DATA["stored_size"]
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.resize((stored, stored), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    margin = (stored - size) // 2
    image = image.crop((margin, margin, margin + size, margin + size))
    return torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(1, size, size, channels).permute(0, 3, 1, 2)


if __name__ == "__main__":
    network = load()
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(DATA['classes'])} classes")
    for name in sys.argv[1:]:
        with torch.inference_mode():
            probabilities = network(normalise(read(name))).softmax(1)[0]
        best = int(probabilities.argmax())
        print(f"{name}: {DATA['classes'][best]} ({probabilities[best]:.1%})")
'''


def export(target: Path, to: Path, *, seed: int | None = None, overwrite: bool = False) -> Path:
    """Write architecture, weights, preprocessing, training and a loader of a retrained network to ``to``.

    ``target`` is a run, whose winner is taken, or a folder of `sepnas retrain --out`. ``seed`` picks the training; None
    the first of them (not the best: picking by test accuracy would bias it). InvalidRequest if it is not retrained, or
    ``to`` is not empty (unless ``overwrite``, which replaces only the exported files).
    """
    home, source = find_training(target, seed)
    ClaimedFolder(to, EXPORT, field="to").claim(overwrite=overwrite)
    for path in (home / ARCHITECTURE_FILE, source / WEIGHTS_FILE, source / DATA_FILE):
        copy_file(path, to / path.name)
    result = {name: value for name, value in read_json(source / RESULT_FILE).items() if name != "provenance"}
    write_json(to / TRAINING_FILE, {**result, **read_conditions(home)})
    write_text(to / "load.py", _LOADER)
    return to
