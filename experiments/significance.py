"""When a difference counts as one, and how its p is written."""

from __future__ import annotations

#: below this a difference is taken to be no accident
SIGNIFICANT = 0.05
#: a smaller p is not written out
_LEAST_SHOWN = 0.001


def shown_p(p: float) -> str:
    """A probability as tables show it: ``0.041``, or ``< 0.001``."""
    return f"< {_LEAST_SHOWN}" if p < _LEAST_SHOWN else f"{p:.3f}"


def named_p(p: float) -> str:
    """A probability as sentences give it: ``p = 0.041``, or ``p < 0.001``."""
    return f"p {'' if p < _LEAST_SHOWN else '= '}{shown_p(p)}"
