"""How a training fails. Imports nothing, so that any process can name it."""

from __future__ import annotations


class TrainingDiverged(RuntimeError):
    """The loss or a weight is no longer finite."""
