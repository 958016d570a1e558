"""How every sub-command reads its options: argparse, over which dataclasses lay their fields as options."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, get_args, get_origin

from evaluators.training.presets import RECIPES
from evaluators.training.recipes import Recipe
from evaluators.training.run import Accelerator
from experiments.options import help as help_text
from experiments.options.values import convert, from_text, make, options_of
from search_space.base.checks import check_choice, nearest, refusal, require
from search_space.base.errors import InvalidRequest

Namespace = argparse.Namespace


@dataclass(frozen=True)
class Command:
    """A sub-command of ``sepnas``.

    Attributes:
        group: the heading under which the overview names it.
        summary: one line on it, in the overview and in its own help.
        add_options: adds its options to a parser.
        run: does the work with the options.
        details: what else its own help says of it.
        defaults: what options are unless they are given, when that depends on other options (the run named, say): a
            value for each of `Parser.add_class` and for plain options. Values are checked when they are known.
    """

    group: str
    summary: str
    add_options: Callable[[Parser], None]
    run: Callable[[Namespace], None]
    details: str = ""
    defaults: Callable[[Namespace], Mapping[str, Any]] | None = None

    def parser(self, name: str) -> Parser:
        parser = Parser(
            prog=f"sepnas {name}", description=f"{self.summary[0].upper()}{self.summary[1:]}. {self.details}"
        )
        self.add_options(parser)
        return parser

    def main(self, name: str, arguments: Sequence[str]) -> None:
        """Read the arguments and run the command; InvalidRequest for a wrong one."""
        parser = self.parser(name)
        options, defaults = parser.read(arguments), {}
        if self.defaults is not None:
            defaults = dict(self.defaults(options))
            parser.set_defaults(**{key: value for key, value in defaults.items() if key not in parser.classes})
            options = parser.read(arguments)
        parser.make_classes(options, defaults)
        self.run(options)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `InvalidRequest` instead of exiting, and takes options from dataclasses."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        #: {destination: (class, prefix of its options' names)}
        self.classes: dict[str, tuple[type, str]] = {}
        #: option of a group of keys, as "--strategy.options" -> where its keys are kept
        self._groups: dict[str, str] = {}

    def add_class(self, cls: type, dest: str, prefix: str = "") -> None:
        """Make each field of the dataclass ``cls`` an option; ``options.DEST`` will be an instance of it."""
        self.classes[dest] = (cls, prefix)
        self._add_fields(cls, prefix)
        if "--help.recipe" not in self._option_string_actions and any(help_text.is_recipe(a) for a in self._actions):
            self.add_argument("--help.recipe", action=_RecipeHelp, help="explain the fields of a recipe, and exit")

    def _add_fields(self, cls: type, prefix: str, section: str = "") -> None:
        if cls is Recipe:
            text = "a recipe of `sepnas list recipes`; fields that are given win over it"
            preset = self.add_argument(
                f"--{prefix}preset", default=argparse.SUPPRESS, choices=list(RECIPES), metavar="NAME", help=text
            )
            help_text.describe(preset, cls, None, section)
        for own in options_of(cls).values():
            name = prefix + own.name
            if own.section is not None:
                self._add_fields(own.section, f"{name}.", own.help)
                continue
            action = self.add_argument(f"--{name}", default=argparse.SUPPRESS, help=own.help.replace("%", "%%"))
            help_text.describe(action, cls, own, section)
            if own.type is dict or get_origin(own.type) is dict:
                self._groups[f"--{name}"] = name

    def read(self, arguments: Sequence[str]) -> Namespace:
        """The options as given; those of classes are still texts."""
        for argument in arguments:
            require("\0" not in argument, "argument", argument, "holds a NUL", "leave it out")
        keys: dict[str, dict[str, Any]] = {}
        options = self.parse_args(list(self._without_keys(arguments, keys)))
        options.keys = keys
        return options

    def _without_keys(self, arguments: Sequence[str], keys: dict[str, dict[str, Any]]) -> Iterator[str]:
        """The arguments but ``--strategy.options.trials 5``, which goes to ``keys``; refuses unknown options."""
        waiting = iter(arguments)
        for argument in waiting:
            name, equals, text = argument.partition("=")
            if not name.startswith("--") or name in self._option_string_actions:
                yield argument
                continue
            group = next((group for group in self._groups if name.startswith(f"{group}.")), None)
            if group is None:
                near = nearest(name, (n for n in self._option_string_actions if n.startswith("--"))).partition("; ")[2]
                raise refusal("option", name, "is unknown", "; ".join(filter(None, [near, self._hint()])))
            if not equals:
                text = next(waiting, "--")
                if text.startswith("--"):
                    raise InvalidRequest(f"{name}: needs a value; {self._hint()}")
            keys.setdefault(self._groups[group], {})[name.removeprefix(f"{group}.")] = from_text(text, Any)

    def make_classes(self, options: Namespace, defaults: Mapping[str, Any]) -> None:
        """Replace the texts of each class by an instance of it; what is not given is as in ``defaults``."""
        for dest, (cls, prefix) in self.classes.items():
            given = self._given(cls, prefix, options, defaults.get(dest))
            try:
                value = make(cls, given, prefix, defaults.get(dest))
            except InvalidRequest as error:
                raise InvalidRequest(f"{error}; {self._hint()}" if given else str(error)) from None
            setattr(options, dest, value)

    def _given(self, cls: type, prefix: str, options: Namespace, base: Any) -> dict[str, Any]:
        """The texts for the class among the options, as nested values."""
        given: dict[str, Any] = {}
        for own in options_of(cls).values():
            name = prefix + own.name
            if own.section is not None:
                inner = self._given(own.section, f"{name}.", options, getattr(base, own.name, None))
                if inner:
                    given[own.name] = inner
                continue
            if hasattr(options, name):
                given[own.name] = from_text(getattr(options, name), own.type)
            if name in options.keys:
                before = given.get(own.name, getattr(base, own.name, {}))
                given[own.name] = {**(before if isinstance(before, Mapping) else {}), **options.keys[name]}
        if cls is Recipe and hasattr(options, f"{prefix}preset"):
            given["preset"] = getattr(options, f"{prefix}preset")
        return given

    def _hint(self) -> str:
        return f"`{self.prog} --help` tells the options"

    # --- what argparse does by exiting or in a programmer's words ---

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ").replace("the following arguments are required: ", "required: ")
        raise InvalidRequest(f"{message}; {self._hint()}")

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        if isinstance(action.type, type) and action.type in (int, float):
            return convert(from_text(text, action.type), action.type, _name(action))
        return super()._get_value(action, text)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and not help_text.is_recipe(action):  # a preset is checked by its recipe
            check_choice(_name(action), value, action.choices)

    def format_help(self) -> str:
        return help_text.format_help(self)


class _RecipeHelp(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(help_text.format_recipe(parser))
        parser.exit()


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else action.dest


def add_accelerator(parser: Parser) -> None:
    """The option that says what trains, for the sub-commands that train."""
    parser.add_argument(
        "--accelerator",
        choices=get_args(Accelerator),
        default="auto",
        metavar="WORD",
        help="auto takes the GPU where there is one",
    )


def quiet() -> None:
    """Keep the chatter of the libraries out of the command's output."""
    warnings.filterwarnings("ignore", module=r"(nni|pytorch_lightning|lightning_fabric|torch)(\..*)?")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|not a nn\.Module).*")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # it would tell of every attempt to reach the hub; how that ended is ours to say
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
