"""A tutorial: from a folder of images to an ONNX file that runs without sepnas and without torch.

    python -m experiments.tutorial path/to/images --out tutorial --time 30m

Each step is a command, which is printed before it runs, so that you can type it yourself and change it. Options that
are not the tutorial's are passed on to ``sepnas search``. Needs ``pip install '.[search,onnx]'``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from evaluators.sources.folder import EXTENSIONS
from experiments.cli import main as sepnas


def tutorial(images: Path, out: Path, options: list[str]) -> None:
    """All steps, with the results in ``out``; SystemExit with the exit code of a step that fails."""
    run, network = out / "run", out / "network"
    # 1. The folder has a sub-folder of images for each class. The budget is what the network may cost: the search
    #    prints what can be reached, and refuses at once what cannot. It sees training and validation images only.
    step("search", "--data.name", str(images), "--budget.max_macs", "16.7M", *options, "--out", str(run))
    # 2. The winner is trained by several seeds, on all but the test images, and tested. `retrain` options of the search
    #    say how: see `sepnas search --help`.
    step("retrain", str(run))
    # 3. Was it worth it? Networks of the same budget are trained the same way: the report says what the difference is
    #    and whether it can be chance.
    step("compare", str(run), "--baselines", "mobilenetv3-small@fit,random:1")
    # 4. The trained network as files that need no sepnas. Each is run on the same images and must agree.
    step("export", str(run), "--to", str(network), "--formats", "source,onnx")
    # 5. One picture, by the ONNX file in ONNX Runtime.
    picture = next(path for path in sorted(images.rglob("*")) if path.suffix.lower() in EXTENSIONS)
    step("predict", str(network), str(picture), "--runtime", "onnx")
    # 6. The same in your own program: numpy, Pillow and onnxruntime are all that this function needs.
    scores = classify(network, picture)
    best = max(scores, key=scores.__getitem__)
    print(f"\nby classify() of {Path(__file__).name}: {picture.name} is {best} ({scores[best]:.1%})")


def classify(network: Path, picture: Path) -> dict[str, float]:
    """The probability of each class, by what `sepnas export` wrote to the folder ``network``."""
    import onnxruntime
    from PIL import Image

    known = json.loads((network / "preprocessing.json").read_text(encoding="utf-8"))
    size, stored, channels = known["image_size"], known["stored_size"], known["channels"]
    image = Image.open(picture).convert("L" if channels == 1 else "RGB")
    # the shorter side becomes stored_size pixels, and the central image_size of both are kept
    side, margin = min(image.size), (stored - size) // 2
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.resize((stored, stored), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(image.crop((margin, margin, margin + size, margin + size)), dtype=np.float32)
    pixels = (pixels.reshape(size, size, channels) / 255 - known["mean"]) / known["std"]
    session = onnxruntime.InferenceSession(network / "model.onnx")
    batch = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    (logits,) = session.run(None, {session.get_inputs()[0].name: batch})
    powers = np.exp(logits[0] - logits[0].max())
    return dict(zip(known["classes"], (powers / powers.sum()).tolist(), strict=True))


def step(*arguments: str) -> None:
    """Print and run a command."""
    print(f"\n$ sepnas {shlex.join(arguments)}", flush=True)
    if code := sepnas(list(arguments)):
        sys.exit(code)


def main(arguments: list[str] | None = None) -> None:
    """Run the tutorial by the command line's ``arguments``."""
    parser = argparse.ArgumentParser("python -m experiments.tutorial", description=str(__doc__).partition("\n")[0])
    parser.add_argument("images", type=Path, help="folder with a sub-folder of images for each class")
    parser.add_argument("--out", type=Path, default=Path("tutorial"), help="folder for everything (default: tutorial)")
    known, others = parser.parse_known_args(arguments)
    # said now and not by step 4, when the search is done
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        parser.error(f"needs {', '.join(missing)}; pip install 'sepnas[onnx]'")
    tutorial(known.images, known.out, others)


if __name__ == "__main__":
    main()
