"""The compact text form of an architecture, strict in both directions.

    mobilenetv3-small 3x32x32 10 | stem c16 s1 hardswish | dw_k3 e16 c16 s1 relu se8 res | skip c24 | sep_k3 c40 s2 relu
        | head c576 f1024 hardswish

Parts are separated by " | ": the macro with the input and the classes, the stem, the blocks, the head, and
"orthonormal" where it applies. A block ends with "out-<activation>" where its projection has one. Input channels of a
block follow from the part in front of it. `parse` accepts exactly what `to_text` writes (white space apart); anything
else is an error that says what and where.
"""

from __future__ import annotations

import re

from search_space.architecture import BARE, NORM_FIRST, OUT, SKIP, Architecture, Block, Head, Stem
from search_space.base.checks import nearest, shown
from search_space.base.errors import InvalidRequest
from search_space.layers import ACTIVATIONS


def to_text(architecture: Architecture) -> str:
    """``str(architecture)``: one line, and ``parse(to_text(a)) == a``."""
    return str(architecture)


#: digits behind the first one that a number may have: more than `LARGEST` has
_DIGITS = 8


class _Tokens:
    """The tokens of one part; complains with the part's place in the text."""

    def __init__(self, where: str, text: str) -> None:
        self.where = where
        self.left = text.split()

    def error(self, message: str) -> InvalidRequest:
        return InvalidRequest(f"architecture text, {self.where}: {message}")

    def take(self, expected: str) -> str:
        if not self.left:
            raise self.error(f"ends where {expected} is expected")
        return self.left.pop(0)

    def number(self, prefix: str, meaning: str) -> int:
        token = self.take(f"{prefix}<{meaning}>")
        match = re.fullmatch(rf"{prefix}(0|[1-9][0-9]{{0,{_DIGITS}}})", token)
        if match is None:
            raise self.error(f"{shown(token)} is not {prefix}<{meaning}>")
        return int(match[1])

    def optional_number(self, prefix: str) -> int:
        """The number behind ``prefix`` if the next token is one (0 is written by leaving the token out)."""
        if self.left and re.fullmatch(rf"{prefix}[1-9][0-9]{{0,{_DIGITS}}}", self.left[0]):
            return int(self.left.pop(0)[len(prefix) :])
        return 0

    def flag(self, word: str) -> bool:
        if self.left and self.left[0] == word:
            self.left.pop(0)
            return True
        return False

    def activation(self) -> str:
        token = self.take("an activation")
        if token not in ACTIVATIONS:
            raise self.error(f"{shown(token)} is not an activation; {nearest(token, ACTIVATIONS)}")
        return token

    def optional_activation(self, prefix: str) -> str:
        """The activation behind ``prefix`` if the next token is one ("none" is written by leaving the token out)."""
        if not self.left or not self.left[0].startswith(prefix):
            return "none"
        token = self.left.pop(0)
        known = [name for name in ACTIVATIONS if name != "none"]
        if token.removeprefix(prefix) not in known:
            raise self.error(
                f"{shown(token)} is not {prefix}<activation>; {nearest(token.removeprefix(prefix), known)}"
            )
        return token.removeprefix(prefix)

    def end(self) -> None:
        if self.left:
            raise self.error(f"{shown(self.left[0])} is unknown or out of place")


def parse(text: str) -> Architecture:
    """The architecture written in ``text``; InvalidRequest says which part and token is wrong."""
    parts = text.split("|")
    if len(parts) < 4:
        raise InvalidRequest(
            f"architecture text: {len(parts)} part(s) between '|', but input, stem, a block and head need at least 4"
        )
    orthonormal = parts[-1].split() == ["orthonormal"]
    if orthonormal:
        parts.pop()

    first = _Tokens("part 1 (input)", parts[0])
    macro = first.take("the macro's name")
    shape = first.take("<channels>x<size>x<size>")
    match = re.fullmatch("x".join([rf"([1-9][0-9]{{0,{_DIGITS}}})"] * 3), shape)
    if match is None or match[2] != match[3]:
        raise first.error(f"{shown(shape)} is not <channels>x<size>x<size> with a square size")
    classes = first.number("", "classes")
    first.end()

    stem_tokens = _Tokens("part 2 (stem)", parts[1])
    if stem_tokens.take("stem") != "stem":
        raise stem_tokens.error("does not begin with 'stem'")
    stem = Stem(
        stem_tokens.number("c", "channels"),
        stem_tokens.number("s", "stride"),
        stem_tokens.activation(),
        stem_tokens.flag(BARE),
    )
    stem_tokens.end()

    # before the blocks, or a last part that is not a head would be taken for one of them
    head_tokens = _Tokens(f"part {len(parts)} (head)", parts[-1])
    if head_tokens.take("head") != "head":
        raise head_tokens.error("does not begin with 'head'")
    head = Head(
        channels=head_tokens.optional_number("c"),
        features=head_tokens.optional_number("f"),
        features_bias=head_tokens.flag("fbias"),
        norm_first=head_tokens.flag(NORM_FIRST),
        activation=head_tokens.activation(),
    )
    head_tokens.end()

    blocks = []
    channels = stem.channels
    for index, part in enumerate(parts[2:-1]):
        block = parse_block(part, channels, f"part {index + 3} (block {index})")
        channels = block.out_channels
        blocks.append(block)

    return Architecture(macro, int(match[2]), int(match[1]), classes, stem, tuple(blocks), head, orthonormal)


def parse_block(text: str, in_channels: int, where: str = "block") -> Block:
    """The block written in ``text``, behind ``in_channels`` channels; InvalidRequest names ``where``."""
    tokens = _Tokens(where, text)
    operator = tokens.take("an operator")
    if operator == SKIP:
        out_channels = tokens.number("c", "channels")
        activation = tokens.activation() if tokens.left else "relu"
        tokens.end()
        return Block(SKIP, in_channels, out_channels, activation=activation)
    block = Block(
        operator=operator,
        in_channels=in_channels,
        expanded_channels=tokens.optional_number("e"),
        out_channels=tokens.number("c", "channels"),
        stride=tokens.number("s", "stride"),
        activation=tokens.activation(),
        se_channels=tokens.optional_number("se"),
        se_bias=tokens.flag("sebias"),
        residual=tokens.flag("res"),
        project_activation=tokens.optional_activation(OUT),
    )
    tokens.end()
    return block
