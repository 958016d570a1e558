"""The command ``sepnas export``."""

from __future__ import annotations

from pathlib import Path

from experiments.options.parsing import Command, Namespace, Parser


def _add_options(parser: Parser) -> None:
    parser.add_argument("run", type=str, help="folder of a run (its retrained winner) or of `sepnas retrain --out`")
    parser.add_argument("--to", type=str, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, help="which of the trainings to take; the first by default")
    parser.add_argument("--overwrite", action="store_true", help="replace exported files in TO")


def _run(options: Namespace) -> None:
    from experiments.training.export import export

    to = export(Path(options.run), Path(options.to), seed=options.seed, overwrite=options.overwrite)
    print(f"exported to {to}: try `python {to / 'load.py'}`")


COMMAND = Command(
    "use what was trained",
    "write a retrained network as files that need no NNI",
    _add_options,
    _run,
    details="They are architecture.json, weights.safetensors, data.json (preprocessing), training.json (how it was"
    " trained, and its accuracy) and load.py, which needs only torch and search_space.",
)
