"""The command ``sepnas report``."""

from __future__ import annotations

from pathlib import Path

from experiments.options.parsing import Command, Namespace, Parser


def _add_options(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", help="folders of searches, finished or not")
    parser.add_argument("--out", help="folder for the page (default: RUN/report of the first search)")
    parser.add_argument("--overwrite", action="store_true", help="replace a page in OUT")


def _run(options: Namespace) -> None:
    from experiments.runs.folder import different_folders, find_run

    folders = different_folders(options.runs)
    from experiments.report.page import write_page

    runs = [find_run(folder) for folder in folders]
    # the page in a run's own folder is made again whenever there is more to show
    own = options.out is None
    page = write_page(runs, runs[0].report if own else Path(options.out), overwrite=own or options.overwrite)
    print(f"page: {page}")


COMMAND = Command(
    "look at networks",
    "a page on searches at any stage: one HTML file that works offline, and its figures as PNG and SVG",
    _add_options,
    _run,
    details="Shows the winner block by block, what was compared, how the search went, and what is missing.",
    alone=True,
)
