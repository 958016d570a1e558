"""The one exception a user of the library or the command has to know."""

from __future__ import annotations

from search_space.base.text import plain

#: characters of a message, whatever it quotes
LONGEST = 290


class InvalidRequest(ValueError):
    """A request that cannot be met: field, value, why, and the remedy, in one line; nothing has been changed on disk by
    then. The command line prints it and exits with code 2.

    A message without control characters, and with its middle cut out if something that it quotes is long.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message, LONGEST))
