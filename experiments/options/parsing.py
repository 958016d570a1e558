"""How every sub-command reads its options: argparse, over which dataclasses lay their fields as options."""

from __future__ import annotations

import argparse
import os
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NoReturn, get_args, get_origin

from evaluators.training.presets import RECIPES
from evaluators.training.recipes import Recipe
from experiments.options import help as pages
from experiments.options.values import convert, from_text, make, options_of, summary
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
        alone: whether it is refused in one of several processes that torchrun or SLURM started.
    """

    group: str
    summary: str
    add_options: Callable[[Parser], None]
    run: Callable[[Namespace], None]
    details: str = ""
    defaults: Callable[[Namespace], Mapping[str, Any]] | None = None
    alone: bool = False

    def parser(self, name: str) -> Parser:
        description = f"{self.summary[0].upper()}{self.summary[1:]}. {self.details}"
        parser = Parser(prog=f"sepnas {name}", description=description)
        self.add_options(parser)
        return parser

    def main(self, name: str, arguments: Sequence[str]) -> None:
        """Read the arguments and run the command; InvalidRequest for a wrong one."""
        _quiet()
        parser = self.parser(name)
        options, defaults = parser.read(arguments), {}
        if self.alone:
            from evaluators.training.processes import check_alone

            check_alone(name)
        if self.defaults is not None:
            defaults = dict(self.defaults(options))
            parser.set_defaults(**{key: value for key, value in defaults.items() if key not in parser.classes})
            options = parser.read(arguments)
        parser.make_classes(options, defaults)
        self.run(options)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `InvalidRequest` instead of exiting, and takes options from dataclasses."""

    def __init__(self, **options: Any) -> None:
        #: {heading: rows below it} of the help
        self._rows: dict[str, list[pages.Row]] = {"": []}
        self._arguments: list[str] = []  # those without a name, as the usage shows them
        self._known: list[str] = []
        super().__init__(allow_abbrev=False, add_help=False, **options)
        self.add_argument("-h", "--help", heading=None, action="help", help=argparse.SUPPRESS)
        #: {destination: (class, prefix of its options' names, the fields that are options; empty for all)}
        self.classes: dict[str, tuple[type, str, Collection[str]]] = {}
        #: options whose keys are options too, as "strategy.options"
        self._groups: set[str] = set()
        #: prefixes of the options of recipes
        self._recipes: list[str] = []

    def add_argument(self, *names: Any, heading: str | None = "", **settings: Any) -> argparse.Action:
        """As argparse's, with refusals in our words; its row in the help stands below ``heading``, or nowhere."""
        kind, choices = settings.get("type"), settings.get("choices")
        if choices is not None and not isinstance(choices, pages.Offered):
            settings["type"] = partial(_typed, lambda text: check_choice("", text, choices))
        elif kind in (int, float):
            settings["type"] = partial(_typed, lambda text: convert(from_text(text, kind), kind, ""))
        action = super().add_argument(*names, **settings)
        self._known += action.option_strings
        if not action.option_strings:
            self._rows[""].insert(len(self._arguments), pages.row_of(action))
            self._arguments.append(pages.positional(action))
        elif heading is not None:
            self._rows.setdefault(heading, []).append(pages.row_of(action))
        return action

    def add_class(self, cls: type, dest: str, prefix: str = "", only: Collection[str] = ()) -> None:
        """Make each field of the dataclass ``cls``, or ``only`` some, an option; ``options.DEST`` will be one of it."""
        self.classes[dest] = (cls, prefix, only)
        self._add_fields(cls, prefix, summary(cls), only)
        if self._recipes and "--help.recipe" not in self._known:
            self.add_argument("--help.recipe", action="store_true", help="explain the fields of a recipe, and exit")

    def _add_fields(self, cls: type, prefix: str, about: str, only: Collection[str] = ()) -> None:
        heading: str | None = f"{prefix.removesuffix('.')}: {about.removesuffix('.')}" if prefix else ""
        if cls is Recipe:
            text = "a recipe of `sepnas list recipes`; fields that are given win over it"
            if self._recipes:
                self._rows[f"{heading}; --{prefix}preset NAME and --{prefix}FIELD VALUE as above"] = []
            else:
                self._rows[str(heading)] = pages.recipe_rows(prefix, text)
            self._recipes.append(prefix)
            heading = None  # its options are read and completed, and not in the help
            presets = pages.Offered(RECIPES)
            self.add_argument(f"--{prefix}preset", heading=None, default=argparse.SUPPRESS, choices=presets, help=text)
        for option in options_of(cls).values():
            name = prefix + option.name
            if only and option.name not in only:
                continue
            if option.section is not None:
                self._add_fields(option.section, f"{name}.", option.help)
                continue
            text = pages.short_text(option).replace("%", "%%")
            kind = pages.placeholder(option.type)
            self.add_argument(f"--{name}", heading=heading, default=argparse.SUPPRESS, metavar=kind, help=text)
            if option.type is dict or get_origin(option.type) is dict:
                self._groups.add(name)

    def read(self, arguments: Sequence[str]) -> Namespace:
        """The options as given; those of classes are still texts."""
        for argument in arguments:
            require("\0" not in argument, "argument", argument, "holds a NUL", "leave it out")
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in self._known:
                self._add_key(name)
            if name == "--help.recipe":  # even if something that is required is missing
                print(pages.recipe_page(self._recipes))
                self.exit()
        return self.parse_args(list(arguments))

    def _add_key(self, name: str) -> None:
        """Make ``--strategy.options.trials``, a key of a group, an option; InvalidRequest for a name of no group."""
        if not any(name.startswith(f"--{group}.") for group in self._groups):
            near = nearest(name, (known for known in self._known if known.startswith("--"))).partition("; ")[2]
            raise refusal("option", name, "is unknown", "; ".join(filter(None, [near, self._hint()])))
        self.add_argument(name, heading=None, dest=name.removeprefix("--"), default=argparse.SUPPRESS)

    def make_classes(self, options: Namespace, defaults: Mapping[str, Any]) -> None:
        """Replace the texts of each class by an instance of it; what is not given is as in ``defaults``."""
        for dest, (cls, prefix, only) in self.classes.items():
            given = self._given(cls, prefix, options, defaults.get(dest), only)
            try:
                value = make(cls, given, prefix, defaults.get(dest))
            except InvalidRequest as error:
                raise InvalidRequest(f"{error}; {self._hint()}" if given else str(error)) from None
            setattr(options, dest, value)

    def _given(
        self, cls: type, prefix: str, options: Namespace, base: Any, only: Collection[str] = ()
    ) -> dict[str, Any]:
        """The texts for the class among the options, as nested values."""
        given: dict[str, Any] = {}
        for key, option in options_of(cls).items():
            name = prefix + key
            if only and key not in only:  # an option of that name may be the command's own
                continue
            if option.section is not None:
                if inner := self._given(option.section, f"{name}.", options, getattr(base, key, None)):
                    given[key] = inner
                continue
            if hasattr(options, name):
                given[key] = from_text(getattr(options, name), option.type)
            keys = {dest: text for dest, text in vars(options).items() if dest.startswith(f"{name}.")}
            if keys:
                before = given.get(key, getattr(base, key, {}))
                values = {dest.removeprefix(f"{name}."): from_text(text, Any) for dest, text in keys.items()}
                given[key] = {**(before if isinstance(before, Mapping) else {}), **values}
        if cls is Recipe and hasattr(options, f"{prefix}preset"):
            given["preset"] = getattr(options, f"{prefix}preset")
        return given

    def _hint(self) -> str:
        return f"`{self.prog} --help` lists the options"

    def error(self, message: str) -> NoReturn:
        """As argparse's, which would exit."""
        message = message.removeprefix("argument ").replace("the following arguments are required: ", "required: ")
        message = message.replace("expected one argument", "needs a value")
        message = re.sub(r": \[(\d+)\]: ", r"[\1]: ", message, count=1)  # an item of a list
        raise InvalidRequest(f"{message}; {self._hint()}")

    def format_help(self) -> str:
        """Usage, description, and the rows of all options."""
        usage = " ".join(["usage:", self.prog, *self._arguments, "[options]"])
        return pages.help_page([usage, self.description or ""], self._rows)


def _typed(read: Callable[[str], Any], text: str) -> Any:
    """``read(text)``; argparse says of which option it is that a value of a field without a name is refused."""
    try:
        return read(text)
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix(": ")) from None


def add_option(parser: Parser, cls: type, name: str) -> None:
    """One field of the dataclass ``cls`` as an option of its own."""
    option = options_of(cls)[name]
    kind, choices = option.type, get_args(option.type) if get_origin(option.type) is Literal else None
    parser.add_argument(
        f"--{name}",
        type=partial(_typed, lambda text: convert(from_text(text, kind), kind, "", option.bounds)),
        choices=None if choices is None else pages.Offered(choices),
        default=option.default,
        metavar=pages.placeholder(kind),
        help=pages.short_text(option).replace("%", "%%"),
    )


def _quiet() -> None:
    """Keep the chatter of the libraries out of the command's output."""
    warnings.filterwarnings("ignore", module=r"(nni|pytorch_lightning|lightning_fabric|torch)(\..*)?")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|not a nn\.Module).*")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # no line for each attempt to reach the hub: we report how that ended
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
