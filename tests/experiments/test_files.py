"""Files that are whole or not there, tables that grow, streams of seeds, provenance."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runs.claimed_folder import first_difference
from experiments.runs.files import Table, read_json, sweep, write_json, write_text
from experiments.runs.folder import RunFolder, check_out, open_run
from experiments.runs.records import ScoreRecord, metrics_writer
from experiments.runs.task import stream_seed
from search_space.base.atomic import is_temporary, replacing
from search_space.base.errors import InvalidRequest
from search_space.hand_designed import baseline
from search_space.network_cost import cost
from search_space.notation import parse

ROOT = Path(__file__).resolve().parents[2]


# --- files ---


def test_a_file_that_is_being_replaced_keeps_its_old_text_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert is_temporary(temporary)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_failed_write_changes_nothing_and_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "config.yaml"
    write_text(path, "old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_two_writers_of_equal_numbers_do_not_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)  # as in containers, each of which counts from 1
    path = tmp_path / "result.json"
    with replacing(path) as first:
        first.write_text("of the fir")
        with replacing(path) as second:
            second.write_text("of the second")
        assert path.read_text() == "of the second"
        with first.open("a") as stream:
            stream.write("st")
    assert path.read_text() == "of the first"
    assert os.listdir(tmp_path) == ["result.json"]


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    value = {"name": "Grüße", "list": [1, 2.5, None]}
    write_json(tmp_path / "data.json", value)
    assert read_json(tmp_path / "data.json") == value


def test_sweeping_takes_what_every_killed_writer_leaves_and_nothing_else(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
os.replace = lambda *_, **__: os._exit(9)
here = Path(sys.argv[1])
from search_space.hand_designed import baseline
architecture = baseline("mobilenetv3-small", width=0.25)
if sys.argv[2] == "architecture":
    from search_space.serialization import save_architecture
    save_architecture(architecture, here / sys.argv[3])
elif sys.argv[2] == "weights":
    from search_space.network import build
    from search_space.weights import save_weights
    save_weights(build(architecture), here / sys.argv[3])
else:
    from experiments.runs.files import write_text
    write_text(here / sys.argv[3], "text")
"""
    kinds = [("text", "config.yaml"), ("architecture", "winner.json"), ("weights", "supernet.safetensors")]
    for kind, name in kinds:
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path), kind, name], cwd=ROOT, check=False)
        assert done.returncode == 9
    assert len(os.listdir(tmp_path)) == len(kinds)
    # of another host: as old as they are, nobody is still writing them
    for left in (".last.sepnas-tmp-other-4711-0123abcd.ckpt", ".last.sepnas-tmp-elsewhere-1-0123abcd.ckpt"):
        (tmp_path / left).touch()
        os.utime(tmp_path / left, (0, 0))
    for mine in (".gitignore", ".DS_Store", ".config.json", "notes.txt", ".config", "last.ckpt"):
        (tmp_path / mine).touch()
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [
        ".DS_Store",
        ".config",
        ".config.json",
        ".gitignore",
        "last.ckpt",
        "notes.txt",
    ]


def test_sweeping_leaves_live_writers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        monkeypatch.setattr("socket.gethostname", lambda: "node_1.cluster")
        own = f".x.sepnas-tmp-node-1-cluster-{alive.pid}-12345678.json"
        # of an earlier process of this number
        earlier = f".x.sepnas-tmp-node-1-cluster-{os.getpid()}-12345678.json"
        # numbers of another host say nothing here
        others = [".x.sepnas-tmp-node-2-999999999-12345678.json", ".x.sepnas-tmp-host-999999999-12345678.json"]
        for name in (own, earlier, *others):
            (tmp_path / name).touch()
        with replacing(tmp_path / "x.json") as temporary:
            temporary.touch()
            sweep(tmp_path)
            assert sorted(os.listdir(tmp_path)) == sorted([own, temporary.name, *others])
    finally:
        alive.communicate(b"\n")
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["x.json", *others])


def test_a_file_that_goes_while_it_is_swept_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / ".x.sepnas-tmp-elsewhere-1-12345678.json"
    written.touch()
    # its writer ends between the two questions to the file system
    monkeypatch.setattr(Path, "is_file", lambda _: written.unlink() is None)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []


