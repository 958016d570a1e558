"""The command ``sepnas bench``."""

from __future__ import annotations

from experiments.bench import BENCHMARKS
from experiments.options.parsing import Command, Namespace, Parser, add_accelerator, quiet
from search_space.base.checks import check_int


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
    from experiments.bench.run import bench

    bench(options.what, options.repeats, options.accelerator, as_json=options.json)


COMMAND = Command(
    "look at networks",
    "measure speed on this machine, as ratios within one run",
    _add_options,
    _run,
    details="Prints a table, or JSON with --json.",
)
