"""The sub-commands: their options, and which function of the package does the work.

Each function imports what it needs when it runs: parsing and help need no torch.
"""

from __future__ import annotations

import glob
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from evaluators.recipes import Recipe
from experiments.complaints import readable
from experiments.config import DEFAULT_BASELINES, DataConfig, RetrainConfig, SearchConfig
from experiments.config_file import bundled_names, find_config, from_options, read_config
from search_space.errors import InvalidRequest


@dataclass(frozen=True)
class Command:
    """A sub-command: one line on it, and the function that gets its arguments."""

    summary: str
    run: Callable[[list[str]], None]


def _parser(name: str, description: str, defaults: Path | None = None) -> ArgumentParser:
    return ArgumentParser(
        prog=f"sepnas {name}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        default_config_files=[glob.escape(str(defaults.resolve()))] if defaults is not None else [],
        default_env=False,
    )


#: options that take a list, which may be written without brackets
_LISTS = ("--seeds", "--retrain.seeds", "--space.operators")


def _parse(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The options with their dataclasses made, and so checked."""
    parsed = _arguments(parser, arguments)
    try:
        return parser.instantiate(parsed)
    except (ArgumentError, TypeError) as error:
        raise InvalidRequest(f"{readable(error)}; `{parser.prog} --help` tells the options") from None


def _arguments(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The options as given, of the right types."""
    try:
        return parser.parse_args(list(_with_brackets(arguments)))
    except (ArgumentError, TypeError) as error:
        raise InvalidRequest(f"{readable(error)}; `{parser.prog} --help` tells the options") from None


def _with_brackets(arguments: list[str]) -> Iterator[str]:
    """``--seeds 0,1`` as ``--seeds [0,1]``."""
    expected = False
    for argument in arguments:
        name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        wanted = name in _LISTS if equals else expected
        if wanted and re.fullmatch(r"[\w-]+(\s*,\s*[\w-]+)*", value) and value != "null":
            value = f"[{value}]"
        yield f"{name}{equals}{value}"
        expected = argument in _LISTS


def _quiet() -> None:
    """Keep the chatter of the libraries out of the command's output."""
    warnings.filterwarnings("ignore", module=r"(nni|pytorch_lightning|lightning_fabric|torch)(\..*)?")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|not a nn\.Module).*")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _search(arguments: list[str]) -> None:
    def parser(defaults: Path | None) -> ArgumentParser:
        made = _parser(
            "search",
            "Search a network within a budget. Leaves the winner in OUT/winner.json. Options override CONFIG.",
            defaults,
        )
        made.add_argument(
            "config",
            type=str,
            nargs="?",
            help="YAML file with the options below, nested by their dots; or the name of a bundled one: "
            + ", ".join(bundled_names()),
        )
        made.add_argument("--out", type=str, help="folder of the run; must be new or empty (required)")
        made.add_argument("--resume", action="store_true", help="go on with the run in OUT")
        made.add_argument("--overwrite", action="store_true", help="delete the run in OUT first")
        made.add_class_arguments(SearchConfig)
        return made

    given = _arguments(parser(None), arguments).config  # values are checked when the defaults are known
    path = None if given is None else find_config(given)
    if path is not None:
        read_config(path)  # for a message that names the file
    options = _parse(parser(path), arguments)
    if options.out is None:
        raise InvalidRequest("--out: missing; name the folder that the run shall be written to")
    config = _with_absolute_data(from_options(options))
    _quiet()
    from experiments.search import search

    search(config, Path(options.out), resume=options.resume, overwrite=options.overwrite)


def _with_absolute_data(config: SearchConfig) -> SearchConfig:
    """A run must find its images again from any working directory."""
    path = Path(config.data.name).expanduser()
    if config.data.name == "digits" or not path.is_dir():
        return config
    return replace(config, data=replace(config.data, name=str(path.resolve())))