# --- tables ---


def test_a_table_reads_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = Table(path, ("a", "b"))
    assert not path.exists()
    table.append({"a": 1, "b": 'x, "y"'})
    table.append({"a": 2})
    assert Table(path, ("a", "b")).rows == [{"a": "1", "b": 'x, "y"'}, {"a": "2", "b": ""}]
    with path.open(newline="") as stream:
        assert list(csv.DictReader(stream)) == Table(path, ("a", "b")).rows


@given(cut=st.integers(0, 60))
def test_a_table_torn_anywhere_goes_on_with_its_whole_rows(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "metrics.csv"
    table = Table(path, ("number", "word"))
    for number in range(4):
        table.append({"number": number, "word": f"word{number}"})
    text = path.read_bytes()
    path.write_bytes(text[: max(0, len(text) - cut)])
    kept = Table(path, ("number", "word"))
    for number in range(len(kept.rows), 4):
        kept.append({"number": number, "word": f"word{number}"})
    assert path.read_bytes() == text


def test_opening_a_torn_table_changes_nothing_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("a,b\n1,2\n3")
    assert Table(path, ("a", "b")).rows == [{"a": "1", "b": "2"}]
    assert path.read_bytes() == b"a,b\n1,2\n3"


def test_an_epoch_that_is_repeated_replaces_its_row_and_those_behind(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write = metrics_writer(path, "search")
    for epoch in range(3):
        write({"epoch": epoch, "seconds": 1.0, "train_loss": epoch})
    write = metrics_writer(path, "search")
    write({"epoch": 1, "seconds": 1.0, "train_loss": 10})
    rows = Table(path, ()).rows
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [("0", "0"), ("1", "10")]


def test_scores_are_read_back_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "architectures.csv"
    record = ScoreRecord(path, ["validation_accuracy"])
    architecture = baseline("mobilenetv3-small", width=0.25)
    score = 0.1 + 0.2
    record.add(architecture, score)
    again = ScoreRecord(path, ["validation_accuracy"])
    assert [(one.architecture, one.score) for one in again.scored] == [(architecture, score)]
    assert ScoreRecord(path, ["log_probability"]).scored == []


def test_the_scores_of_an_earlier_version_are_read_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "architectures.csv"
    text = str(baseline("mobilenetv3-small", width=0.25))
    path.write_text(f'trial,measure,score,macs,params,architecture\n0,validation_accuracy,0.25,1,1,"{text}"\n')
    record = ScoreRecord(path, ["validation_accuracy", "negative_validation_loss"])
    record.add(parse(text), -0.5, 0.75)
    for known in (record, ScoreRecord(path, ["validation_accuracy", "negative_validation_loss"])):
        assert [(one.score, one.accuracy) for one in known.scored] == [(0.25, 0.25), (-0.5, 0.75)]


def test_of_equal_scores_the_cheaper_architecture_is_the_best(tmp_path: Path) -> None:
    record = ScoreRecord(tmp_path / "architectures.csv", ["validation_accuracy"])
    dear, cheap = (baseline("mobilenetv3-small", width=width) for width in (0.5, 0.25))
    assert cost(cheap).macs < cost(dear).macs
    record.add(dear, 0.5)
    record.add(cheap, 0.5)
    assert record.ranked()[0] == cheap
    record.add(baseline("mobilenetv3-small", width=1.0), 0.6)
    assert record.ranked()[0] != cheap


# --- run folders ---

CONFIG = {"seed": 0, "data": {"name": "digits", "seeds": (1, 2)}}


def test_a_new_run_is_written_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    check_out(out, CONFIG, resume=False, overwrite=False)
    assert not out.exists()
    run = open_run(out, CONFIG, {"made": 1}, overwrite=False)
    assert run.read_provenance() == {"made": 1}
    assert run.read_config() == {"seed": 0, "data": {"name": "digits", "seeds": [1, 2]}}
    check_out(out, CONFIG, resume=True, overwrite=False)
    assert open_run(out, CONFIG, {"made": 2}, overwrite=False).read_provenance() == {"made": 1}
    assert open_run(out, CONFIG, {"made": 3}, overwrite=True).read_provenance() == {"made": 3}


def test_overwriting_marks_the_folder_as_a_run_until_all_else_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run = open_run(out, CONFIG, {}, overwrite=False)
    run.retrain.mkdir()

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(OSError, match="broken"):
        open_run(out, CONFIG, {}, overwrite=True)
    check_out(out, CONFIG, resume=False, overwrite=True)


@pytest.mark.parametrize("name", ["notes.txt", "config.yaml", ".hidden", "search"])
def test_a_folder_with_other_files_is_never_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(InvalidRequest, match=f"holds {name}, which is not part of a run; give an empty or new"):
            check_out(tmp_path, CONFIG, resume=resume, overwrite=overwrite)


def test_what_lies_beside_a_run_keeps_it_from_being_overwritten(tmp_path: Path) -> None:
    open_run(tmp_path, CONFIG, {}, overwrite=False)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InvalidRequest, match=r"holds thesis.tex beside a run; move it or give another folder"):
        check_out(tmp_path, CONFIG, resume=False, overwrite=True)
    check_out(tmp_path, CONFIG, resume=True, overwrite=False)


def test_what_a_killed_writer_left_keeps_nobody_from_starting_again(tmp_path: Path) -> None:
    left = tmp_path / ".config.sepnas-tmp-elsewhere-4711-0123abcd.yaml"
    left.touch()
    os.utime(left, (0, 0))
    (tmp_path / "provenance.json").write_text("{}")
    check_out(tmp_path, CONFIG, resume=False, overwrite=False)
    run = open_run(tmp_path, CONFIG, {"made": 1}, overwrite=False)
    assert run.read_provenance() == {"made": 1}
    assert sorted(os.listdir(tmp_path)) == ["config.yaml", "provenance.json", "search"]


def test_the_first_difference_of_configs_is_named_with_both_values() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert first_difference(old, {"a": 1, "b": {"c": [1, 2], "d": None}}) is None
    assert first_difference(old, {"a": 1, "b": {"c": [1], "d": 3}}) == "b.c was [1, 2] and is now [1]"
    assert first_difference(old, {"a": 1, "b": {"c": [1, 2], "d": 3}}) == "b.d was None and is now 3"
    assert first_difference(old, {"a": 1, "b": 7}) is not None


def test_a_damaged_config_of_a_run_is_named(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG, {}, overwrite=False)
    for text in ("a: [", "", "- 1\n"):
        run.config.write_text(text)
        with pytest.raises(InvalidRequest, match=r"out: .*config.yaml is damaged"):
            check_out(tmp_path, CONFIG, resume=True, overwrite=False)


def test_the_folder_of_a_run_says_where_everything_is(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    files = (run.config, run.provenance, run.metrics, run.architectures, run.winner)
    assert [file.name for file in files] == [
        "config.yaml",
        "provenance.json",
        "metrics.csv",
        "architectures.csv",
        "winner.json",
    ]
    assert [folder.name for folder in (run.search, run.retrain, run.report)] == ["search", "retrain", "report"]


# --- seeds ---


def test_streams_are_the_same_on_every_machine() -> None:
    assert stream_seed(0, "splits") == 296191906
    assert stream_seed(7, "weights") == stream_seed(7, "weights")


@given(seed=st.integers(0, 2**32 - 1), purpose=st.text(min_size=1))
def test_a_stream_is_a_seed_that_every_generator_takes(seed: int, purpose: str) -> None:
    value = stream_seed(seed, purpose)
    assert 0 <= value < 2**31
    np.random.RandomState(value + 1)  # the validation loader takes the seed behind


def test_streams_of_other_purposes_and_seeds_are_unrelated() -> None:
    purposes = ["weights", "batches", "strategy", "paths", "calibration", "splits", *(f"trial {i}" for i in range(50))]
    values = [stream_seed(seed, purpose) for seed in range(50) for purpose in purposes]
    assert len(set(values)) == len(values)
    first = [np.random.default_rng(stream_seed(seed, "weights")).random(200) for seed in range(2)]
    other = np.random.default_rng(stream_seed(0, "batches")).random(200)
    assert abs(np.corrcoef(first[0], first[1])[0, 1]) < 0.25
    assert abs(np.corrcoef(first[0], other)[0, 1]) < 0.25
