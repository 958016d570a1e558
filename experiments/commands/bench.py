"""The command ``sepnas bench``."""

from __future__ import annotations

from experiments.options.parsing import Command, Namespace, Parser, add_accelerator, quiet
from search_space.base.checks import check_int

#: What can be measured. `experiments.bench.ROWS` has the functions: importing them takes seconds, too long for a help.
BENCHMARKS = {
    "retrain": "images trained per second, input pipeline and peak memory, beside bare PyTorch",
    "step": "time of a search step, beside a training step of random networks",
}


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "what",
        choices=["all", *BENCHMARKS],
        nargs="?",
        default="all",
        help="what to measure: " + "; ".join(f"{name}: {text}" for name, text in BENCHMARKS.items()),
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians are reported (default: %(default)s)")
    add_accelerator(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: Namespace) -> None:
    check_int("--repeats", options.repeats, 1)
    quiet()
    from experiments.bench import bench

    bench(options.what, options.repeats, options.accelerator, as_json=options.json)


COMMAND = Command(
    "look at networks",
    "measure the speed of training and searching on this machine",
    _add_options,
    _run,
    details="Prints a row for each figure as it is measured, or JSON with --json. Ratios compare what was measured in"
    " turn. An epoch takes the number of images divided by the images per second.",
)
