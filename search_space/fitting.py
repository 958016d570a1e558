"""Hand-designed networks shrunk or grown until they just fit a budget: the fair opponents of a search's winner."""

from __future__ import annotations

import math
from collections.abc import Callable

from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import baseline
from search_space.layer_cost import Cost
from search_space.network_cost import cost

#: widths are searched up to the largest that a macro-architecture takes
_WIDEST = 16.0
#: ``NAME@fit`` asks for a baseline in its widest form inside a budget
FIT_SUFFIX = "@fit"


def fit_baseline(
    name: str, inside: Callable[[Cost], bool], *, image_size: int = 32, in_channels: int = 3, classes: int = 10
) -> tuple[Architecture, float]:
    """The widest form of the baseline ``name`` whose cost is inside a budget, and its width multiplier.

    Channels are rounded to multiples of 8, so the network changes at finitely many widths only, and no layer shrinks as
    the width grows: bisection down to neighbouring floats finds the widest exactly. Width 1 is tried as well: only
    there are channels left unrounded. ``inside`` must hold for every cost below one for which it holds. InvalidRequest
    if the name is unknown or no width is inside.
    """

    def network(width: float) -> Architecture:
        return baseline(name, image_size=image_size, in_channels=in_channels, classes=classes, width=width)

    def fits(width: float) -> bool:
        return inside(cost(network(width)))

    narrow, wide = _WIDEST / 2**40, _WIDEST
    if fits(wide):
        return network(wide), wide
    if not fits(narrow):
        smallest = cost(network(narrow))
        raise InvalidRequest(
            f"baseline: {name}{FIT_SUFFIX} has no width inside the budget (its narrowest form costs"
            f" {smallest.macs:,} MACs, {smallest.params:,} params); loosen the budget or leave it out"
        )
    while (middle := (narrow + wide) / 2) not in (narrow, wide):
        narrow, wide = (middle, wide) if fits(middle) else (narrow, middle)
    best = network(narrow)
    if fits(1.0) and cost(network(1.0)).macs > cost(best).macs:
        return network(1.0), 1.0
    # rounded down, the width of fewest digits that gives the same network
    for digits in range(2, 17):
        short = math.floor(narrow * 10**digits) / 10**digits
        if short > 0 and network(short) == best:
            return best, short
    return best, narrow
