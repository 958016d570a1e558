"""One seed in the config, one independent stream for each purpose."""

from __future__ import annotations

import zlib

import numpy as np


def stream_seed(seed: int, purpose: str) -> int:
    """A 31-bit seed for ``purpose``; streams of different purposes or seeds are independent."""
    key = zlib.crc32(purpose.encode())  # the same on every machine, unlike hash()
    return int(np.random.SeedSequence([seed, key]).generate_state(1)[0] >> 1)
