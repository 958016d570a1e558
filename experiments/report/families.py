"""Families of operators: what people call them, their colours, and how an operator's name reads."""

from __future__ import annotations

import re
import zlib

from experiments.figures import colour_of
from search_space.architecture import SKIP
from search_space.ops import operators

#: {module of the operators: (what the family is called, what one of it is called, hue in turns)}
_FAMILIES = {
    "depthwise": ("Depthwise", "Depthwise", 0.585),
    "xsep": ("XSepConv", "XSepConv", 0.055),
    "separable": ("Separable", "Separable", 0.445),
    "bsconv": ("BSConv", "BSConv", 0.78),
    "even": ("Even-sized kernels", "Even-sized", 0.13),
    "mixed": ("Mixed kernels", "Mixed", 0.31),
    "grouped": ("Grouped", "Grouped", 0.93),
    "inception": ("Inception", "Inception", 0.68),
    "resnext": ("ResNeXt", "ResNeXt", 0.99),
    "residual": ("Residual blocks", "Residual", 0.22),
}
#: of stem, head and skip
NEUTRAL = "var(--muted)"


def family(operator: str) -> str:
    """The family of an operator of an architecture, "skip" among them; of an unknown one its name up to the first _."""
    if operator == SKIP:
        return SKIP
    if operator not in operators:
        return operator.partition("_")[0]
    return type(operators[operator]).__module__.rpartition(".")[2]


def family_name(name: str) -> str:
    """What people call a family."""
    return _FAMILIES[name][0] if name in _FAMILIES else name.capitalize()


def family_colour(name: str) -> str:
    """A colour for CSS, light or dark alike; the same on every page."""
    if name == SKIP:
        return NEUTRAL
    # a family of the user's own gets a hue from its name
    hue = _FAMILIES[name][2] if name in _FAMILIES else zlib.crc32(name.encode()) % 1000 / 1000
    return colour_of(hue, 0.55, 0.2)


def readable(operator: str) -> str:
    """``xsep_no2x2_k5`` as ``XSepConv no2x2 5×5``."""
    if operator == SKIP:
        return "skip"
    own = family(operator)
    one = _FAMILIES[own][1] if own in _FAMILIES else family_name(own)
    words, kernel = [], ""
    for part in operator.split("_")[1:]:
        if found := re.fullmatch(r"k(\d)", part):
            kernel = f"{found[1]}×{found[1]}"
        elif found := re.fullmatch(r"k(\d{2,})", part):
            kernel = "/".join(found[1])
        else:
            words.append(part)
    if found := re.match(r"c(\d)(sp)?", operator):
        kernel, words = f"{found[1]}×{found[1]}", [*(["symmetric"] if found[2] else []), *words]
    if own == "separable" and operator.startswith("hybrid"):
        words.insert(0, "hybrid")
    if own == "residual" and operator.startswith("pre"):
        words.insert(0, "pre-activated")
    return " ".join([one, *words, kernel]).strip()
