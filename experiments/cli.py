"""The command ``sepnas``: finds the sub-command and turns what goes wrong into one line and an exit code.

Imports nothing heavy: help must be there at once.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.commands import Command

OK, FAILED, BAD_REQUEST, INTERRUPTED = 0, 1, 2, 130
_INTERRUPTED = "interrupted; run the same command again to go on, search and demo with --resume"
_DISK_FULL = "disk: no space left on device; free some and run the same command again, search and demo with --resume"
_MEMORY_FULL = (
    "memory: there is not enough of it; take a smaller batch, data.where stream or fewer parallel_seeds, and run the"
    " command again, search and demo with --resume"
)


def main(arguments: list[str] | None = None) -> int:
    """Run ``sepnas ARGUMENTS`` and return its exit code: 0 done, 2 bad request, 1 failed, 130 interrupted."""
    shadow = _shadow()
    if shadow is not None:
        return _complain(shadow, BAD_REQUEST)
    # not at the top: a package that is shadowed would fail to be imported before it could be named
    from experiments import commands
    from search_space.base.errors import InvalidRequest

    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_overview(commands.COMMANDS))
            return OK
        if arguments[0] == "--version":
            from experiments.runs.provenance import package_version

            print(f"sepnas {package_version('sepnas') or '(from a checkout that is not installed)'}")
            return OK
        command = commands.COMMANDS.get(arguments[0])
        if command is None:
            raise InvalidRequest(f"command: {arguments[0]!r} is unknown; known are {', '.join(commands.COMMANDS)}")
        command.run(arguments[1:])
        sys.stdout.flush()  # here, where a closed pipe is caught
        return OK
    except SystemExit as stop:  # --help of a sub-command, or Lightning's answer to Ctrl-C
        if any(isinstance(error, KeyboardInterrupt) for error in _chain(stop)):
            return _complain(_INTERRUPTED, INTERRUPTED)
        return stop.code if isinstance(stop.code, int) else FAILED
    except InvalidRequest as error:
        return _complain(str(error), BAD_REQUEST)
    except KeyboardInterrupt:
        return _complain(_INTERRUPTED, INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if _disk_full(error):
            return _complain(_DISK_FULL, BAD_REQUEST)
        if _memory_full(error):
            return _complain(_MEMORY_FULL, BAD_REQUEST)
        if os.environ.get("SEPNAS_TRACEBACK"):
            traceback.print_exc()
        reason = " ".join(str(error).split()) or "no reason given"
        hint = "" if os.environ.get("SEPNAS_TRACEBACK") else " (SEPNAS_TRACEBACK=1 shows where)"
        return _complain(f"failed: {type(error).__name__}: {reason}{hint}", FAILED)


def _complain(message: str, code: int) -> int:
    print(f"sepnas: {' '.join(message.split())}", file=sys.stderr)
    return code


def _overview(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join(
        [
            "usage: sepnas COMMAND ...",
            "",
            "Finds a small separable-convolution network for your images within a budget of MACs and parameters.",
            "",
            *lines,
            "",
            "`sepnas COMMAND --help` tells every option and its default.",
        ]
    )


def _disk_full(error: BaseException) -> bool:
    return any(
        (isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left on device" in str(e)
        for e in _chain(error)
    )


def _memory_full(error: BaseException) -> bool:
    # torch raises plain RuntimeErrors for the CPU's memory, and OutOfMemoryError for a GPU's; ONNX Runtime its own
    signs = ("can't allocate memory", "not enough memory", "out of memory", "Failed to allocate memory")
    return any(isinstance(e, MemoryError) or any(sign in str(e) for sign in signs) for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _shadow() -> str | None:
    """A complaint if a package of the same plain name, as a folder in the working directory, is taken for ours."""
    here = Path(__file__).resolve().parent.parent
    for name in ("search_space", "strategies", "evaluators"):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
        if origin is None or origin.parent.parent != here:
            found = "nothing" if origin is None else str(origin)
            return f"package {name}: {found} is found in place of the one in {here}; rename it or start elsewhere"
    return None


if __name__ == "__main__":
    sys.exit(main())
