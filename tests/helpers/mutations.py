"""Texts and JSON values that are nearly right, and some that are far from it."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from hypothesis import strategies as st

#: what breaks readers: long, deep, endless, with control characters, of another type
TOKENS = [
    *("9" * 5000, "x" * 5000, "p/" * 600, "\x1b[31m\x1b]0;title\x07", "\x00", "\r\n", "\u202e", "\u2028"),
    *("[" * 200, "{" * 200, "(" * 200, "[" * 3000, "-1", "1e999", "nan", "NaN", "Infinity", "0x10", "1_000", "²", "١٢"),
    *("null", "~", "true", "''", '"', "'", "\\", "&a [*a]", "*a", "<<: *a", "!!python/object/apply:os._exit [9]"),
    *(":", ",", "|", " | ", "=", "%s%n", "../../etc/passwd", "2020-13-45", "1:2:3", "200k", "1.5M", " ", "\t", ""),
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**64, math.nan, math.inf, -0.0, 1e-320]),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(TOKENS),
    st.sampled_from([[], {}, [[]], {"": ""}, [None] * 1000, {"a": {"b": {"c": []}}}]),
)


@st.composite
def texts(draw: st.DrawFn, *valid: str) -> str:
    """One of ``valid`` after some edits: parts of it cut out, doubled or exchanged for something else."""
    text = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        part = draw(st.one_of(st.sampled_from(TOKENS), st.text(max_size=6), st.just(""), st.just(2 * text[start:end])))
        text = text[:start] + part + text[end:]
    return text


@st.composite
def values(draw: st.DrawFn, *valid: Any) -> Any:
    """One of ``valid`` (JSON values) after some edits: what is in it exchanged, taken out or joined by more."""
    value = copy.deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        place = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            what = draw(st.integers(0, 3))
            if what == 0:
                del place[key]
            elif what == 1 and isinstance(place, dict):
                place[draw(st.text(max_size=8) | st.sampled_from(TOKENS))] = place[key]
            else:
                place[key] = copy.deepcopy(draw(JUNK))
            break
    return value


def files_of(*valid: Any) -> st.SearchStrategy[str]:
    """JSON texts: of values that are nearly right, or nearly texts of values that are right."""
    return values(*valid).map(json.dumps) | texts(*(json.dumps(value, indent=1) for value in valid))
