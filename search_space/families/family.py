"""A family of networks: which names it knows, and which layers make the network of a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from search_space.base.checks import check_number, nearest, refusal
from search_space.base.sizes import check_size
from search_space.layered.layer import Layer
from search_space.layered_network import LayeredNetwork
from search_space.macro_definition import LOW_RESOLUTION_BELOW, SMALLEST_IMAGE, divisible
from search_space.options import MOST_WIDTH

#: In the pattern of a family: the operator in place of its dense k x k convolutions, with its dash.
OPERATOR = r"(?:-(?P<operator>bsconv-u|bsconv-s(?:-p[1-9]\d{0,2})?(?:-min[1-9]\d{0,2})?|sep|c2|c2sp|c4|c4sp))?"
#: What `OPERATOR` admits, as usages and refusals say it.
OPERATORS = "bsconv-u, bsconv-s[-pP][-minM], sep, c2, c2sp, c4 or c4sp"
#: The operators that lists of names give with a network (the others of a family work as well).
LISTED = ("", "-bsconv-u", "-bsconv-s", "-c2", "-c2sp", "-c4sp")


@dataclass(frozen=True)
class Request:
    """One network of a family: the parts of its name by the groups of the pattern, its input and its width."""

    name: str
    parts: Mapping[str, str | None]
    image_size: int
    width: float

    @property
    def low_resolution(self) -> bool:
        """Whether the input is so small that the first two down-samplings keep the size, as those of macros do."""
        return self.image_size < LOW_RESOLUTION_BELOW

    def number(self, part: str) -> int:
        """The number that ``part`` of the name is."""
        return int(self.parts[part] or 0)

    def channels(self, channels: int) -> int:
        """``channels`` under the width multiplier: to multiples of 4, as small networks and C2sp's groups need them."""
        return channels if self.width == 1 else divisible(channels * self.width, 4)

    def form(self, kernel: int = 3) -> str:
        """The form of a k x k convolution (`search_space.layered.forms`) by the operator that the name asks for.

        ``bsconv-s`` has a subspace of 1/P of the channels, a quarter unless the name says another P (BSConv section
        5.1 takes 1/4 for ResNets), and at least M of them.
        """
        operator = self.parts.get("operator")
        if operator is None:
            return f"k{kernel}"
        if operator.startswith("c"):
            return operator
        if operator.startswith("bsconv-s"):
            share, least = re.search(r"-p(\d+)", operator), re.search(r"-min(\d+)", operator)
            at_least = f"_min{least[1]}" if least else ""
            return f"bsconv_s_p{share[1] if share else 4}{at_least}_k{kernel}"
        return f"{operator.replace('-', '_')}_k{kernel}"

    def first_form(self) -> str:
        """The form of the network's first convolution: dense but for BSConv, whose authors' package replaces it too.

        Parameters and operations of the even-kernel paper (table 1) say that it stays dense there.
        """
        operator = self.parts.get("operator") or ""
        return self.form() if operator.startswith("bsconv") else "k3"


@dataclass(frozen=True)
class Design:
    """What a network of a family is made of: see `LayeredNetwork`."""

    body: tuple[Layer, ...]
    pool: int = 1
    hidden: tuple[int, ...] = ()
    activation: str = "relu"


@dataclass(frozen=True)
class Family:
    """Networks whose names have one pattern.

    Attributes:
        usage: how a name is written, for people.
        summary: one line on the family: paper, section, what the paper leaves open.
        pattern: of the names; `OPERATOR` may be part of it.
        names: those that the papers report on: what lists show.
        design: makes the layers; InvalidRequest for a name that the pattern admits and the family does not have.
    """

    usage: str
    summary: str
    pattern: str
    names: tuple[str, ...]
    design: Callable[[Request], Design]


#: All families, filled by `register`.
FAMILIES: list[Family] = []


def register(family: Family) -> Family:
    """Add ``family``; ValueError if it does not know a name of its own, or another family does."""
    for name in family.names:
        known = [each for each in (*FAMILIES, family) if re.fullmatch(each.pattern, name)]
        if known != [family]:
            raise ValueError(f"family {family.usage}: {name} is known to {[each.usage for each in known]}")
    FAMILIES.append(family)
    return family


def families() -> dict[str, str]:
    """How the names of each family are written, with one line on it."""
    return {family.usage: family.summary for family in FAMILIES}


def family_names() -> Iterator[str]:
    """The names that the papers report on."""
    return (name for family in FAMILIES for name in family.names)


def is_family_name(name: str) -> bool:
    """Whether ``name`` is written as a name of a family (it may still ask for an impossible depth)."""
    return any(re.fullmatch(family.pattern, name) for family in FAMILIES)


def family_network(name: str, *, image_size: int, in_channels: int, classes: int, width: float = 1.0) -> LayeredNetwork:
    """The network ``name`` for square images, its channels times ``width`` (to multiples of 4).

    InvalidRequest for a name of no family and for impossible sizes.
    """
    check_number("width", width, above=0, most=MOST_WIDTH)
    check_size("image_size", image_size, SMALLEST_IMAGE)
    for family in FAMILIES:
        if match := re.fullmatch(family.pattern, name):
            own = family.design(Request(name, match.groupdict(), image_size, width))
            return LayeredNetwork(
                name, image_size, in_channels, classes, own.body, own.pool, own.hidden, own.activation
            )
    raise refusal("baseline", name, "is not a network of a known family", nearest(name, family_names()))
