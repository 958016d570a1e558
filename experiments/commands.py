"""The sub-commands: their options, and which function of the package does the work.

Each function imports what it needs when it runs: parsing and help need no torch.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

import search_space  # lazy: what is behind TYPE_CHECKING in this file would be imported by jsonargparse, torch with it
from evaluators.recipes import Recipe
from experiments.bench_names import BENCHMARKS
from experiments.config import DEFAULT_BASELINES, DataConfig, RetrainConfig, SearchConfig
from experiments.config_file import bundled_names, find_config, flat, from_options, read_config, self_contained
from experiments.listing import LISTINGS
from experiments.option_parsing import as_given, new_parser, parse, quiet, spelled_out
from search_space.defaults import PRESETS
from search_space.errors import InvalidRequest


@dataclass(frozen=True)
class Command:
    """A sub-command: one line on it, and the function that gets its arguments."""

    summary: str
    run: Callable[[list[str]], None]


def _config(arguments: list[str], command: str, description: str) -> tuple[SearchConfig, Namespace]:
    """The config of a YAML file with options over it, and all options."""

    def parser(defaults: SearchConfig | None) -> ArgumentParser:
        made = new_parser(command, description)
        made.add_argument(
            "config",
            type=str,
            nargs="?",
            help="YAML file with the options below, nested by their dots; or the name of a bundled one: "
            + ", ".join(bundled_names()),
        )
        if command == "search":
            made.add_argument("--out", type=str, help="folder of the run; must be new or empty (required)")
            made.add_argument("--resume", action="store_true", help="go on with the run in OUT")
            made.add_argument("--overwrite", action="store_true", help="delete the run in OUT first")
        made.add_class_arguments(SearchConfig)
        if defaults is not None:
            made.set_defaults(flat(defaults))
        return made

    arguments = list(spelled_out(arguments, ("search", "retrain.recipe")))
    first = as_given(parser(None), arguments)  # values are checked when the defaults are known
    path = None if first.config is None else find_config(first.config)
    if path is None and first.supernet is not None:  # then the run it comes from says what is searched
        from experiments.run_folder import find_run

        path = find_run(Path(first.supernet)).config
    options = parse(parser(None if path is None else read_config(path)), arguments)
    return self_contained(from_options(options)), options


def _search(arguments: list[str]) -> None:
    config, options = _config(
        arguments,
        "search",
        "Search a network within a budget. Leaves the winner in OUT/winner.json. Options override CONFIG."
        " `--search.preset NAME` and `--retrain.recipe.preset NAME` set a whole recipe of `sepnas list recipes`;"
        " options behind them override it.",
    )
    if options.out is None:
        raise InvalidRequest("--out: missing; name the folder that the run shall be written to")
    quiet()
    from experiments.search import search

    search(config, Path(options.out), resume=options.resume, overwrite=options.overwrite)


def _add_accelerator(parser: ArgumentParser) -> None:
    kinds = Literal["auto", "cpu", "cuda"]
    parser.add_argument("--accelerator", type=kinds, default="auto", help="auto takes the GPU where there is one")


def _retrain(arguments: list[str]) -> None:
    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = new_parser(
            "retrain",
            "Train the winner of a run, or the architecture of a file, from scratch and test it. For a run the defaults"
            " are those of its config, and results go to RUN/retrain. `--recipe.preset NAME` sets a whole recipe of"
            " `sepnas list recipes`; options behind it override it.",
        )
        made.add_argument("target", type=str, help="folder of a run, or architecture file (JSON)")
        made.add_argument("--out", type=str, help="folder for the results (required for an architecture file)")
        made.add_argument("--overwrite", action="store_true", help="delete results made another way")
        made.add_class_arguments(DataConfig, "data")
        made.add_class_arguments(RetrainConfig)
        made.add_argument("--seed", type=int, default=0, help="of the data's splits")
        _add_accelerator(made)
        made.set_defaults(values)
        return made

    arguments = list(spelled_out(arguments, ("recipe",)))
    target = Path(as_given(parser({}), arguments).target)
    if not target.exists():
        raise InvalidRequest(f"target: {target} does not exist; give the folder of a run or an architecture file")
    from experiments.run_folder import find_run

    values: dict[str, Any] = {}
    run = None
    if target.is_dir():
        run = find_run(target)
        base = read_config(run.config)
        values = {
            **flat(base.data, "data."),
            **flat(base.retrain),
            "seed": base.seed,
            "accelerator": base.accelerator,
        }
    else:
        base = SearchConfig()
    options = parse(parser(values), arguments)
    config = self_contained(
        replace(
            base,
            data=options.data,
            retrain=RetrainConfig(**{own.name: getattr(options, own.name) for own in fields(RetrainConfig)}),
            seed=options.seed,
            accelerator=options.accelerator,
        )
    )
    quiet()
    from evaluators.processes import is_first
    from experiments.compare import retrain_file, retrain_winner
    from experiments.retrain import told

    if run is not None:
        folder = Path(options.out) if options.out is not None else None
        result = retrain_winner(run, config, folder=folder, overwrite=options.overwrite)
    else:
        if options.out is None:
            raise InvalidRequest("--out: missing; name the folder for the results")
        result = retrain_file(target, config, Path(options.out), overwrite=options.overwrite)
    if is_first():
        print(f"{result.name}: test accuracy {told(result.summary)}")


def _export(arguments: list[str]) -> None:
    parser = new_parser(
        "export",
        "Write the retrained winner of a run as architecture.json, weights.safetensors, data.json and load.py, which"
        " needs only torch and search_space.",
    )
    parser.add_argument("run", type=str, help="folder of a run whose winner is retrained")
    parser.add_argument("--to", type=str, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, help="which of the trainings to take; the first by default")
    parser.add_argument("--overwrite", action="store_true", help="replace exported files in TO")
    options = parse(parser, arguments)
    from experiments.export import export
    from experiments.run_folder import find_run

    to = export(find_run(Path(options.run)), Path(options.to), seed=options.seed, overwrite=options.overwrite)
    print(f"exported to {to}: try `python {to / 'load.py'}`")


def _compare(arguments: list[str]) -> None:
    parser = new_parser(
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
    options = parse(parser, arguments)
    quiet()
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


def _pareto(arguments: list[str]) -> None:
    parser = new_parser(
        "pareto",
        "The Pareto set of all architectures that a run has scored (by nsga2, or any strategy that scores one after the"
        " other): prints it, writes pareto.csv, hypervolume.csv and pareto.png to RUN, and picks from it.",
    )
    parser.add_argument("run", type=str, help="folder of a run")
    parser.add_argument(
        "--pick",
        type=str,
        action="append",
        help="choose the most accurate of at most so many MACs, as 16.7M; of another objective, as params:1.2M. Several"
        " hold together",
    )
    parser.add_argument("--to", type=str, help="architecture file (JSON) for what is picked")
    parser.add_argument(
        "--objectives", type=str, help="costs to minimise, separated by commas (default: the run's; else macs,params)"
    )
    options = parse(parser, arguments)
    if options.to is not None and not options.pick:
        raise InvalidRequest("--to: nothing is picked; say what may be spent, as --pick 16.7M")
    quiet()
    from experiments.pareto import front_table, pick, run_front, write_pareto
    from experiments.run_folder import check_writable, find_run
    from search_space.serialization import save_architecture

    if options.to is not None:
        check_writable("to", Path(options.to).parent)
        if Path(options.to).is_dir():
            raise InvalidRequest(f"--to: {options.to} is a folder; give a file")
    run = find_run(Path(options.run))
    config = read_config(run.config)
    objectives = None if options.objectives is None else [name.strip() for name in options.objectives.split(",")]
    front = run_front(run, config, objectives)
    picked = pick(front, options.pick) if options.pick else None
    write_pareto(front, config.budget, run.path)
    print(front_table(front, picked))
    if picked is not None:
        print(picked.architecture)
        if options.to is not None:
            Path(options.to).parent.mkdir(parents=True, exist_ok=True)
            save_architecture(picked.architecture, Path(options.to))


def _rank(arguments: list[str]) -> None:
    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = new_parser(
            "rank",
            "Judge a run's supernet: train N architectures on their own and tell, by Kendall's tau, whether the"
            " supernet ranks them alike. The recipe's defaults are those of the run's retraining. A killed call goes on"
            " where it was; nothing is trained twice.",
        )
        made.add_argument("run", type=str, help="folder of a run with a trained supernet")
        made.add_argument("--out", type=str, help="folder for the results (default: RUN/rank)")
        made.add_argument("--overwrite", action="store_true", help="delete results made another way")
        made.add_class_arguments(Recipe, "recipe")
        made.add_argument(
            "--seeds",
            type=list[int],
            default=[0, 1],
            help="trainings of each architecture; the second is the noise ceiling",
        )
        made.add_argument("--n", type=int, default=30, help="architectures, spread over the MACs inside the budget")
        _add_accelerator(made)
        made.set_defaults(values)
        return made

    arguments = list(spelled_out(arguments, ("recipe",)))
    from experiments.run_folder import find_run

    run = find_run(Path(as_given(parser({}), arguments).run))
    base = read_config(run.config)
    values = {**flat(base.retrain.recipe, "recipe."), "accelerator": base.accelerator}
    options = parse(parser(values), arguments)
    quiet()
    from experiments.rank import rank

    folder = Path(options.out) if options.out is not None else run.rank
    rank(
        run,
        replace(base, accelerator=options.accelerator),
        n=options.n,
        seeds=options.seeds,
        recipe=options.recipe,
        folder=folder,
        overwrite=options.overwrite,
    )
    print((folder / "rank.md").read_text(encoding="utf-8"))
    print(f"report: {folder}")


def _network_parser(name: str, description: str) -> ArgumentParser:
    parser = new_parser(name, description)
    parser.add_argument(
        "network",
        type=str,
        nargs="?" if name == "latency" else None,
        help="name (see `sepnas list baselines`), architecture file (JSON), or folder of a run",
    )
    parser.add_argument("--input", type=int, help="side of the square input, pixels (default: 32, or the file's)")
    parser.add_argument("--classes", type=int, help="number of classes (default: 10, or the file's)")
    parser.add_argument("--channels", type=int, help="input channels (default: 3, or the file's)")
    parser.add_argument("--width", type=float, help="channel multiplier of a baseline (default: 1.0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _network(options: Namespace) -> search_space.Architecture:
    """The architecture that the options of `_network_parser` name."""
    from search_space import baseline, baselines, load_architecture

    given = {"image_size": options.input, "classes": options.classes, "in_channels": options.channels}
    given = {name: value for name, value in given.items() if value is not None}
    if options.network in baselines():
        width = {} if options.width is None else {"width": options.width}
        return baseline(options.network, **given, **width)
    path = Path(options.network)
    if not options.network.endswith(".json") and not path.exists():
        raise InvalidRequest(
            f"network: {options.network!r} is neither a baseline ({', '.join(baselines())}), nor a JSON file, nor the"
            " folder of a run"
        )
    if options.width is not None:
        raise InvalidRequest("--width: an architecture file has its channels fixed; leave it out")
    if path.is_dir():
        from experiments.run_folder import find_run

        path = find_run(path).require_winner()
    return replace(load_architecture(path), **given)


def _cost(arguments: list[str]) -> None:
    parser = _network_parser("cost", "Multiply-accumulates and parameters of a network.")
    options = parse(parser, arguments)
    architecture = _network(options)
    from search_space import cost

    own = cost(architecture)
    if options.json:
        print(json.dumps({"network": options.network, "macs": own.macs, "params": own.params}))
    else:
        from strategies.budget import format_count

        print(f"{options.network}: {format_count(own.macs)} MACs ({own.macs:,}), 2xMACs {format_count(2 * own.macs)},")
        print(f"  {format_count(own.params)} params ({own.params:,})")


def _describe(arguments: list[str]) -> None:
    parser = _network_parser(
        "describe",
        "A network as a table: one row a block with its map, operator, channels, MACs, params and their share; and the"
        " totals by each convention of counting.",
    )
    options = parse(parser, arguments)
    architecture = _network(options)
    from experiments.describe import describe, summary

    if options.json:
        print(json.dumps(summary(architecture, options.network), indent=2))
    else:
        print(describe(architecture, options.network))


def _evaluate(arguments: list[str]) -> None:
    @dataclass(frozen=True)
    class Options:
        """Options of evaluation.

        Attributes:
            data: images.
            split: which of their splits.
            split_seed: seed of the splits, where the data bring none.
            accelerator: auto takes the GPU where there is one.
        """

        data: DataConfig
        split: Literal["test", "validation", "train"] = "test"
        split_seed: int = 0
        accelerator: Literal["auto", "cpu", "cuda"] = "auto"

    def parser(values: dict[str, Any]) -> ArgumentParser:
        made = new_parser(
            "evaluate",
            "Measure a trained network on a split: top-1, top-5 and per-class accuracy, confusion matrix, calibration"
            " error. Images are, unless told otherwise, those it was trained with, split as they were then.",
        )
        made.add_argument(
            "target",
            type=str,
            help="folder of a run (its retrained winner), of `sepnas retrain --out` or of `sepnas export`",
        )
        made.add_argument("--seed", type=int, help="which of the trainings to take; the first by default")
        made.add_argument("--json", action="store_true", help="print JSON")
        made.add_argument("--out", type=str, help="folder for evaluation.json, confusion_matrix.csv, evaluation.png")
        made.add_argument("--overwrite", action="store_true", help="replace those files in OUT")
        made.add_class_arguments(Options)
        made.set_defaults(values)
        return made

    first = as_given(parser({}), arguments)
    quiet()
    from experiments.evaluate import check_out_folder, evaluate, write_evaluation
    from experiments.trained import find_trained

    trained = find_trained(Path(first.target), first.seed)
    values = {**flat(trained.data, "data."), "split_seed": trained.split_seed or 0}
    options = parse(parser(values), arguments)
    if options.out is not None:
        check_out_folder(Path(options.out), overwrite=options.overwrite)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        evaluation = evaluate(
            trained,
            options.target,
            options.data,
            split=options.split,
            split_seed=options.split_seed,
            accelerator=options.accelerator,
        )
    print(json.dumps(evaluation.as_dict(), indent=2) if options.json else evaluation)
    if options.out is not None:
        write_evaluation(evaluation, Path(options.out), overwrite=options.overwrite)


def _latency(arguments: list[str]) -> None:
    parser = _network_parser(
        "latency",
        "Time of a forward pass of a network, or with --table the times of all candidates of a config's search space,"
        " as a file of costs that a search can be bounded by, with their prediction error on whole networks.",
    )
    parser.add_argument("--table", type=str, help="YAML file or bundled name of the config whose space is timed")
    parser.add_argument("--out", type=str, help="file for the table, as latency.json (required with --table)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.add_argument(
        "--backend",
        choices=["pytorch-cpu", "onnx-cpu", "cuda"],
        default="pytorch-cpu",
        help="what runs the network: eager PyTorch or ONNX Runtime on the CPU, or eager PyTorch on the GPU"
        " (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="images of a forward pass (default: %(default)s)")
    parser.add_argument("--repeats", type=int, help="timed calls (default: 100; of a table 50 in each round)")
    parser.add_argument("--rounds", type=int, help="rounds of a table, each in another order (default: 5)")
    parser.add_argument("--networks", type=int, help="whole networks to compare a table with (default: 10)")
    parser.add_argument("--metric", type=str, help="what a table's cost is called (default: latency_ms)")
    options = parse(parser, arguments)
    if (options.table is None) == (options.network is None):
        raise InvalidRequest("network: give one, or --table CONFIG for a whole search space")
    of_network = {"input": options.input, "classes": options.classes, "channels": options.channels}
    of_network |= {"width": options.width, "json": options.json or None}
    of_table = {name: getattr(options, name) for name in ("out", "rounds", "networks", "metric")}
    of_table["overwrite"] = options.overwrite or None
    wrong, why = (of_table, "is of --table") if options.table is None else (of_network, "is not of --table")
    for name, value in wrong.items():
        if value is not None:
            raise InvalidRequest(f"--{name}: {value} {why}; leave it out")
    given = {
        name: value for name in ("repeats", "rounds", "networks", "metric") if (value := options[name]) is not None
    }
    quiet()
    from evaluators.latency_backends import make_backend

    backend = make_backend(options.backend, options.threads)
    if options.table is None:
        from experiments.latency import network_latency, tell_latency

        value = network_latency(_network(options), options.network, backend, batch=options.batch, **given)
        print(json.dumps(value, indent=2) if options.json else tell_latency(value))
        return
    if options.out is None:
        raise InvalidRequest("--out: missing; name the file for the table, as latency.json")
    from experiments.latency import tell_table, write_table

    config = self_contained(read_config(find_config(options.table)))
    fitted = write_table(config, Path(options.out), backend, batch=options.batch, overwrite=options.overwrite, **given)
    print(tell_table(fitted))
    print(f"table: {options.out}; name it in `costs:` of a config and bound it by `budget.max_costs`")


def _space(arguments: list[str]) -> None:
    config = _config(
        arguments,
        "space",
        "Size of a config's search space: architectures, labels and candidates, the reachable range of each cost, and"
        " the share inside the budget. Options override CONFIG.",
    )[0]
    quiet()
    from experiments.space_report import space_report
    from experiments.task import cost_table, light_space

    space = light_space(config)
    print(space_report(space, cost_table(config, space), config.budget))


def _list(arguments: list[str]) -> None:
    parser = new_parser("list", "What can be named in a config.")
    parser.add_argument("what", choices=list(LISTINGS), help="what to list")
    what = parse(parser, arguments).what
    print(LISTINGS[what]())


def _demo(arguments: list[str]) -> None:
    parser = new_parser(
        "demo",
        "The whole job on scikit-learn's hand-written digits, offline: search by gdas and by evolution under one"
        " budget, retrain both winners and two baselines, write table and plot.",
    )
    parser.add_argument("--out", type=str, default="sepnas-demo", help="folder for everything (default: %(default)s)")
    parser.add_argument(
        "--space",
        choices=["quick", *PRESETS],
        default="quick",
        help="quick: ten operators at the hand-designed widths; a preset: its operators and the default widths"
        " (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the demo in OUT")
    parser.add_argument("--overwrite", action="store_true", help="delete the demo in OUT first")
    options = parse(parser, arguments)
    quiet()
    from experiments.demo import demo

    demo(Path(options.out), options.space, resume=options.resume, overwrite=options.overwrite)


def _bench(arguments: list[str]) -> None:
    parser = new_parser(
        "bench", "Measure speed on this machine, as ratios within one run. Prints a table, or JSON with --json."
    )
    parser.add_argument(
        "what",
        choices=["all", *BENCHMARKS],
        nargs="?",
        default="all",
        help="what to measure: " + "; ".join(f"{name}: {text}" for name, text in BENCHMARKS.items()),
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are reported (default: %(default)s)")
    parser.add_argument("--accelerator", choices=["auto", "cpu", "cuda"], default="auto", help="where steps run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parse(parser, arguments)
    if options.repeats < 1:
        raise InvalidRequest(f"--repeats: {options.repeats} must be at least 1")
    quiet()
    from experiments.bench import bench

    bench(options.what, options.repeats, options.accelerator, as_json=options.json)


COMMANDS: dict[str, Command] = {
    "demo": Command("the whole job on embedded images, in minutes", _demo),
    "search": Command("search a network within a budget", _search),
    "retrain": Command("train a winner or an architecture file from scratch, several seeds", _retrain),
    "export": Command("write the winner as files that need no NNI", _export),
    "compare": Command("table and plot of winners against hand-designed baselines", _compare),
    "pareto": Command("the Pareto set of a run, and picking from it", _pareto),
    "rank": Command("judge a run's supernet: does it rank architectures as their own trainings do?", _rank),
    "evaluate": Command("accuracy, confusion and calibration of a trained network on a split", _evaluate),
    "latency": Command("time of a network, or a table of times to search under", _latency),
    "cost": Command("MACs and parameters of a network", _cost),
    "describe": Command("a network as a table, block by block", _describe),
    "space": Command("size and reachable costs of a search space, and the share inside a budget", _space),
    "list": Command(f"names of {', '.join(LISTINGS)}", _list),
    "bench": Command("measure speed on this machine", _bench),
}
