"""Settings and fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.runs import tree
from helpers.trainings import make_run
from hypothesis import settings

# the networks of the tests are so small that a second thread costs more than it brings
torch.set_num_threads(1)
# how long an example takes is a matter of what else the machine does
settings.register_profile("sepnas", deadline=None)
settings.load_profile("sepnas")


@pytest.fixture(scope="session", autouse=True)
def _a_machine_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images of all tests, and of the processes they start, out of the user's cache, and the width of the
    terminal (which pytest-xdist hands to its workers) out of what they print. Processes have one thread each, as other
    tests run beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that succeeds, and returns what it prints."""
    from experiments.cli import main

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in the test's folder that is refused in one line; returns it without "sepnas: ".

    Nothing may change in the folder, and no image may be decoded, unless ``loads``.
    """
    import experiments.runs.task as task_module
    from experiments.cli import main

    def decode(*args: Any, **options: Any) -> None:
        raise AssertionError("images were decoded")

    def run(*arguments: object, loads: bool = False, code: int = 2) -> str:
        before = tree(tmp_path)
        capsys.readouterr()
        with monkeypatch.context() as patch:
            if not loads:
                patch.setattr(task_module, "load_data", decode)
            assert main([str(argument) for argument in arguments]) == code
        line = capsys.readouterr().err
        assert line.startswith("sepnas: "), line
        assert line.endswith("\n")
        assert line.count("\n") == 1, line
        assert tree(tmp_path) == before
        return line.removeprefix("sepnas: ").rstrip()

    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs, compared with a baseline: the report is in the first one."""
    from experiments.cli import main

    home = tmp_path_factory.mktemp("my runs")
    one, two = make_run(home / "one"), make_run(home / "two", "bsconv_u_k3")
    assert main(["compare", f"{one}/", str(two), "--baselines", " mobilenetv3-small,"]) == 0
    return one, two


@pytest.fixture(scope="session", params=["gdas", "evolution"])
def resumable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(strategy, folder of a run that was never interrupted)."""
    from helpers.searches import run

    return request.param, run(tmp_path_factory.mktemp(f"whole-{request.param}"), request.param)
