"""The command ``sepnas retrain``: of a run, by its config, of an architecture file or of a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.data.options import DataOptions
from experiments.options.config import ENGINE_OPTIONS, RetrainConfig, SearchConfig
from experiments.options.files import read_config, self_contained
from experiments.options.parsing import Command, Namespace, Parser, add_option
from search_space.base.checks import nearest, refusal
from search_space.base.errors import InvalidRequest

#: what a config and the command's options have in common
_OPTIONS = ("data", "retrain", "seed", "accelerator", "trackers")


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "target",
        help="folder of a run, architecture file (JSON) or folder with one, or name of a baseline (`sepnas list"
        " baselines`)",
    )
    parser.add_argument("--out", help="folder for the results (required unless TARGET is a run)")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="WEIGHTS",
        help="start from the weights of an export, of `sepnas retrain --out` or of a run's supernet (folder, or weights"
        " beside their architecture), with a new classifier where the classes differ",
    )
    parser.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
    parser.add_argument("--overwrite", action="store_true", help="delete results made differently")
    parser.add_class(RetrainConfig, "retrain")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data's splits (default: 0)")
    for name in ("accelerator", "trackers"):
        add_option(parser, SearchConfig, name)
    parser.add_class(DataOptions, "data", "data.")
    parser.add_class(SearchConfig, "base", only=ENGINE_OPTIONS)


def _defaults(options: Namespace) -> Mapping[str, Any]:
    target = Path(options.target)
    from search_space.hand_designed import is_named, named_networks

    if not target.exists() and not is_named(options.target):
        near = nearest(options.target, named_networks(), "sepnas list baselines")
        remedy = f"give the folder of a run, an architecture file, or the name of a baseline: {near}"
        raise refusal("target", options.target, "does not exist", remedy)
    if options.width is not None and target.exists():
        raise InvalidRequest("--width: an architecture has fixed channels; leave it out")
    base = _base(target)
    return {"base": base} | {name: getattr(base, name) for name in _OPTIONS}


def _base(target: Path) -> SearchConfig:
    """The config of a run; the default one of anything else."""
    from experiments.runs.folder import find_run

    if _architecture_file(target) is None and target.is_dir():
        return read_config(find_run(target).config)
    return SearchConfig()


def _architecture_file(target: Path) -> Path | None:
    """The file itself, or that in a bundle or a folder of trainings; None for a run and for a name."""
    from search_space.weights import ARCHITECTURE_FILE

    file = target / ARCHITECTURE_FILE if target.is_dir() else target
    return file if file.is_file() else None


def _run(options: Namespace) -> None:
    target = Path(options.target)
    given = {name: getattr(options, name) for name in _OPTIONS}
    config = self_contained(replace(options.base, **given))
    from evaluators.training.processes import is_first
    from experiments.runs.folder import find_run
    from experiments.runs.task import DataTask
    from experiments.training.find_start import find_start
    from experiments.training.retrain import retrain_network
    from search_space import baseline
    from search_space.layered_network import PlainNetwork
    from search_space.serialization import load_plain_network

    file = _architecture_file(target)
    run = find_run(target) if file is None and target.is_dir() else None
    task, start = DataTask(config.data, config.seed), None
    if options.out is not None:
        out = Path(options.out)
    elif run is not None and options.start is None:
        out = run.retrain / "winner"
    else:
        raise InvalidRequest("--out: missing; name the folder for the results")
    network: PlainNetwork
    if run is not None:
        name, network = f"{config.strategy.name} winner", run.read_winner()
    elif file is not None:
        name, network = target.resolve().stem, load_plain_network(file)
    else:
        width = {} if options.width is None else {"width": options.width}
        name, network = options.target, baseline(options.target, **task.sizes, **width)
    if options.start is not None:
        network = replace(network, classes=len(task.classes))
        start = find_start(Path(options.start), network, task.classes)
        if is_first():
            print(start.said)
    result = retrain_network(name, network, config, out, task=task, start=start, overwrite=options.overwrite)
    if is_first():
        print(result)


COMMAND = Command(
    "find and train networks",
    "train a winner, an architecture file or a baseline, from scratch or from weights, and test it",
    _add_options,
    _run,
    details="For a run the defaults are those of its config, and results go to RUN/retrain.",
    defaults=_defaults,
)
