"""The help of a sub-command: short enough for two screens. Fields of recipes are named there, and explained apart."""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING
from typing import Any, Literal, get_args, get_origin

from evaluators.training.recipes import Recipe
from experiments.options.values import Option, kinds_of, options_of

_INDENT = 29
_WIDTH = 100


class Rows(argparse.HelpFormatter):
    """A row for each option; at most 100 columns, fewer on a narrow terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_INDENT, width=_width())

    def add_title(self, title: str) -> None:
        """A heading, with the rows that follow right below it."""
        self._add_item(lambda text: f"\n{textwrap.fill(text, self._width)}\n", [title])

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return f"  {positional(action).split()[0]}"
        kind = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
        return f"  {', '.join(action.option_strings)} {kind}".rstrip()

    def _get_help_string(self, action: argparse.Action) -> str:
        return str(action.help) + (f" ({', '.join(map(str, action.choices))})" if action.choices else "")

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def positional(action: argparse.Action) -> str:
    """How the usage shows an argument without a name."""
    name = action.dest.upper()
    return {"?": f"[{name}]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def row(name: str, placeholder: str, text: str) -> argparse.Action:
    """A row of the help for what is not, or not under this name, an option of a parser."""
    return argparse.Action([name], name, metavar=placeholder, help=text.replace("%", "%%"))


def recipe_rows(prefix: str, preset: str) -> list[argparse.Action]:
    """A recipe in the help of its command, in two rows; ``preset`` is said of its first option."""
    fields = f"{', '.join(options_of(Recipe))}; --help.recipe explains them"
    return [row(f"--{prefix}preset", "NAME", preset), row(f"--{prefix}FIELD", "VALUE", fields)]


def format_recipe(prefixes: Iterable[str]) -> str:
    """The fields of a recipe with their meaning, for all recipes of the command."""
    formatter = Rows("")
    formatter.add_text(
        f"Fields of a recipe, each an option: {' or '.join(f'--{prefix}FIELD VALUE' for prefix in prefixes)}. With"
        " --...preset NAME they are those of a recipe of `sepnas list recipes`, unless they are given."
    )
    formatter.add_arguments(
        row(option.name, placeholder(option.type), option_text(option)) for option in options_of(Recipe).values()
    )
    return formatter.format_help().rstrip()


def short_text(option: Option) -> str:
    """`option_text` in two lines: its first sentence, or the beginning of that."""
    room = 2 * (_width() - _INDENT) - 8
    note = _note(option)
    text = re.split(r"\. ", option.help.removesuffix("."), maxsplit=1)[0]
    first, *others = text.split("; ")
    if len(text) > room // 2:  # of what does not fit into a line
        others = [part for part in others if part.startswith("see ")]
    return textwrap.shorten("; ".join([first, *others]), room - len(note), placeholder=" ...") + note


def option_text(option: Option) -> str:
    """What an option means, choices that this does not name, and its default unless that is null or empty."""
    return option.help.removesuffix(".") + _note(option)


def _note(option: Option) -> str:
    notes = []
    choices = [str(choice) for choice in get_args(option.type)] if get_origin(option.type) is Literal else []
    if not all(choice in option.help for choice in choices):
        notes.append(", ".join(choices))
    value = option.default
    if isinstance(value, bool):
        notes.append(f"default: {str(value).lower()}")
    elif value is not MISSING and value not in (None, {}, [], ()):
        notes.append(f"default: {','.join(map(str, value)) if isinstance(value, list | tuple) else value}")
    return f" ({'; '.join(notes)})" if notes else ""


def placeholder(kind: Any) -> str:
    """What stands for a value of a type."""
    names = {int: "N", float: "X", bool: "BOOL", str: "TEXT", dict: "{...}", list: "A,B", tuple: "A,B", Literal: "WORD"}
    return next((name for each in kinds_of(kind) if (name := names.get(get_origin(each) or each))), "VALUE")


def _width() -> int:
    return min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
