"""How every sub-command reads its options: jsonargparse, with a user's spellings and complaints of one line."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from evaluators.training.presets import resolve
from experiments.options.complaints import readable
from search_space.base.errors import InvalidRequest
from search_space.options import PRESETS


def new_parser(name: str, description: str) -> ArgumentParser:
    """A parser for ``sepnas NAME`` that raises instead of exiting."""
    return ArgumentParser(
        prog=f"sepnas {name}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        default_env=False,
    )


#: options that take a list, which may be written without brackets
_LISTS = ("--seeds", "--retrain.seeds", "--space.operators", "--space.widths", "--costs")


def parse(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The options with their dataclasses made, and so checked."""
    parsed = as_given(parser, arguments)
    try:
        return parser.instantiate(parsed)
    except (ArgumentError, TypeError) as error:
        raise InvalidRequest(f"{readable(error)}; `{parser.prog} --help` tells the options") from None


def as_given(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The options as given, of the right types."""
    try:
        return parser.parse_args(list(with_brackets(arguments)))
    except (ArgumentError, TypeError) as error:
        raise InvalidRequest(f"{readable(error)}; `{parser.prog} --help` tells the options") from None


def with_brackets(arguments: list[str]) -> Iterator[str]:
    """``--seeds 0,1`` as ``--seeds [0,1]``."""
    expected = False
    for argument in arguments:
        name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        wanted = name in _LISTS if equals else expected
        if wanted and re.fullmatch(r"[\w./~-]+(\s*,\s*[\w./~-]+)*", value) and value not in ("null", *PRESETS):
            value = f"[{value}]"
        yield f"{name}{equals}{value}"
        expected = argument in _LISTS


def spelled_out(arguments: list[str], recipes: tuple[str, ...]) -> Iterator[str]:
    """``--search.preset NAME`` as an option for each field of that preset; options behind it override them."""
    names = [f"--{recipe}.preset" for recipe in recipes]
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name not in names:
            yield argument
            continue
        chosen = value if equals else next(waiting, "")
        for field, own in resolve({"preset": chosen}).items():
            # names bare, as a user writes them; null, true and lists as JSON
            yield f"{name.removesuffix('preset')}{field}={own if isinstance(own, str) else json.dumps(own)}"


def quiet() -> None:
    """Keep the chatter of the libraries out of the command's output."""
    warnings.filterwarnings("ignore", module=r"(nni|pytorch_lightning|lightning_fabric|torch)(\..*)?")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|not a nn\.Module).*")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # it would tell of every attempt to reach the hub; how that ended is ours to say
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