def _retrain(arguments: list[str]) -> None:
    @dataclass(frozen=True)
    class Options:
        """Options of retraining.

        Attributes:
            data: images.
            recipe: the training recipe.
            seeds: one training for each seed.
            train_on: train, or train+validation.
            seed: of the data's splits.
            accelerator: auto takes the GPU where there is one.
        """

        data: DataConfig
        recipe: Recipe
        seeds: list[int]
        train_on: Literal["train", "train+validation"] = "train+validation"
        seed: int = 0
        accelerator: Literal["auto", "cpu", "cuda"] = "auto"

    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = _parser(
            "retrain",
            "Train the winner of a run, or the architecture of a file, from scratch and test it. For a run the defaults"
            " are those of its config, and results go to RUN/retrain.",
        )
        made.add_argument("target", type=str, help="folder of a run, or architecture file (JSON)")
        made.add_argument("--out", type=str, help="folder for the results (required for an architecture file)")
        made.add_argument("--overwrite", action="store_true", help="delete results made another way")
        made.add_class_arguments(Options)
        made.set_defaults({"seeds": [0, 1, 2], **values})
        return made

    target = Path(_arguments(parser({}), arguments).target)
    if not target.exists():
        raise InvalidRequest(f"target: {target} does not exist; give the folder of a run or an architecture file")
    from experiments.run_folder import find_run

    values: dict[str, Any] = {}
    run = None
    if target.is_dir():
        run = find_run(target)
        base = read_config(run.config)
        as_dict = base.as_dict()
        values = {
            **_flat("data", as_dict["data"]),
            **_flat("recipe", as_dict["retrain"]["recipe"]),
            "seeds": base.retrain.seeds,
            "train_on": base.retrain.train_on,
            "seed": base.seed,
            "accelerator": base.accelerator,
        }
    else:
        base = SearchConfig()
    options = _parse(parser(values), arguments)
    config = _with_absolute_data(
        replace(
            base,
            data=options.data,
            retrain=RetrainConfig(options.recipe, options.seeds, options.train_on),
            seed=options.seed,
            accelerator=options.accelerator,
        )
    )
    _quiet()
    from experiments.compare import retrain_file, retrain_winner

    if run is not None:
        folder = Path(options.out) if options.out is not None else None
        result = retrain_winner(run, config, folder=folder, overwrite=options.overwrite)
    else:
        if options.out is None:
            raise InvalidRequest("--out: missing; name the folder for the results")
        result = retrain_file(target, config, Path(options.out), overwrite=options.overwrite)
    spread = f" ± {result.std:.2%}" if len(result.seeds) > 1 else ""
    print(f"{result.name}: test accuracy {result.mean:.2%}{spread} (n = {len(result.seeds)})")


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in values.items()}


def _export(arguments: list[str]) -> None:
    parser = _parser(
        "export",
        "Write the retrained winner of a run as architecture.json, weights.safetensors, data.json and load.py, which"
        " needs only torch and search_space.",
    )
    parser.add_argument("run", type=str, help="folder of a run whose winner is retrained")
    parser.add_argument("--to", type=str, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, help="which of the trainings to take; the first by default")
    parser.add_argument("--overwrite", action="store_true", help="replace exported files in TO")
    options = _parse(parser, arguments)
    from experiments.export import export
    from experiments.run_folder import find_run

    to = export(find_run(Path(options.run)), Path(options.to), seed=options.seed, overwrite=options.overwrite)
    print(f"exported to {to}: try `python {to / 'load.py'}`")


def _compare(arguments: list[str]) -> None:
    parser = _parser(
        "compare",
        "Train winners and hand-designed baselines by the same recipe and seeds (what is not done yet), and write"
        " comparison.csv, comparison.md and accuracy_macs.png.",
    )
    parser.add_argument("runs", type=str, nargs="+", help="folders of finished searches on the same data")
    parser.add_argument(
        "--baselines",
        type=str,
        default=",".join(DEFAULT_BASELINES),
        help="names, separated by commas; see `sepnas list baselines` (default: %(default)s)",
    )
    parser.add_argument("--out", type=str, help="folder for the report (default: RUN/report of the first run)")
    parser.add_argument("--overwrite", action="store_true", help="delete training results that were made another way")
    options = _parse(parser, arguments)
    _quiet()
    paths = [Path(run).resolve() for run in options.runs]
    if len(set(paths)) != len(paths):
        raise InvalidRequest(f"runs: a folder stands twice in {', '.join(options.runs)}; name each run once")
    from experiments.compare import compare
    from experiments.run_folder import find_run

    runs = [find_run(Path(run)) for run in options.runs]
    out = Path(options.out) if options.out is not None else runs[0].report
    names = [name.strip() for name in options.baselines.split(",") if name.strip()]
    compare(runs, [read_config(run.config) for run in runs], names, out, overwrite=options.overwrite)
    print((out / "comparison.md").read_text(encoding="utf-8"))
    print(f"report: {out}")


