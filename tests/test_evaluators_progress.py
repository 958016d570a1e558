"""Progress bars in terminals and in logs."""

from __future__ import annotations

import io
import sys

import pytest

from evaluators.base import progress
from evaluators.base.progress import hide_bars, progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawings(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "INTERVALS", (0.0, 30.0))
    with progress_bar(50, "training", "step") as bar:
        for _ in range(50):
            bar.update(1)
    return stream.getvalue()


def test_a_terminal_sees_every_step_and_a_log_hardly_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawings(monkeypatch, Terminal()).count("training") > 40
    assert 1 <= drawings(monkeypatch, io.StringIO()).count("training") <= 3


def test_nothing_is_drawn_where_bars_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_hidden", False)
    hide_bars()
    assert drawings(monkeypatch, Terminal()) == ""


def test_nothing_is_drawn_for_what_is_over_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(3, "training", "step") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")
