"""Folders that a command claims: nobody else's file is lost, and a kill at any moment can be mended."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import Killed, contents

from experiments.bundle.files import BUNDLE
from experiments.generation.run import GENERATION
from experiments.latency import PARTIAL_TABLE
from experiments.rank.rank import RANKING
from experiments.runs.claimed_folder import ClaimedFolder, FolderKind, first_difference
from experiments.runs.folder import RUN
from experiments.training.evaluate import EVALUATION
from experiments.training.retrain import TRAININGS
from search_space.base.errors import InvalidRequest

MARKED = [RUN, TRAININGS, RANKING, PARTIAL_TABLE]
OLD, NEW = {"seed": 0, "sizes": (1, 2)}, {"seed": 1, "sizes": (1, 2)}


def claim(folder: Path, kind: FolderKind, request: dict[str, Any], **more: Any) -> None:
    """Claim as the kind's command does: a run has its provenance, and to go on with it is asked for."""
    if kind is RUN:
        more = {"resume": not more.get("overwrite", False), "before_marker": {"provenance.json": request}, **more}
    ClaimedFolder(folder, kind).claim(request, **more)


def fill(folder: Path, kind: FolderKind) -> None:
    """Leave something under each name that the kind knows, folders and files."""
    for pattern in kind.files:
        name = pattern.replace("[0-9]", "7").replace("*", "")
        if "." in name:
            (folder / name).write_text("result")
        else:
            (folder / name).mkdir()
            for file in ("result.json", "last.ckpt"):
                (folder / name / file).write_text("{}")


def test_nothing_is_deleted_that_another_process_is_writing_to(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    for kind, written in ((TRAININGS, "seed7"), (RUN, "retrain/winner/seed0"), (GENERATION, "seed7")):
        folder = tmp_path / kind.name
        claim(folder, kind, OLD)
        fill(folder, kind)
        (folder / written).mkdir(parents=True, exist_ok=True)
        before = contents(folder)
        lock = os.open(folder / written, os.O_RDONLY)  # of its own, as another process has it
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InvalidRequest, match=f"^out: .*{written}: another process is writing to it; wait until"):
            claim(folder, kind, NEW, overwrite=True)
        assert contents(folder) == before
        os.close(lock)
        claim(folder, kind, NEW, overwrite=True)
        assert not (folder / written).exists()


@pytest.mark.parametrize("kind", MARKED, ids=lambda kind: kind.name)
def test_the_same_request_goes_on_and_another_is_refused(tmp_path: Path, kind: FolderKind) -> None:
    folder = tmp_path / "a" / "b"
    claim(folder, kind, OLD)
    fill(folder, kind)
    before = contents(folder)
    claim(folder, kind, OLD)
    assert contents(folder) == before
    with pytest.raises(InvalidRequest, match=f"^out: .* holds {kind.name} made differently: seed was 0 and is now 1; "):
        claim(folder, kind, NEW)
    assert contents(folder) == before
    claim(folder, kind, NEW, overwrite=True)
    assert set(contents(folder)) == {kind.marker, *kind.before_marker}
    claim(folder, kind, NEW)


@pytest.mark.parametrize("kind", MARKED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_without_the_marker_is_somebody_elses(tmp_path: Path, kind: FolderKind, overwrite: bool) -> None:
    fill(tmp_path, kind)
    before = contents(tmp_path)
    with pytest.raises(InvalidRequest, match=f"which is not part of {kind.name}; give an empty or new folder"):
        claim(tmp_path, kind, OLD, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", MARKED, ids=lambda kind: kind.name)
def test_files_of_others_are_never_deleted(tmp_path: Path, kind: FolderKind) -> None:
    claim(tmp_path, kind, OLD)
    fill(tmp_path, kind)
    (tmp_path / "thesis.tex").write_text("irreplaceable")
    if kind.deleted_whole:
        with pytest.raises(InvalidRequest, match=r"holds thesis\.tex beside"):
            claim(tmp_path, kind, NEW, overwrite=True)
    else:
        claim(tmp_path, kind, NEW, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "irreplaceable"


@pytest.mark.parametrize("kind", MARKED, ids=lambda kind: kind.name)
def test_a_kill_at_any_moment_can_be_mended(tmp_path: Path, kind: FolderKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it overwrites, either request finds a folder that is its own or that it may overwrite."""
    for at in range(40):
        folder = tmp_path / str(at)
        claim(folder, kind, OLD)
        fill(folder, kind)
        calls = 0

        def dying(real: Any, at: int = at) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == at + 1:
                    raise Killed
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", dying(os.replace))
            patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
            patch.setattr(Path, "unlink", dying(Path.unlink))
            with contextlib.suppress(Killed):
                claim(folder, kind, NEW, overwrite=True)
        claimed = ClaimedFolder(folder, kind)
        assert claimed.is_claimed
        if claimed.request()["seed"] == 0:
            assert claimed.check(OLD, resume=True if kind is RUN else None)
        else:
            assert set(contents(folder)) == {kind.marker, *kind.before_marker}, "nothing old under the new request"
        claim(folder, kind, NEW, overwrite=True)
        assert claimed.request() == {"seed": 1, "sizes": [1, 2]}
        if calls <= at:
            return
    raise AssertionError("more steps than expected")


def test_a_run_is_marked_only_with_its_provenance(tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text("{}")  # killed before the marker was written
    assert not ClaimedFolder(tmp_path, RUN).is_claimed
    claim(tmp_path, RUN, OLD)
    assert ClaimedFolder(tmp_path, RUN).is_claimed


def test_where_nothing_is_to_lose_another_request_takes_the_folder(tmp_path: Path) -> None:
    claim(tmp_path, TRAININGS, OLD)
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "metrics.csv").touch()
    claim(tmp_path, TRAININGS, NEW)
    assert set(contents(tmp_path)) == {"about.json"}


@pytest.mark.parametrize("kind", [*MARKED, EVALUATION, BUNDLE], ids=lambda kind: kind.name)
def test_what_killed_writers_left_is_swept(tmp_path: Path, kind: FolderKind) -> None:
    left = tmp_path / ".evaluation.sepnas-tmp-elsewhere-1-0123abcd.json"
    left.touch()
    os.utime(left, (0, 0))
    mine = tmp_path / ".evaluation.json"
    claim(tmp_path, kind, OLD)
    mine.touch()
    if kind not in (BUNDLE, PARTIAL_TABLE):
        claim(tmp_path, kind, OLD)
        assert mine.exists()
    assert not left.exists()


@pytest.mark.parametrize(("kind", "name"), [(EVALUATION, "evaluation.json"), (BUNDLE, "notes.txt")])
def test_a_folder_without_a_request_is_only_replaced_when_asked(tmp_path: Path, kind: FolderKind, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InvalidRequest, match=f"^to: .* already holds {name}; give another folder, or --overwrite"):
        ClaimedFolder(tmp_path, kind, field="to").claim()
    ClaimedFolder(tmp_path, kind, field="to").claim(overwrite=True)
    assert (tmp_path / name).read_text() == "mine", "files are replaced as they are written"


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_marker_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "about.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InvalidRequest, match=r"^out: .*about\.json is damaged \("):
        ClaimedFolder(tmp_path, TRAININGS).check(OLD)


def test_a_difference_behind_what_is_shown_is_still_one() -> None:
    long = "x" * 200
    assert first_difference({"a": f"{long}1{long}"}, {"a": f"{long}2{long}"}) == "a is another one"
    difference = first_difference({"a": "short"}, {"a": long})
    assert difference is not None
    assert len(difference) < 200