def _cost(arguments: list[str]) -> None:
    parser = _parser("cost", "Multiply-accumulates and parameters of a baseline or of an architecture file.")
    parser.add_argument("network", type=str, help="name (see `sepnas list baselines`) or architecture file (JSON)")
    parser.add_argument("--input", type=int, help="side of the square input, pixels (default: 32, or the file's)")
    parser.add_argument("--classes", type=int, help="number of classes (default: 10, or the file's)")
    parser.add_argument("--channels", type=int, help="input channels (default: 3, or the file's)")
    parser.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
    parser.add_argument("--json", action="store_true", help="print JSON with the fields macs and params")
    options = _parse(parser, arguments)
    from search_space import baseline, baselines, cost, load_architecture

    if options.network in baselines():
        architecture = baseline(
            options.network,
            image_size=32 if options.input is None else options.input,
            classes=10 if options.classes is None else options.classes,
            in_channels=3 if options.channels is None else options.channels,
            width=1.0 if options.width is None else options.width,
        )
    elif options.network.endswith(".json") or Path(options.network).exists():
        if options.width is not None:
            raise InvalidRequest("--width: an architecture file has its channels fixed; leave it out")
        given = {"image_size": options.input, "classes": options.classes, "in_channels": options.channels}
        architecture = replace(
            load_architecture(options.network), **{name: value for name, value in given.items() if value is not None}
        )
    else:
        raise InvalidRequest(
            f"network: {options.network!r} is neither a baseline ({', '.join(baselines())}) nor a JSON file"
        )
    own = cost(architecture)
    if options.json:
        print(json.dumps({"network": options.network, "macs": own.macs, "params": own.params}))
    else:
        from strategies.budget import format_count

        print(f"{options.network}: {format_count(own.macs)} MACs ({own.macs:,}), 2xMACs {format_count(2 * own.macs)},")
        print(f"  {format_count(own.params)} params ({own.params:,})")


def _list(arguments: list[str]) -> None:
    parser = _parser("list", "What can be named in a config.")
    parser.add_argument("what", choices=["operators", "baselines", "strategies", "datasets"], help="what to list")
    what = _parse(parser, arguments).what
    from experiments.listing import listing

    print(listing(what))


def _demo(arguments: list[str]) -> None:
    parser = _parser(
        "demo",
        "The whole job on scikit-learn's hand-written digits, offline: search by gdas and by evolution under one"
        " budget, retrain both winners and two baselines, write table and plot.",
    )
    parser.add_argument("--out", type=str, default="sepnas-demo", help="folder for everything (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with the demo in OUT")
    parser.add_argument("--overwrite", action="store_true", help="delete the demo in OUT first")
    options = _parse(parser, arguments)
    _quiet()
    from experiments.demo import demo

    demo(Path(options.out), resume=options.resume, overwrite=options.overwrite)


def _bench(arguments: list[str]) -> None:
    parser = _parser(
        "bench", "Measure speed on this machine, as ratios within one run. Prints a table, or JSON with --json."
    )
    parser.add_argument(
        "what", choices=["all", "step", "cost"], nargs="?", default="all", help="what to measure (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are reported (default: %(default)s)")
    parser.add_argument("--accelerator", choices=["auto", "cpu", "cuda"], default="auto", help="where steps run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = _parse(parser, arguments)
    if options.repeats < 1:
        raise InvalidRequest(f"--repeats: {options.repeats} must be at least 1")
    _quiet()
    from experiments.bench import bench

    bench(options.what, options.repeats, options.accelerator, as_json=options.json)


COMMANDS: dict[str, Command] = {
    "demo": Command("the whole job on embedded images, in minutes", _demo),
    "search": Command("search a network within a budget", _search),
    "retrain": Command("train a winner or an architecture file from scratch, several seeds", _retrain),
    "export": Command("write the winner as files that need no NNI", _export),
    "compare": Command("table and plot of winners against hand-designed baselines", _compare),
    "cost": Command("MACs and parameters of a network", _cost),
    "list": Command("names of operators, baselines, strategies, datasets", _list),
    "bench": Command("measure speed on this machine", _bench),
}
