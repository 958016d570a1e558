"""What is searched, as plain values that are read without torch: macro-architecture, candidate operators, widths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

from search_space.base.checks import check_int, check_options, nearest, option, refusal, require, shown, unknown
from search_space.registry import SKIP

#: Presets of candidate operators with one line on each; `preset` gives their operators.
PRESETS = {
    "paper": "what the five papers propose at their kernel sizes, and skip; in ResNets as both layers of each block",
    "kernels": "plain depthwise convolutions of 3x3, 5x5 and 7x7",
    "full": "every operator, the papers' ablations included, and skip",
}
#: What the five papers propose, at the kernel sizes they use, beside the depthwise convolutions they start from.
_PAPER = (
    *("dw_k3", "dw_k5", "dw_k7"),
    *("xsep_k3", "xsep_k5", "xsep_k7"),  # XSepConv, sections 3.1 and 4.2
    *("bsconv_u_k3", "bsconv_s_k3"),  # BSConv, section 3.3
    "sep_k3",  # Xception, section 3
    *("c2sp", "c4sp"),  # even-sized kernels, section 3.2, in the depthwise slot
    *("mix_k357", "hybrid_k3"),  # hybrid hypothesis, section 3
    SKIP,
)
#: Multiples of the hand-designed expanded channels (the width multipliers of XSepConv, fig. 3).
DEFAULT_WIDTHS = (0.5, 0.75, 1.0, 1.25)
#: The largest multiplier of channels that is accepted.
MOST_WIDTH = 16


@dataclass(frozen=True)
class StageCandidates:
    """Candidates of one stage of the network; null keeps what the whole space has.

    Attributes:
        operators: a preset (paper, kernels, full) or a list of operators.
        widths: multiples of the hand-designed expanded channels.
        search_se: whether squeeze-and-excitation is a choice.
    """

    operators: str | list[str] | None = None
    widths: list[float] | None = option(None, above=0, most=MOST_WIDTH)
    search_se: bool | None = None


@dataclass(frozen=True)
class SpaceOptions:
    """What may be found.

    Raises InvalidRequest naming the field of what is impossible whatever the images are; names of operators and
    macro-architectures are checked by `SearchSpace.create`.

    Attributes:
        macro: the macro-architecture whose blocks are searched; see `sepnas list macros`. Or your own, as the path of a
            YAML file or inline.
        width: multiplier of all its channels.
        operators: candidate operators, as a preset (paper, kernels, full) or as names; see `sepnas list operators`.
        widths: expanded channels of blocks (of ResNets: inner ones), as multiples of the hand-designed ones.
        search_se: also search whether each inverted residual has squeeze-and-excitation.
        stages: other candidates for some stages, by number; `sepnas space` shows the stages.
    """

    macro: str | dict[str, Any] = "mobilenetv3-small"
    width: float = option(1.0, above=0, most=MOST_WIDTH)
    operators: str | list[str] = "paper"
    widths: list[float] = option(factory=lambda: list(DEFAULT_WIDTHS), above=0, most=MOST_WIDTH)
    search_se: bool = False
    stages: dict[int, StageCandidates] = option(factory=dict)

    def __post_init__(self) -> None:
        why = "must be a name, a path or a mapping of keys"
        require(isinstance(self.macro, str | dict), "space.macro", self.macro, why)
        require(self.operators is not None, "space.operators", None, "must be a preset or a list of names")
        _check_candidates("space", self)
        require(
            isinstance(self.stages, dict), "space.stages", self.stages, "must be a mapping of numbers to candidates"
        )
        for number, own in self.stages.items():
            check_int("space.stages", number, 0)
            where = f"space.stages[{shown(number)}]"
            require(isinstance(own, StageCandidates), where, own, "must be candidates (operators, widths, search_se)")
            _check_candidates(where, own)


def _check_candidates(place: str, given: SpaceOptions | StageCandidates) -> None:
    """InvalidRequest for values of a wrong type, and lists that are empty, repeat themselves or do not hold texts."""
    check_options(given, place)
    where, operators, widths = f"{place}.operators", given.operators, given.widths
    if operators is not None and not isinstance(operators, str):
        require(isinstance(operators, list | tuple), where, operators, "must be a preset or a list of names")
        require(all(isinstance(name, str) for name in operators), where, operators, "must hold names only")
        require(len(operators) > 0, where, operators, "is empty", "name at least one")
        require(len(set(operators)) == len(operators), where, operators, "names an operator twice", "leave one out")
    different = widths is None or 0 < len(set(widths)) == len(widths)
    require(different, f"{place}.widths", widths, "must be one or more different multipliers")


def is_macro_file(macro: str | dict[str, Any]) -> TypeGuard[str]:
    """Whether `SpaceOptions.macro` is the path of a file, not the name of a macro-architecture nor one written
    inline."""
    return isinstance(macro, str) and (macro.endswith((".yaml", ".yml")) or "/" in macro)


def preset(name: str, where: str = "space.operators") -> tuple[str, ...]:
    """The operators of a preset; InvalidRequest, beginning with ``where``, for an unknown name."""
    from search_space.ops import operators  # imports torch

    if name == "paper":
        return _PAPER
    if name == "kernels":
        return ("dw_k3", "dw_k5", "dw_k7")
    if name == "full":
        return (*operators, SKIP)
    raise refusal(where, name, "is not a preset; give a list of names or a preset", nearest(name, PRESETS))


def operator_names(given: str | Iterable[str], where: str = "space.operators") -> tuple[str, ...]:
    """The operators of a preset's name or of a list; InvalidRequest, beginning with ``where``, for an unknown one."""
    from search_space.ops import operators

    names = preset(given, where) if isinstance(given, str) else tuple(given)
    for name in names:
        if name != SKIP and name not in operators:
            # one name alone may be meant for a preset
            presets = PRESETS if len(names) == 1 else ()
            raise unknown(where, name, [*presets, *operators, SKIP], "sepnas list operators")
    return names
