"""A Python that has imported what commands import, and forks a process for each: starting one takes no time then."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: seconds that a command may take where the machine is busy
LONGEST = 600
_MODULES = (
    "experiments.bundle.export",
    "experiments.comparison.compare",
    "experiments.rank.rank",
    "experiments.report.contents",
    "experiments.search.search",
    "experiments.training.evaluate",
    "strategies.multi_trial.halving",
    "strategies.one_shot.gumbel",
)


class Warm:
    """The process that forks; one command at a time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, command: list[str], said: Path, before: str = "") -> int:
        """Begin ``sepnas COMMAND`` as the leader of a process group, with its output in the file ``said``; its number.

        ``before`` is Python that runs in front of the command.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"command": command, "said": str(said), "before": before}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self._group = int(self._process.stdout.readline())
        return self._group

    def wait(self) -> int:
        """Until the command has ended; its exit code, or minus the signal that ended it.

        A command that hangs is ended with its processes, and TimeoutError says so.
        """
        assert self._process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(LONGEST, self._give_up, [late])
        timer.start()
        try:
            code = int(self._process.stdout.readline())
        finally:
            timer.cancel()
        if late.is_set():
            raise TimeoutError(f"a command had not ended after {LONGEST} s")
        return code

    def _give_up(self, late: threading.Event) -> None:
        from helpers.groups import kill_group  # is not found where this file is the script

        late.set()
        kill_group(self._group)

    def run(self, command: list[str], said: Path, before: str = "") -> int:
        """`start` and `wait`."""
        self.start(command, said, before)
        return self.wait()

    def close(self) -> None:
        self._process.communicate()


@contextlib.contextmanager
def warm(**environment: str) -> Iterator[Warm]:
    """A `Warm` with these environment variables."""
    process = Warm(environment)
    try:
        yield process
    finally:
        process.close()


def _serve() -> None:
    from importlib import import_module

    import torch

    torch.set_num_threads(1)
    for name in _MODULES:
        import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(request)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    from experiments.cli import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    exec(request["before"], {})
    sys.exit(main(request["command"]))


if __name__ == "__main__":
    _serve()
