"""The one exception a user of the library or the command has to know."""

from __future__ import annotations


class InvalidRequest(ValueError):
    """A request that cannot be met: names the field, the value, why, and the remedy, in one line.

    The command line prints the text of it and exits with code 2; nothing has been changed on disk by then.
    """
