"""The command ``sepnas compare``."""

from __future__ import annotations

from pathlib import Path

from experiments.config import DEFAULT_BASELINES
from experiments.config_file import read_config
from experiments.option_parsing import new_parser, parse, quiet
from search_space.errors import InvalidRequest


def main(arguments: list[str]) -> None:
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
