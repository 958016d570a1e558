"""Texts of users and of other libraries as messages repeat them."""

from __future__ import annotations

#: characters of a text, a path say, that a refusal repeats
_PLAIN = 200


def plain(text: object, most: int = _PLAIN) -> str:
    """A text (a path, another error's message) on one line without control characters, its middle cut out if it has
    more than ``most`` characters."""
    line = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return line if len(line) <= most else f"{line[: most - most // 3 - 3]}...{line[-(most // 3) :]}"


def printable(text: str) -> str:
    """``text`` with its control characters escaped, as names of files and classes are printed."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
