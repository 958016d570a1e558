"""What TensorBoard's event files hold already."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

# A record: its length (8 bytes, little-endian), a checksum of that (4), the bytes, and a checksum of these (4).
_HEAD, _TAIL = 12, 4


def last_steps(folder: Path) -> dict[str, int]:
    """The last step of every scalar in the event files of ``folder``; nothing if there is none.

    A record that a killed process left unfinished is none.
    """
    from tensorboardX.proto.event_pb2 import Event

    steps: dict[str, int] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in records(path.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                steps[value.tag] = max(event.step, steps.get(value.tag, -1))
    return steps


def records(content: bytes) -> Iterator[bytes]:
    start = 0
    while start + _HEAD <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        end = start + _HEAD + length
        if end + _TAIL > len(content):
            return
        yield content[start + _HEAD : end]
        start = end + _TAIL
