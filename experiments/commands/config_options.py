"""The options of the sub-commands that read a config: a YAML file, with options over it."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from experiments.options.config import SearchConfig
from experiments.options.files import bundled_names, find_config, flat, from_options, read_config, self_contained
from experiments.options.parsing import as_given, new_parser, parse, spelled_out


def config_and_options(arguments: list[str], command: str, description: str) -> tuple[SearchConfig, Namespace]:
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
        from experiments.runs.folder import find_run

        path = find_run(Path(first.supernet)).config
    options = parse(parser(None if path is None else read_config(path)), arguments)
    return self_contained(from_options(options)), options
