"""The command ``sepnas``: finds the sub-command and turns what goes wrong into one line and an exit code.

Imports nothing heavy: help must be there at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from experiments.options.parsing import Command, Parser
from experiments.runs.errors import TooManyFailed, chained, is_disk_full, is_memory_full
from experiments.termination import TERMINATED, Terminated, ending_on_sigterm
from search_space.base.checks import plain, shown, unknown
from search_space.base.errors import LONGEST, InvalidRequest

OK, FAILED, BAD_REQUEST, INTERRUPTED = 0, 1, 2, 130
_GO_ON = "run the same command again to continue (search and demo with --resume)"
_DISK_FULL = "disk: no space left on device; free some and run the same command again (search and demo with --resume)"
_MEMORY_FULL = (
    "memory: not enough of it; use a smaller batch, data.where stream or fewer jobs, and run the command"
    " again (search and demo with --resume)"
)
_TOO_MANY_FILES = (
    "files: this process may not open more of them; raise the limit (ulimit -n), or use fewer jobs or"
    " data.workers, and run the command again (search and demo with --resume)"
)
#: what is installed by another extra than [search]
_EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx", "datasets": "hub", "kornia": "augment"}
_SHELLS = ("bash", "zsh", "tcsh")
#: what stands in place of a command
_OPTIONS = ("--help", "--version", "--print_completion")


def main(arguments: list[str] | None = None) -> int:
    """Run ``sepnas ARGUMENTS`` and return its exit code.

    That is 0 if it is done, 2 for a bad request, 1 if it failed, 130 if it was interrupted, 143 if by SIGTERM.
    """
    try:
        with ending_on_sigterm():
            _run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()  # here, where a closed pipe is caught
        return OK
    except SystemExit as stop:  # --help of a sub-command, or Lightning's answer to Ctrl-C
        for error in chained(stop):
            if isinstance(error, KeyboardInterrupt):
                return _say_interrupted(error)
        return stop.code if isinstance(stop.code, int) else FAILED
    except InvalidRequest as error:
        return _complain(str(error), BAD_REQUEST)
    except TooManyFailed as error:  # whatever they failed for: one of the reasons may be memory
        return _complain(str(error), FAILED)
    except KeyboardInterrupt as interrupt:
        return _say_interrupted(interrupt)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if (remedy := _remedy(error)) is not None:
            return _complain(remedy, BAD_REQUEST)
        hint = " (SEPNAS_TRACEBACK=1 shows where)"
        if os.environ.get("SEPNAS_TRACEBACK"):
            traceback.print_exc()
            hint = ""
        reason = " ".join(str(error).split()) or "no reason given"
        return _complain(f"failed: {type(error).__name__}: {plain(reason)}{hint}", FAILED)


def _say_interrupted(interrupt: KeyboardInterrupt) -> int:
    if isinstance(interrupt, Terminated):
        return _complain(f"terminated; {_GO_ON}", TERMINATED)
    return _complain(f"interrupted; {_GO_ON}", INTERRUPTED)


def _run(arguments: list[str]) -> None:
    from experiments.commands import COMMANDS

    name, *others = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_overview(COMMANDS))
    elif name == "--version":
        print(f"sepnas {_version()}")
    elif name == "--print_completion":
        print(_completion(COMMANDS, *others[:1]))
    elif name in COMMANDS:
        COMMANDS[name].main(name, others)
    else:
        kind, known = ("option", _OPTIONS) if name.startswith("-") else ("command", COMMANDS)
        raise unknown(kind, name, known, "sepnas --help")


def _complain(message: str, code: int) -> int:
    """Print one line without control characters, and not too long a one."""
    print(f"sepnas: {' '.join(plain(message, LONGEST).split())}", file=sys.stderr)
    return code


def _remedy(error: Exception) -> str | None:
    """What the user can do about an error that is not a mistake of ours; None for others."""
    if is_disk_full(error):
        return _DISK_FULL
    if is_memory_full(error):
        return _MEMORY_FULL
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        name = error.name.partition(".")[0]
        return f"package {name}: not installed; run: pip install 'sepnas[{_EXTRAS.get(name, 'search')}]'"
    for each in chained(error):
        if isinstance(each, OSError) and each.errno in (errno.EMFILE, errno.ENFILE):
            return _TOO_MANY_FILES
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"path: {shown(str(error.filename))} is too long; give a shorter one"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"path: {shown(str(error.filename))} cannot be read or written ({error.strerror}); give another one"
    return None


def _overview(commands: Mapping[str, Command]) -> str:
    groups: dict[str, list[str]] = {}
    for name, command in commands.items():
        row = f"  {name:{max(map(len, commands))}}  {command.summary}"
        groups.setdefault(command.group, ["", f"{command.group}:"]).append(row)
    return "\n".join(
        [
            "usage: sepnas COMMAND ...",
            "",
            "Finds a small separable-convolution network for your images within a budget of MACs and parameters.",
            *chain(*groups.values()),
            "",
            "`sepnas COMMAND --help` shows every option and its default, `sepnas --version` the version;"
            f" `sepnas --print_completion SHELL` prints completions for {', '.join(_SHELLS)}.",
        ]
    )


def _version() -> str:
    from experiments.runs.provenance import package_version

    if (version := package_version("sepnas")) is not None:
        return version
    import tomllib

    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def _completion(commands: Mapping[str, Command], shell: str = "") -> str:
    """A script by which a shell completes sub-commands and options."""
    if shell not in _SHELLS:
        raise unknown("--print_completion", shell, _SHELLS)
    import shtab

    parser = argparse.ArgumentParser("sepnas")
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("--print_completion", choices=_SHELLS, help="print completions for a shell")
    subparsers = parser.add_subparsers(parser_class=Parser)
    for name, command in commands.items():
        command.add_options(subparsers.add_parser(name, help=command.summary))
    return str(shtab.complete(parser, shell))
