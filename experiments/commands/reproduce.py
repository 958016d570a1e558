"""The command ``sepnas reproduce``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from evaluators.data.options import DataOptions
from experiments.options.config import RetrainConfig, SearchConfig
from experiments.options.files import self_contained
from experiments.options.parsing import Command, Namespace, Parser, add_option
from experiments.reproduce.table import PaperTable, shortened
from experiments.reproduce.tables import TABLES
from search_space.base.checks import check_choice, check_int, check_number, refusal, unknown
from search_space.base.errors import InvalidRequest
from search_space.options import MOST_WIDTH

#: what a config and the command's options have in common
_OPTIONS = ("data", "retrain", "seed", "accelerator", "trackers", "jobs")


def _add_options(parser: Parser) -> None:
    parser.add_argument("name", help="table or figure, of `sepnas list tables`")
    parser.add_argument("--out", help="folder for the networks and the report; tables trained alike can share it")
    parser.add_argument(
        "--on", help="data set whose published figures and recipe are used, such as cifar100 (default: the first)"
    )
    parser.add_argument(
        "--epochs", type=int, help="epochs of each training; the recipe's whole schedule is shortened to them"
    )
    parser.add_argument(
        "--seeds",
        dest="trainings",
        type=int,
        default=3,
        help="trainings of each row, with seeds 0, 1, ... (default: 3)",
    )
    parser.add_argument("--rows", help="numbers of the rows to train, such as 1,4 (default: all)")
    parser.add_argument(
        "--width", type=float, default=1.0, help="multiplies the channels of every network (default: 1)"
    )
    parser.add_argument("--forecast", action="store_true", help="time some steps of each row instead of training it")
    parser.add_argument("--overwrite", action="store_true", help="delete trainings in OUT that were made differently")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data's splits (default: 0)")
    for name in ("accelerator", "trackers", "jobs"):
        add_option(parser, SearchConfig, name)
    parser.add_class(DataOptions, "data", "data.")
    parser.add_class(RetrainConfig, "retrain", only=("recipe", "devices"))


def _table(options: Namespace) -> PaperTable:
    if options.name not in TABLES:
        raise unknown("name", options.name, TABLES, "sepnas list tables")
    return TABLES[options.name]


def _setting(options: Namespace) -> str:
    settings = _table(options).settings
    return next(iter(settings)) if options.on is None else str(check_choice("--on", options.on, settings))


def _defaults(options: Namespace) -> Mapping[str, Any]:
    table = _table(options)
    paper = table.settings[_setting(options)]
    recipe = paper.recipe
    if options.epochs is not None:
        recipe = shortened(recipe, check_int("--epochs", options.epochs, 1))
    data = DataOptions(image_size=paper.image_size)
    if not hasattr(options, "data.image_size"):  # else that is the size of the images at hand
        data = replace(data, stored_size=paper.stored_size)
    seeds = list(range(check_int("--seeds", options.trainings, 1, 1000)))
    # curves over epochs are of validation images
    train_on: Literal["train", "train+validation"] = "train" if table.axis == "epochs" else "train+validation"
    return {"data": data, "retrain": RetrainConfig(train_on=train_on, seeds=seeds, recipe=recipe)}


def _run(options: Namespace) -> None:
    table, width = _table(options), check_number("--width", options.width, above=0, most=MOST_WIDTH)
    rows = None if options.rows is None else _numbers(options.rows)
    if options.out is None and not options.forecast:
        raise InvalidRequest("--out: missing; name the folder for the networks and the report, or --forecast")
    config = replace(SearchConfig(), **{name: getattr(options, name) for name in _OPTIONS})
    from experiments.reproduce.report import forecast_text, report_files
    from experiments.reproduce.run import Reproduction, forecast, reproduce

    wanted = Reproduction(table, _setting(options), self_contained(config), Path(options.out or "."), width)
    if options.forecast:
        print(forecast_text(forecast(wanted, rows), len(config.retrain.seeds)))
        return
    reproduce(wanted, rows, overwrite=options.overwrite)
    page = Path(options.out) / report_files(table)[1]
    print(page.read_text(encoding="utf-8"))
    print(f"report: {page}")


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise refusal("--rows", text, "is not a list of row numbers", "write it like 1,4")
    return sorted({int(part) for part in parts})


COMMAND = Command(
    "find and train networks",
    "train the networks of a paper's table or figure and compare them with its figures",
    _add_options,
    _run,
    details="Data and recipe are the paper's unless options say otherwise; the images are digits unless --data.name"
    " names others. Rows are trained one after another, and what is trained is not trained again: the same command"
    " continues after a kill. OUT gets the table as CSV, a page that also says what differs, and a plot.",
    defaults=_defaults,
    alone=True,
)
