"""The command ``sepnas bench``."""

from __future__ import annotations

from experiments.bench.names import BENCHMARKS
from experiments.options.parsing import new_parser, parse, quiet
from search_space.base.errors import InvalidRequest


def main(arguments: list[str]) -> None:
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
    from experiments.bench.run import bench

    bench(options.what, options.repeats, options.accelerator, as_json=options.json)
