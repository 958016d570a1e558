"""A config as YAML in which every option stands, each below what it means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from evaluators.training.presets import RECIPES
from evaluators.training.recipes import Recipe
from experiments.options.config import AUTO, SearchConfig, StrategyConfig
from experiments.options.values import Option, options_of, summary
from strategies.registry import STRATEGIES

_WIDTH = 100


def commented_yaml(config: SearchConfig) -> str:
    """``config`` as YAML with comments; reading it gives an equal config."""
    head = [*_comment(summary(SearchConfig), ""), *_comment("Options that are left out are as in this file.", "")]
    return "\n".join([*head, *_section(SearchConfig, config.as_dict(), "")]) + "\n"


def _section(cls: type, values: Mapping[str, Any], indent: str) -> Iterator[str]:
    if cls is Recipe:
        yield from _comment(f"preset: NAME takes the fields of a whole recipe: {', '.join(RECIPES)}.", indent)
    for own in options_of(cls).values():
        if not indent:
            yield ""
        yield from _comment(own.help, indent)
        value = values[own.name]
        if own.section is not None:
            yield f"{indent}{own.name}:"
            yield from _section(own.section, value, f"{indent}  ")
        elif cls is StrategyConfig and own.name == "options":
            yield from _strategy_options(own, values["name"], value, indent)
        else:
            yield f"{indent}{own.name}: {_flow(value)}"


def _strategy_options(own: Option, name: str, given: Mapping[str, Any], indent: str) -> Iterator[str]:
    """The options that are given, and as comments the others with their defaults."""
    yield f"{indent}{own.name}:" if given else f"{indent}{own.name}: {{}}"
    inner = f"{indent}  "
    for option in options_of(STRATEGIES[name].options).values() if name != AUTO else ():
        yield from _comment(option.help, inner)
        if option.name in given:
            yield f"{inner}{option.name}: {_flow(given[option.name])}"
        else:
            yield f"{inner}# {option.name}: {_flow(option.default)}"


def _comment(text: str, indent: str) -> list[str]:
    head = f"{indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=head, break_on_hyphens=False)


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
