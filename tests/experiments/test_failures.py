"""What goes wrong while a command runs is said in one line."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.commands import Refused

from experiments import commands
from experiments.cli import main
from experiments.options.parsing import Command
from search_space.base.errors import InvalidRequest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "no space left on device; free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "no space left on device"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 2, "no space left on device"),
        (MemoryError(), 2, "memory: not enough of it; use a smaller batch"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "memory: not enough of it"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again"),
        (RuntimeError("first\nsecond"), 1, "failed: RuntimeError: first second (SEPNAS_TRACEBACK=1 shows where)"),
        (ZeroDivisionError(), 1, "failed: ZeroDivisionError: no reason given"),
        (InvalidRequest("field: value\nis wrong"), 2, "field: value is wrong"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def run(options: Any) -> None:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "fails", lambda parser: None, run))
    monkeypatch.delenv("SEPNAS_TRACEBACK", raising=False)
    assert words in refused("list", code=code)


def test_a_full_disk_behind_another_error_is_recognised(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not save") from error

    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "fails", lambda parser: None, run))
    assert "no space left" in refused("list", code=2)


def test_the_traceback_is_shown_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(options: Any) -> None:
        raise RuntimeError("here")

    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "fails", lambda parser: None, run))
    monkeypatch.setenv("SEPNAS_TRACEBACK", "1")
    assert main(["list"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_no_failure() -> None:
    command = f"{sys.executable} -m experiments list operators | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
