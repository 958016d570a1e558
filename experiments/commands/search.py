"""The commands ``sepnas search`` and ``sepnas space``: both read a YAML file, with options over it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from experiments.options.config import SearchConfig
from experiments.options.files import bundled_names, find_config, read_config, self_contained
from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.errors import InvalidRequest

#: sections of a config, and options beside them, that decide what `sepnas space` prints
_OF_SPACES = ("data", "space", "budget", "costs")


def add_config(parser: Parser, only: Collection[str] = ()) -> None:
    """The config: a file, and all its options or ``only`` some."""
    parser.add_argument(
        "config",
        nargs="?",
        help="YAML file of the options below, nested at their dots; the command line wins over it. Or a bundled one: "
        + ", ".join(bundled_names()),
    )
    parser.add_class(SearchConfig, "settings", only=only)


def config_defaults(options: Namespace) -> Mapping[str, Any]:
    """The config file named, else that of the run whose supernet is used."""
    if options.config is not None:
        return {"settings": read_config(find_config(options.config))}
    if getattr(options, "supernet", None) is not None:
        from experiments.runs.folder import find_run

        return {"settings": read_config(find_run(Path(options.supernet)).config)}
    return {}


def _add_search(parser: Parser) -> None:
    parser.add_argument("--out", help="folder of the run; must be new or empty (required)")
    parser.add_argument("--resume", action="store_true", help="continue the run in OUT")
    parser.add_argument("--overwrite", action="store_true", help="delete the run in OUT first")
    parser.add_argument(
        "--dry-run", action="store_true", help="forecast time and memory from measured steps; write nothing"
    )
    parser.add_argument("--print_config", action="store_true", help="print the config as YAML, every option explained")
    parser.add_argument("--print_schema", action="store_true", help="print a JSON Schema of configs")
    add_config(parser)


def _search(options: Namespace) -> None:
    if options.print_schema or options.print_config:
        from experiments.options.printing import commented_yaml, schema_text

        print(schema_text() if options.print_schema else commented_yaml(options.settings).removesuffix("\n"))
        return
    out = None if options.out is None else Path(options.out)
    if out is None and not options.dry_run:
        raise InvalidRequest("--out: missing; name the folder to write the run to")
    config, began = self_contained(options.settings), time.perf_counter()
    from evaluators.training.processes import check_alone

    check_alone("search")
    how = {"resume": options.resume, "overwrite": options.overwrite}
    if options.dry_run or out is None:
        from experiments.search.forecast import dry_run

        dry_run(config, out, **how, began=began)
    else:
        from experiments.search.search import search

        search(config, out, **how)


def _space(options: Namespace) -> None:
    config = self_contained(options.settings)
    from experiments.describe import describe_space
    from experiments.runs.task import SearchTask

    task = SearchTask(config)
    print(describe_space(task.space, task.table, config.budget))


SEARCH = Command(
    "find and train networks",
    "search a network within a budget",
    _add_search,
    _search,
    details="Leaves the winner in OUT/winner.json.",
    defaults=config_defaults,
)
SPACE = Command(
    "look at networks",
    "size and reachable costs of a search space, and the share inside a budget",
    lambda parser: add_config(parser, _OF_SPACES),
    _space,
    details="Shows the number of architectures, the candidates of each block, the reachable range of each cost.",
    defaults=config_defaults,
)
