"""The help of a sub-command: short enough for two screens. Fields of recipes are named there, and explained apart."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from evaluators.training.recipes import Recipe
from experiments.options.values import Option, options_of, summary

_INDENT = 29
_WIDTH = 100


def describe(action: argparse.Action, cls: type, option: Option | None, section: str) -> None:
    """Let an action know the field it stands for, its class and what is said of the section it belongs to."""
    action.section = section  # type: ignore[attr-defined]
    action.option = option  # type: ignore[attr-defined]
    action.cls = cls  # type: ignore[attr-defined]
    if option is not None:
        action.metavar = _placeholder(option.type)


def is_recipe(action: argparse.Action) -> bool:
    return getattr(action, "cls", None) is Recipe


def format_help(parser: argparse.ArgumentParser) -> str:
    """Usage, what the command does, and every option; a recipe as one row."""
    width = _width()
    positional = [action for action in parser._actions if not action.option_strings]
    usage = " ".join([f"usage: {parser.prog}", *(_usage(action) for action in positional), "[options]"])
    lines = [usage, "", *textwrap.wrap(parser.description or "", width), ""]
    heading, explained = None, False
    for action in sorted(parser._actions, key=lambda action: _section(action) is not None):
        section = _section(action)
        if section != heading and section is not None:
            heading = section
            about = action.section or summary(action.cls)  # type: ignore[attr-defined]
            about = about.rstrip(".")
            if is_recipe(action) and explained:
                about += f"; --{section}preset NAME and --{section}FIELD VALUE as above"
            lines.extend(["", *textwrap.wrap(f"{section.rstrip('.')}: {about}", width)])
            if is_recipe(action) and not explained:  # its first option is the preset
                lines.extend(_row(_left(action), str(action.help), width))
                names = f"{', '.join(options_of(Recipe))}; --help.recipe explains them"
                lines.extend(_row(f"--{section}FIELD VALUE", names, width))
                explained = True
        if not is_recipe(action) and action.dest != "help":
            lines.extend(_row(_left(action), _text(action), width))
    return "\n".join(lines) + "\n"


def format_recipe(parser: argparse.ArgumentParser) -> str:
    """The fields of a recipe with their meaning, for all recipes of the command."""
    width = _width()
    prefixes = [_section(action) for action in parser._actions if action.dest.endswith("preset") and is_recipe(action)]
    lines = textwrap.wrap(
        f"Fields of a recipe, each an option: {' or '.join(f'--{prefix}FIELD VALUE' for prefix in prefixes)}. With"
        " --...preset NAME they are those of a recipe of `sepnas list recipes`, unless they are given.",
        width,
    )
    lines.append("")
    for own in options_of(Recipe).values():
        lines.extend(_row(f"{own.name} {_placeholder(own.type)}", _option_text(own), width))
    return "\n".join(lines)


def _section(action: argparse.Action) -> str | None:
    """The dotted prefix of an option that belongs to a class in a section of its own; None for the others."""
    if getattr(action, "cls", None) is None or "." not in action.dest:
        return None
    return action.dest.rpartition(".")[0] + "."


def _usage(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return {"?": f"[{name}]", "+": f"{name} [{name} ...]"}.get(str(action.nargs), name)


def _left(action: argparse.Action) -> str:
    if not action.option_strings:
        return _usage(action).split()[0]
    kind = action.metavar or ("" if action.nargs == 0 else action.dest.rpartition(".")[2].upper())
    return f"{', '.join(action.option_strings)} {kind}".rstrip()


def _text(action: argparse.Action) -> str:
    option = getattr(action, "option", None)
    if option is not None:
        return _option_text(option, 2 * (_width() - _INDENT) - 8)
    text = (action.help or "") % {"default": action.default}
    if action.choices is not None and "," not in str(action.metavar):
        text += f" ({', '.join(map(str, action.choices))})"
    return text


def _option_text(option: Option, room: int | None = None) -> str:
    """What an option means, choices that this does not name, and its default unless that is null or empty.

    In so many characters as there is ``room`` for it is the first sentence, or its beginning.
    """
    text, notes = option.help.removesuffix("."), []
    if room is not None:
        text = re.split(r"\. ", text, maxsplit=1)[0]
    choices = [str(choice) for choice in get_args(option.type)] if get_origin(option.type) is Literal else []
    if not all(choice in text for choice in choices):
        notes.append(", ".join(choices))
    value = option.default
    if isinstance(value, bool):
        notes.append(f"default: {str(value).lower()}")
    elif value is not MISSING and value not in (None, {}, [], ()):
        notes.append(f"default: {','.join(map(str, value)) if isinstance(value, list | tuple) else value}")
    note = f" ({'; '.join(notes)})" if notes else ""
    if room is None:
        return text + note
    first, *others = text.split("; ")
    if len(text) > room // 2:  # of what does not fit into a line
        others = [part for part in others if part.startswith("see ")]
    return textwrap.shorten("; ".join([first, *others]), room - len(note), placeholder=" ...") + note


def _placeholder(kind: Any) -> str:
    """What stands for a value of a type."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    names = {int: "N", float: "X", bool: "BOOL", str: "TEXT", dict: "{...}", list: "A,B", tuple: "A,B", Literal: "WORD"}
    found = [names.get(get_origin(own) or own, "") for own in kinds]
    return next((name for name in found if name), "VALUE")


def _row(left: str, text: str, width: int) -> Iterable[str]:
    lines = textwrap.wrap(text, width - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    first = f"  {left}"
    if len(first) + 2 > _INDENT:
        yield first
    else:
        lines[0] = f"{first:{_INDENT}}{lines[0]}".rstrip()
        yield lines.pop(0)
    yield from (" " * _INDENT + line for line in lines)


def _width() -> int:
    return min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns) if sys.stdout.isatty() else _WIDTH
