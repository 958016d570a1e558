"""Disks that are full or read-only, files that run out, folders that another process holds, images that change."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.commands import Refused, pictures
from helpers.runs import outcome
from helpers.searches import config
from helpers.searches import run as search
from helpers.trainings import RECIPE
from helpers.warm import Warm, warm
from PIL import Image

from experiments.cli import main
from experiments.runs.held import held
from search_space.base import atomic
from search_space.base.atomic import scratch_folder
from search_space.base.errors import InvalidRequest

ROOT = Path(__file__).resolve().parents[2]


def change(folder: Path) -> None:
    """Other pictures in the place of those of one class: as many, of the same names."""
    for path in (folder / "class0").iterdir():
        Image.new("L", (10, 10), 255).save(path)


def test_a_run_does_not_go_on_with_other_images(refused: Refused, tmp_path: Path) -> None:
    images = ["--data.name", str(pictures("images")), "--trackers", "[]"]
    folder = search(tmp_path, "gdas", *images)
    (folder / "winner.json").unlink()
    change(tmp_path / "images")
    again = ["search", "gdas.yaml", "--out", "run", *images]
    line = refused(*again, "--resume", loads=True)
    assert "the images have changed since it was started" in line
    assert main([*again, "--overwrite"]) == 0


def test_a_training_is_not_joined_by_one_of_other_images(refused: Refused, tmp_path: Path) -> None:
    recipe = [text for name, value in RECIPE.items() for text in (f"--recipe.{name}", str(value))]
    command = ["retrain", "mobilenetv3-small", "--width", "0.25", "--out", "out", *recipe, "--trackers", "[]"]
    command += ["--data.name", str(pictures("images")), "--data.image_size", "8", "--seeds"]
    assert main([*command, "[0]"]) == 0
    change(tmp_path / "images")
    assert "made differently: images was '" in refused(*command, "[0, 1]", loads=True)
    assert main([*command, "[0, 1]", "--overwrite"]) == 0


def test_a_folder_is_written_to_by_one_process_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    script = """
import sys
from pathlib import Path
from experiments.runs.held import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""
    folder = tmp_path / "run"
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InvalidRequest, match="another process is writing to it"), held(folder):
            pass
        process.kill()
    with held(folder), held(folder):  # a command's parts may each ask for it
        pass
    assert list(folder.iterdir()) == []


def test_folders_for_what_is_in_the_making_go_even_if_the_process_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic.tempfile, "tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        left = tmp_path / folder.name.replace(f"-{atomic.os.getpid()}-", "-999999999-")
        left.mkdir()
        (left / "part").touch()
        other = tmp_path / ".scratch.sepnas-tmp-elsewhere-1-12345678"
        other.mkdir()
        with scratch_folder() as inner:
            assert inner.parent == folder
        assert folder.is_dir()
    with scratch_folder():
        assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


# --- what needs a process of its own, or a disk ---


@pytest.fixture(scope="module")
def process() -> Iterator[Warm]:
    with warm() as started:
        yield started


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)):
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def mount(*arguments: str) -> bool:
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def refusal(process: Warm, command: list[str], folder: Path, before: str = "") -> str:
    """The line that a command ends with, by exit code 2."""
    code = process.run(command, folder / "said", before)
    said = (folder / "said").read_text().replace("\r", "\n")
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("sepnas: ")]
    assert line.isprintable()
    assert len(line) <= 300
    return line


@pytest.mark.faults
@pytest.mark.parametrize("strategy", ["gdas", "training"])
def test_a_search_on_a_full_disk_goes_on_where_there_is_space(
    strategy: str, process: Warm, disk: Path, tmp_path: Path
) -> None:
    whole = search(tmp_path, strategy, "--trackers", "[]", name="whole")
    command = ["search", str(config(tmp_path, strategy)), "--trackers", "[]", "--out", str(disk / "run")]
    (disk / "filler").write_bytes(bytes(20_000))
    assert "disk: no space left" in refusal(process, command, tmp_path)
    (disk / "filler").unlink()
    assert mount("-o", "remount,size=100m", str(disk))
    assert process.run([*command, "--resume"], tmp_path / "said") == 0, (tmp_path / "said").read_text()
    assert outcome(disk / "run") == outcome(whole)


@pytest.mark.faults
def test_a_disk_that_is_read_only_is_named(process: Warm, disk: Path, tmp_path: Path) -> None:
    assert mount("-o", "remount,ro", str(disk))
    given = str(config(tmp_path, "gdas"))
    for command in (
        ["search", given, "--out", str(disk / "run")],
        ["retrain", "mobilenetv3-small", "--out", str(disk / "run"), "--data.name", "digits"],
    ):
        assert "cannot be written to" in refusal(process, command, tmp_path)


@pytest.mark.faults
def test_out_of_files(process: Warm, tmp_path: Path) -> None:
    more = ["--strategy.options.ahead", "2", "--trackers", "[]"]
    whole = search(tmp_path, "training", *more, "--jobs", "1", name="whole")
    command = ["search", str(tmp_path / "training.yaml"), *more, "--jobs", "2", "--out"]
    for files in (4, 6, 8):
        run = str(tmp_path / f"run{files}")
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))"
        assert "files: this process may not open more of them" in refusal(process, [*command, run], tmp_path, limit)
        assert process.run([*command, run, "--resume"], tmp_path / "said") == 0, (tmp_path / "said").read_text()
        assert outcome(Path(run)) == outcome(whole)
