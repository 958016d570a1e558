"""Progress bars in terminals and in logs."""

from __future__ import annotations

import io
import sys

import pytest

from evaluators.base import progress
from evaluators.base.progress import Work, hide_bars, progress_bar


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


def test_the_time_left_of_all_follows_from_what_was_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    work = Work(100)
    work.count(40, before=True)
    assert work.left is None
    now[0] = 50.0
    work.count(20)
    assert work.left == 50 / 20 * 40
    work.count(40)
    assert work.left == 0


def test_a_bar_tells_the_time_left_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "INTERVALS", (0.0, 30.0))
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    work = Work(100)
    with progress_bar(4, "training", "step", work=work) as bar:
        assert "left in all" not in str(bar)
        now[0] = 60.0
        work.count(25)
        bar.set_postfix(best="0.9", refresh=False)
        bar.update(1)
    assert "best=0.9] 03:00 left in all" in terminal.getvalue()
