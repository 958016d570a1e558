"""What is searched unless something else is asked for. Imports no torch, so that configs can be read without it."""

from __future__ import annotations

from dataclasses import dataclass

#: Presets of candidate operators with one line on each; `search_space.presets` holds their operators.
PRESETS = {
    "paper": "what the five papers propose at their kernel sizes, and skip",
    "kernels": "plain depthwise convolutions of 3x3, 5x5 and 7x7",
    "full": "every operator, the papers' ablations included, and skip",
}
DEFAULT_OPERATORS = "paper"
#: Multiples of the hand-designed expanded channels (the width multipliers of XSepConv, fig. 3).
DEFAULT_WIDTHS = (0.5, 0.75, 1.0, 1.25)


@dataclass(frozen=True)
class StageCandidates:
    """Candidates of one stage of the network; null keeps what the whole space has.

    Attributes:
        operators: a preset (paper, kernels, full) or a list of operators.
        widths: multiples of the hand-designed expanded channels.
        search_se: whether squeeze-and-excitation is a choice.
    """

    operators: str | list[str] | None = None
    widths: list[float] | None = None
    search_se: bool | None = None
