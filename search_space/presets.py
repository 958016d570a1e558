"""Named sets of candidate operators."""

from __future__ import annotations

from collections.abc import Iterable

from search_space.architecture import SKIP
from search_space.base.errors import InvalidRequest
from search_space.defaults import PRESETS
from search_space.ops import operators

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


def preset(name: str) -> tuple[str, ...]:
    """The operators of a preset; InvalidRequest for an unknown name."""
    if name == "paper":
        return _PAPER
    if name == "kernels":
        return ("dw_k3", "dw_k5", "dw_k7")
    if name == "full":
        return (*operators, SKIP)
    raise InvalidRequest(
        f"operators: {name!r} is no preset ({', '.join(PRESETS)}); give one of them or a list of names"
    )


def operator_names(given: str | Iterable[str]) -> tuple[str, ...]:
    """The operators of a preset's name or of a list; InvalidRequest for unknown or repeated ones, or none at all."""
    names = preset(given) if isinstance(given, str) else tuple(given)
    if not names:
        raise InvalidRequest("operators: empty; name at least one")
    if len(set(names)) != len(names):
        raise InvalidRequest(f"operators: a name stands twice in {', '.join(names)}")
    for name in names:
        if name != SKIP and name not in operators:
            raise InvalidRequest(
                f"operators: {name!r} is unknown; known are {', '.join(operators)}, {SKIP},"
                f" and the presets {', '.join(PRESETS)}"
            )
    return names
