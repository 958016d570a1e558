"""The help of a sub-command: short enough for two screens. Fields of recipes are named there, and explained apart."""

from __future__ import annotations

import re
import shutil
import textwrap
from argparse import Action
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from typing import Any, Literal, get_args, get_origin

from evaluators.training.recipes import Recipe
from experiments.options.values import Option, kinds_of, options_of

#: How an option is written, and what it means.
Row = tuple[str, str]

#: Columns of a row's first part at most, and of all.
_INDENT = 29
_WIDTH = 100


def help_page(head: Sequence[str], groups: Mapping[str, Iterable[Row]]) -> str:
    """Paragraphs, then the rows of each group below its title; at most 100 columns, fewer on a narrow terminal."""
    listed = {title: list(rows) for title, rows in groups.items()}
    column = min(_INDENT, max(len(name) for rows in listed.values() for name, _ in rows) + 4)
    parts = [textwrap.fill(text, _width()) for text in head]
    for title, rows in listed.items():
        lines = [textwrap.fill(title, _width())] if title else []
        parts.append("\n".join([*lines, *(_lines(*row, column) for row in rows)]))
    return "\n\n".join(filter(None, parts)) + "\n"


def _lines(name: str, text: str, column: int) -> str:
    """A row; its text begins in a line of its own where the name is long."""
    wrapped = textwrap.wrap(text, _width() - column, break_long_words=False, break_on_hyphens=False)
    first = f"  {name}"
    lines = [first] if len(first) > column - 2 or not wrapped else [f"{first:{column}}{wrapped.pop(0)}"]
    return "\n".join([*lines, *(" " * column + line for line in wrapped)])


class Offered(tuple[Any, ...]):
    """Choices that completions offer; whoever takes the value checks it, and the help says them if it wants to."""

    def __contains__(self, value: object) -> bool:
        return True


def row_of(action: Action) -> Row:
    """The row of a parser's argument."""
    text = str(action.help) % vars(action)
    if action.choices and not isinstance(action.choices, Offered):
        text += f" ({', '.join(map(str, action.choices))})"
    if not action.option_strings:
        return positional(action).split()[0], text
    kind = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    return f"{', '.join(action.option_strings)} {kind}".rstrip(), text


def positional(action: Action) -> str:
    """How the usage shows an argument without a name."""
    name = action.dest.upper()
    return {"?": f"[{name}]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def recipe_rows(prefix: str, preset: str) -> list[Row]:
    """A recipe in the help of its command, in two rows; ``preset`` is said of its first option."""
    fields = f"{', '.join(options_of(Recipe))}; --help.recipe explains them"
    return [(f"--{prefix}preset NAME", preset), (f"--{prefix}FIELD VALUE", fields)]


def recipe_page(prefixes: Iterable[str]) -> str:
    """The fields of a recipe with their meaning, for all recipes of the command."""
    head = (
        f"Fields of a recipe, each an option: {' or '.join(f'--{prefix}FIELD VALUE' for prefix in prefixes)}. With"
        " --...preset NAME they are those of a recipe of `sepnas list recipes`, unless they are given."
    )
    rows = [(f"{own.name} {placeholder(own.type)}", option_text(own)) for own in options_of(Recipe).values()]
    return help_page([head], {"": rows}).rstrip()


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
