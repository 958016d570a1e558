"""SIGTERM ends a command as Ctrl-C does, in any case; SIGKILL leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.groups import kill_group, members
from helpers.runs import complaint

from experiments import commands
from experiments.cli import main
from experiments.options.parsing import Command
from experiments.termination import TERMINATED, Terminated, ending_on_sigterm

ROOT = Path(__file__).resolve().parents[2]


def test_a_command_tidies_up_and_ends_with_143(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    def run(options: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            done.append("went on")
        finally:
            signal.raise_signal(signal.SIGTERM)  # `timeout` sends it twice
            done.append("tidied up")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(commands.COMMANDS, "list", Command("", "ends", lambda parser: None, run))
    assert main(["list"]) == TERMINATED == 143
    assert done == ["tidied up"]
    assert complaint(capsys).startswith(
        "sepnas: terminated; run the same command again to continue (search and demo with"
    )
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_whoever_started_us_ignores_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ending_on_sigterm():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(Terminated), ending_on_sigterm():
        signal.raise_signal(signal.SIGTERM)


def ended(*command: str) -> tuple[int, str]:
    """The exit code of Python when it and its processes get SIGTERM after its first line of output, as those of a
    container do, and what it says of that."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen([sys.executable, *command], env=surroundings, start_new_session=True, **streams)
    with started as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            _, said = process.communicate(timeout=100)
        finally:
            kill_group(process.pid)
    return process.returncode, said


def test_a_process_that_does_not_come_to_an_end_is_ended() -> None:
    script = """
import time
from experiments import termination
termination._GRACE = 0.2
with termination.ending_on_sigterm():
    try:
        print("ready", flush=True)
        time.sleep(1000)
    finally:
        time.sleep(1000)
"""
    assert ended("-c", script) == (TERMINATED, "")


BEGINNING = """
import sys, time
from pathlib import Path

from evaluators.training.pools import run_each
from experiments import termination

class Slow:
    def __reduce__(self):
        return begin, (sys.argv[1],)

def begin(marker):
    Path(marker).touch()
    time.sleep(1000)

if __name__ == "__main__":
    import threading
    def tell():
        while not Path(sys.argv[1]).exists():
            time.sleep(0.05)
        print("ready", flush=True)

    threading.Thread(target=tell).start()
    termination._GRACE = 80.0
    try:
        with termination.ending_on_sigterm():
            run_each(time.sleep, [(Slow(), bytes(1 << 20))] * 2, 2)
    except termination.Terminated:
        sys.exit(3)
"""


def test_processes_are_given_up_that_have_not_taken_yet_what_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(BEGINNING)
    begin = time.monotonic()
    assert ended(str(tmp_path / "script.py"), str(tmp_path / "begun")) == (3, "")
    assert time.monotonic() - begin < 80


TENSORS = """
import sys, time
from pathlib import Path
import torch
from evaluators.training.pools import run_each
from evaluators.training.processes import run_together

def work(images, begun, *_):
    Path(begun).touch()
    time.sleep(1000)

if __name__ == "__main__":
    if sys.argv[1] == "each":
        run_each(work, [(torch.zeros(9), "0"), (torch.zeros(9), "1")], 2)
    else:
        run_together(work, (torch.zeros(9), "0"), 2, None)
"""


@pytest.mark.parametrize("how", ["each", "together"])
def test_a_process_that_is_killed_leaves_no_folder_of_tensors(how: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(TENSORS)
    (tmp_path / "tmp").mkdir()
    surroundings = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "script.py", how]
    with subprocess.Popen(command, cwd=tmp_path, env=surroundings, start_new_session=True) as process:
        try:
            while not (tmp_path / "0").exists():
                assert process.poll() is None
                time.sleep(0.1)
        finally:
            process.kill()
    while members(process.pid):
        time.sleep(0.1)
    assert not list((tmp_path / "tmp").glob("pymp-*"))
