"""A command that is ended by SIGTERM or SIGKILL leaves no process behind, and goes on where it was."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.groups import kill_group, members
from helpers.runs import outcome, rows
from helpers.searches import run

from experiments.cli import main

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")

Start = Callable[..., "subprocess.Popen[str]"]
#: seconds that anything may take where the machine is busy
LONGEST = 300
TRIALS = ["--strategy.options.trials", "12", "--strategy.options.ahead", "2"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with a command in a process group of its own."""
    with contextlib.ExitStack() as stack:

        def begin(*command: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(kill_group, process.pid)  # if the test fails
            return process

        yield begin


def has_rows(table: Path) -> bool:
    return table.exists() and len(rows(table)) > 0


def is_gone(group: int) -> bool:
    return not members(group)


def wait_for(what: Callable[..., bool], *arguments: object) -> None:
    """Wait until ``what(*arguments)``."""
    latest = time.monotonic() + LONGEST
    while not what(*arguments):
        assert time.monotonic() < latest
        time.sleep(0.02)


def test_a_search_with_several_jobs_ends_whole_and_resumes(tmp_path: Path, start: Start) -> None:
    whole = run(tmp_path, "training", *TRIALS, "--jobs", "1", name="whole")
    given = str(tmp_path / "training.yaml")
    numbers = (signal.SIGTERM, signal.SIGKILL)
    started = {}
    for number in numbers:  # side by side, as starting takes most of the time
        search = ["search", given, *TRIALS, "--out", str(tmp_path / number.name)]
        started[number] = search, start("-m", "experiments", *search, "--jobs", "2")
    training = dict(started)

    def have_been_signalled() -> bool:
        for number, (_, process) in list(training.items()):
            if has_rows(tmp_path / number.name / "architectures.csv"):
                assert len(members(process.pid)) >= 3
                process.send_signal(number)
                del training[number]
        return not training

    wait_for(have_been_signalled)
    for number, (search, process) in started.items():
        said = process.communicate(timeout=LONGEST)[1].replace("\r", "\n").splitlines()
        wait_for(is_gone, process.pid)
        assert not (tmp_path / number.name / "winner.json").exists()
        if number == signal.SIGTERM:
            assert process.returncode == 128 + signal.SIGTERM
            assert [line for line in said if line.startswith("sepnas: ")] == [said[-1]]
            assert said[-1].startswith("sepnas: terminated; run the same command again")
        else:
            assert process.returncode == -signal.SIGKILL
        assert main([*search, "--jobs", "1", "--resume"]) == 0
        assert outcome(tmp_path / number.name) == outcome(whole)


def test_processes_that_are_still_starting_end_with_their_parent(start: Start) -> None:
    script = """
import os, signal, time
from evaluators.training.pools import SharedPool
if __name__ == "__main__":
    SharedPool(1, None).submit(time.sleep)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start("-c", script)
    process.communicate(timeout=LONGEST)
    assert process.returncode == -signal.SIGKILL
    wait_for(is_gone, process.pid)
