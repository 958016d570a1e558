"""The one exception a user of the library or the command has to know."""

from __future__ import annotations


class InvalidRequest(ValueError):
    """A request that cannot be met: field, value, why, and the remedy, in one line; nothing has been changed on disk by
    then. The command line prints it and exits with code 2."""
