"""What a call is refused with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search_space.base.errors import InvalidRequest


def refused(call: Callable[[], Any]) -> str:
    """The text of the InvalidRequest that ``call`` raises: one short line."""
    with pytest.raises(InvalidRequest) as caught:
        call()
    text = str(caught.value)
    assert len(text) <= 300, text
    assert text.isprintable(), text
    return text
