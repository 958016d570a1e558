"""The commands ``sepnas export`` and ``sepnas predict``."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.bundle.forms import DEFAULT_FORMATS, RUNTIMES
from experiments.options.parsing import Command, Namespace, Parser


def _add_export(parser: Parser) -> None:
    parser.add_argument(
        "target",
        help="folder of a run (its retrained winner), of `sepnas retrain --out` or of `sepnas export`; or an"
        " architecture file (JSON) with weights.safetensors beside it",
    )
    parser.add_argument("--to", required=True, help="folder to write to")
    parser.add_argument(
        "--formats",
        help="forms of the network: source (model.py; not of networks of a family), pt2 (torch.export), onnx, separated"
        f" by commas, or all (default: {','.join(DEFAULT_FORMATS)}, as far as possible)",
    )
    parser.add_argument("--fold_bn", action="store_true", help="merge batch norms into convolutions in pt2 and onnx")
    parser.add_argument(
        "--int8", action="store_true", help="add model.int8.onnx; the card states how much accuracy it costs"
    )
    parser.add_argument("--latency", action="store_true", help="measure the time on one CPU thread for the card")
    parser.add_argument("--licence", default="unknown", help="licence of the weights for the card, such as apache-2.0")
    parser.add_argument("--seed", type=int, help="which training to export, by its seed; the first by default")
    parser.add_argument("--untrained", action="store_true", help="export an architecture file with initial weights")
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle in TO")


def _export(options: Namespace) -> None:
    from experiments.bundle.export import Extras, export, parse_formats

    extras = Extras(options.fold_bn, options.int8, options.latency, options.licence)
    chosen = {name: getattr(options, name) for name in ("seed", "untrained", "overwrite")}
    formats = None if options.formats is None else parse_formats(options.formats)
    exported = export(Path(options.target), Path(options.to), formats, extras, **chosen)
    print(f"{exported}\ntry `sepnas predict {options.to} IMAGE...`")


EXPORT = Command(
    "use what was trained",
    "write a trained network as a bundle that runs without sepnas",
    _add_export,
    _export,
    details="A bundle has architecture.json, weights.safetensors, preprocessing.json, training.json, model_card.md and"
    " the forms asked for: model.py is readable PyTorch source of just this network, also as a backbone. Each form is"
    " run on the same images and must compute what the trained network computes, or nothing is written.",
    alone=True,
)


def _add_predict(parser: Parser) -> None:
    parser.add_argument("bundle", help="folder of `sepnas export`")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--top", type=int, help="classes to name for each (default: 5, or all if there are fewer)")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default=RUNTIMES[0],
        metavar="WORD",
        help="torch (weights.safetensors), or ONNX Runtime: onnx, int8 (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _predict(options: Namespace) -> None:
    from experiments.bundle.predict import predict

    images = [Path(name) for name in options.images]
    made = predict(Path(options.bundle), images, runtime=options.runtime, top=options.top)
    print(json.dumps([one.as_dict() for one in made], indent=2) if options.json else "\n".join(map(str, made)))


PREDICT = Command(
    "use what was trained",
    "classify images with an exported network",
    _add_predict,
    _predict,
    details="No code of a bundle is run and nothing in it is unpickled.",
    alone=True,
)
