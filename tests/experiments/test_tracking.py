"""Figures sent to trackers: what arrives, once each, also after a kill; trackers that cannot work are refused."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import Refused, tiny
from helpers.runs import Killed, rows
from helpers.searches import run

from experiments.tracking import trackers as trackers_module
from experiments.tracking.events import records
from experiments.tracking.trackers import TRACKERS, Tracker, Tracking

Points = dict[str, list[tuple[int, float]]]


def events(folder: Path) -> Points:
    """{figure: [(step, value)]} of all event files of a folder, by their steps (files of one second have no order)."""
    from tensorboardX.proto.event_pb2 import Event

    points: Points = {}
    for path in sorted(folder.glob("tracking/tensorboard/events.*")):
        for record in records(path.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                points.setdefault(value.tag, []).append((event.step, value.simple_value))
    return {name: sorted(own) for name, own in points.items()}


def test_a_differentiable_search_sends_each_epoch(resumable: tuple[str, Path]) -> None:
    strategy, out = resumable
    points = events(out)
    metrics = rows(out / "metrics.csv")
    for name in ("train_loss", "train_accuracy", "seconds"):
        assert points[name] == [(int(row["epoch"]), pytest.approx(float(row[name]), rel=1e-4)) for row in metrics]
    if strategy == "gdas":
        assert {"architecture_entropy", "expected_macs", "multiplier_max_macs"} <= set(points)
    else:
        scores = [float(row["score"]) for row in rows(out / "architectures.csv")]
        assert [value for _, value in points["score"]] == pytest.approx(scores)
        assert [step for step, _ in points["score"]] == list(range(len(scores)))
        assert points["best_score"][-1][1] == pytest.approx(max(scores))


def test_probabilities_of_each_epoch_are_recorded(resumable: tuple[str, Path]) -> None:
    strategy, out = resumable
    path = out / "probabilities.csv"
    if strategy != "gdas":
        assert not path.exists()
        return
    with path.open(newline="") as stream:
        columns = next(csv.reader(stream))
    labels = list(dict.fromkeys(column.partition(" ")[0] for column in columns[1:]))
    for row in rows(path):
        for label in labels:
            own = [float(row[column]) for column in columns if column.startswith(f"{label} ")]
            assert len(own) > 1
            assert sum(own) == pytest.approx(1, abs=1e-2)
    assert [row["epoch"] for row in rows(path)] == [row["epoch"] for row in rows(out / "metrics.csv")]


@pytest.mark.parametrize("strategy", ["gdas", "evolution"])
def test_a_resumed_search_sends_nothing_twice(strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send, count = Tracking.send, 0

    def kill(self: Tracking, *args: Any) -> None:
        nonlocal count
        send(self, *args)
        count += 1
        if count == (1 if strategy == "gdas" else 5):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "send", kill)
        with pytest.raises(Killed):
            run(tmp_path, strategy)
    torn = next((tmp_path / "run" / "tracking" / "tensorboard").glob("events.*"))
    torn.write_bytes(torn.read_bytes()[:-3])  # as a kill leaves it
    run(tmp_path, strategy, "--resume")
    points = events(tmp_path / "run")
    assert points
    for name, own in points.items():
        steps = [step for step, _ in own]
        assert steps == list(range(len(steps))), name


def test_final_trainings_are_followed_too(compared: tuple[Path, Path]) -> None:
    home = compared[0] / "retrain" / "winner" / "seed0"
    losses = [pytest.approx(float(row["train_loss"]), rel=1e-4) for row in rows(home / "metrics.csv")]
    assert [value for _, value in events(home)["train_loss"]] == losses


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    assert not (run(tmp_path, "gdas", "--trackers", "") / "tracking").exists()


# --- refused ---


def test_a_tracker_without_its_package_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers_module, "find_spec", lambda name: None if name == "wandb" else object())
    said = refused("search", tiny(), "--out", "run", "--trackers", "tensorboard,wandb")
    assert said.startswith("trackers: 'wandb' needs the package wandb, which is not installed; pip install wandb")
    said = refused("retrain", "mobilenetv3-small", "--out", "new", "--data.name", "digits", "--trackers", "wandb")
    assert "pip install wandb" in said


def test_an_unknown_tracker_is_refused(refused: Refused) -> None:
    assert refused("search", tiny(), "--out", "run", "--trackers", "tensorbord").startswith("trackers[0]: 'tensorbord'")


def test_a_server_that_does_not_answer_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers_module, "find_spec", lambda name: object())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "set MLFLOW_TRACKING_URI" in refused("search", tiny(), "--out", "run", "--trackers", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert "no server that answers at http://127" in refused("search", tiny(), "--out", "run", "--trackers", "mlflow")


def test_a_tracker_that_fails_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str]
) -> None:
    def fail(*args: Any) -> None:
        raise OSError("the server is gone")

    monkeypatch.setattr(TRACKERS["tensorboard"], "send", fail)
    printed = said("search", tiny_file(tmp_path), "--out", tmp_path / "run")
    assert printed.count("tensorboard accepts no more metrics (the server is gone)") == 1
    assert (tmp_path / "run" / "winner.json").exists()


def test_a_tracker_that_fails_at_the_end_loses_neither_the_search_nor_the_others_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = []

    def fail(self: Tracker, *, failed: bool) -> None:
        ended.append((type(self).__name__, failed))
        raise OSError("the server is gone")

    for name in ("first", "second"):
        tracker = type(name, (Tracker,), {"open": lambda self: None, "sent": lambda self: {}, "end": fail})
        monkeypatch.setitem(TRACKERS, name, tracker)
    with pytest.raises(ValueError, match="of the training"), Tracking(["first", "second"], tmp_path, "run", {}):
        raise ValueError("of the training")
    assert ended == [("first", True), ("second", True)]
    assert capsys.readouterr().out.count("could not end (the server is gone)") == 2


def tiny_file(folder: Path) -> Path:
    path = folder / "tiny.yaml"
    shutil.move(tiny(), path)
    return path


# --- against the real thing, where it is installed ---


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in modules)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that the test starts."""
    if not has("mlflow", "flask", "sqlalchemy"):
        pytest.skip("MLflow and its server are not installed (pip install mlflow)")
    home, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--default-artifact-root", str(home)]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


@pytest.mark.filterwarnings("ignore")  # those of the client are not ours
def test_mlflow_gets_every_figure_once(mlflow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    send = Tracking.send

    def kill(self: Tracking, *args: Any) -> None:
        send(self, *args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Tracking, "send", kill)
        with pytest.raises(Killed):
            run(tmp_path, "gdas", "--trackers", "tensorboard,mlflow")
    out = run(tmp_path, "gdas", "--trackers", "tensorboard,mlflow", "--resume")
    client = MlflowClient(mlflow_server)
    (experiment,) = [one for one in client.search_experiments() if one.name == "sepnas"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    assert found.data.params["strategy/name"] == "gdas"
    own = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    sent = {name: [(one.step, pytest.approx(one.value, rel=1e-5)) for one in points] for name, points in own.items()}
    assert events(out) == sent


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has("wandb"):
        pytest.skip("wandb is not installed (pip install wandb)")
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = run(tmp_path, "gdas", "--trackers", "wandb")
    (kept,) = (out / "tracking" / "wandb").glob("offline-run-*/*.wandb")
    content = kept.read_bytes()
    assert b"expected_macs" in content
    assert b"train_loss" in content
