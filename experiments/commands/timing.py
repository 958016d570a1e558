"""The commands ``sepnas bench`` and ``sepnas latency``."""

from __future__ import annotations

import json
from pathlib import Path

from evaluators.latency.names import BACKENDS, PYTORCH_CPU
from experiments.commands.networks import add_network, named_network
from experiments.options.config import SearchConfig
from experiments.options.files import find_config, read_config, self_contained
from experiments.options.parsing import Command, Namespace, Parser, add_option
from search_space.base.checks import check_int
from search_space.base.errors import InvalidRequest

#: What can be measured. `experiments.bench.ROWS` has the functions: importing them takes seconds, too long for a help.
BENCHMARKS = {
    "retrain": "images trained per second, input pipeline and peak memory, beside bare PyTorch",
    "step": "time of a search step, beside a training step of random networks",
}


def _add_bench(parser: Parser) -> None:
    parser.add_argument(
        "what",
        choices=["all", *BENCHMARKS],
        nargs="?",
        default="all",
        help="what to measure: " + "; ".join(f"{name}: {text}" for name, text in BENCHMARKS.items()),
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are reported (default: %(default)s)")
    add_option(parser, SearchConfig, "accelerator")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _bench(options: Namespace) -> None:
    check_int("--repeats", options.repeats, 1)
    from experiments.bench import bench

    bench(options.what, options.repeats, options.accelerator, as_json=options.json)


BENCH = Command(
    "look at networks",
    "measure the speed of training and searching on this machine",
    _add_bench,
    _bench,
    details="Prints a row for each figure as it is measured, or JSON with --json. Ratios compare what was measured in"
    " turn. An epoch takes the number of images divided by the images per second.",
)


#: Options that only one of the two uses of the command has.
_OF_TABLES = ("out", "overwrite", "rounds", "networks", "metric")
_OF_NETWORKS = ("input", "classes", "channels", "width", "json")


def _add_latency(parser: Parser) -> None:
    add_network(parser, optional=True)
    parser.add_argument("--table", help="YAML file or bundled name of the config whose space is timed")
    parser.add_argument("--out", help="file for the table, such as latency.json (required with --table)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=PYTORCH_CPU,
        help="what runs the network: eager PyTorch or ONNX Runtime on the CPU, or eager PyTorch on the GPU"
        " (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="images per forward pass (default: %(default)s)")
    parser.add_argument("--repeats", type=int, help="timed calls (default: 100; for a table 50 in each round)")
    parser.add_argument("--rounds", type=int, help="rounds of timing a table, each in another order (default: 5)")
    parser.add_argument("--networks", type=int, help="whole networks to compare a table with (default: 10)")
    parser.add_argument("--metric", help="name of a table's cost (default: latency_ms)")


def _latency(options: Namespace) -> None:
    if (options.table is None) == (options.network is None):
        raise InvalidRequest("network: give one, or --table CONFIG for a whole search space")
    wrong, why = (_OF_TABLES, "goes with --table only")
    if options.table is not None:
        wrong, why = (_OF_NETWORKS, "does not go with --table")
    for name in wrong:
        value = getattr(options, name)
        if value is not None and value is not False:
            raise InvalidRequest(f"--{name}: {value} {why}; leave it out")
    options_given = {name: getattr(options, name) for name in ("repeats", "rounds", "networks", "metric")}
    given = {"batch": options.batch} | {name: value for name, value in options_given.items() if value is not None}
    from evaluators.latency.backends import make_backend
    from experiments.latency import fit_text, latency_text, network_latency, write_table

    backend = make_backend(options.backend, options.threads)
    if options.table is None:
        value = network_latency(named_network(options), options.network, backend, **given)
        print(json.dumps(value, indent=2) if options.json else latency_text(value))
        return
    if options.out is None:
        raise InvalidRequest("--out: missing; name the file for the table, such as latency.json")
    config = self_contained(read_config(find_config(options.table)))
    print(fit_text(write_table(config, Path(options.out), backend, overwrite=options.overwrite, **given)))
    print(f"table: {options.out}; name it in `costs:` of a config and bound it by `budget.max_costs`")


LATENCY = Command(
    "look at networks",
    "time of a network, or a table of times to search under",
    _add_latency,
    _latency,
    details="Times a forward pass of a network, or with --table all candidates of a config's search space, as a file of"
    " costs that a search can be bounded by, with their prediction error on whole networks.",
)
