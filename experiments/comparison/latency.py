"""The times of a comparison's networks, measured in turn so that other load on the machine hits all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from evaluators.latency.backends import Backend
from evaluators.latency.timing import network_part, time_in_rounds
from experiments.comparison.rows import Latencies
from experiments.runs.provenance import processor
from search_space.blueprint import AnyNetwork

_ROUNDS, _CALLS = 5, 20


def measure(networks: Sequence[AnyNetwork], backend: Backend) -> Latencies:
    """Milliseconds of a forward pass of one image through each network, with fresh weights."""
    parts = {str(network): network_part(network) for network in networks}
    timings = time_in_rounds(list(parts.values()), backend, repeats=_CALLS, rounds=_ROUNDS)
    return Latencies(
        {text: median(timings[part.key]) for text, part in parts.items()},
        f"median of {_ROUNDS} rounds of {_CALLS} passes of one image, {backend.name} ({backend.version}),"
        f" {backend.threads} thread{'s' if backend.threads > 1 else ''}, {processor()}",
    )
