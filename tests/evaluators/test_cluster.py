"""Calls on a Ray cluster of this machine, whatever becomes of their workers, and who can hear of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from helpers.processes import die, diverge_or_touch, wait_and_return
from helpers.runs import complaint, outcome, rows
from helpers.searches import config, run

from evaluators.cluster.join import join, leave
from evaluators.cluster.options import RayOptions
from evaluators.cluster.pool import RayPool
from evaluators.training.pools import ProcessDied, TimeLimitPassed
from evaluators.training.run import TrainingDiverged
from experiments.cli import main
from search_space.base.errors import InvalidRequest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")

TRIALS = ("--strategy.options.trials", "6", "--strategy.options.ahead", "2")


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cluster that the tests of this module share is started by the first that needs it, and ended here."""
    here, others = psutil.Process(), tmp_path_factory.mktemp("temporary") / "ray"
    before = set(here.children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(others.parent))
        yield
        started = set(here.children(recursive=True)) - before
        assert started, "nothing was started"
        leave()
    _, left = psutil.wait_procs(started, timeout=60)
    assert not left
    assert not others.exists(), "there Ray notes which cluster the user has started"


def test_calls_end_as_their_function_does_and_those_of_lost_workers_are_repeated(tmp_path: Path) -> None:
    with closing(RayPool(RayOptions(), 5, 2)) as pool:
        once, always = pool.submit(die, tmp_path / "once"), pool.submit(die, None)
        quick, wrong = pool.submit(wait_and_return, 0.25), pool.submit(diverge, None)
        assert quick.result() == 0.25
        assert quick.seconds >= 0.25
        with pytest.raises(TrainingDiverged, match="the loss is nan at step 3"):
            wrong.result()
        assert once.result() == 5
        assert (once.attempts, quick.attempts) == (2, 1)
        with pytest.raises(ProcessDied, match=r"^its worker on \S+/\w{8} was killed or crashed .*, twice$"):
            always.result()


def diverge(shared: int, path: Path | None) -> None:
    diverge_or_touch(path)


def test_a_call_that_takes_too_long_is_ended_and_those_left_at_the_end_are_given_up() -> None:
    with closing(RayPool(RayOptions(), 5, 1, limit=0.3, retries=3)) as pool:
        late = pool.submit(wait_and_return, 1000)
        with pytest.raises(TimeLimitPassed, match=r"^it took longer than trial_time allows \(0\.3 s\)$"):
            late.result()
        assert late.attempts == 1
        left = [pool.submit(wait_and_return, 1000) for _ in range(2)]
        while not left[0].running():
            time.sleep(0.01)
    assert isinstance(left[0].exception(timeout=60), ProcessDied)
    assert left[1].cancelled()


def test_a_search_gives_what_it_gives_without_ray_and_says_where_it_trained(tmp_path: Path) -> None:
    whole = run(tmp_path, "training", *TRIALS, name="whole")
    spread = run(tmp_path, "training", *TRIALS, "--engine", "ray", "--jobs", "2", name="spread")
    assert outcome(spread) == outcome(whole)
    alone, far = rows(whole / "trials.csv"), rows(spread / "trials.csv")
    same = ("title", "seed", "validation_accuracy", "architecture")
    assert [[row[name] for name in same] for row in far] == [[row[name] for name in same] for row in alone]
    assert [row["architecture"] for row in far] == [row["architecture"] for row in rows(spread / "architectures.csv")]
    assert {row["node"].partition("/")[0] for row in far} == {row["node"] for row in alone}
    assert all(float(row["seconds"]) > 0 and row["attempts"] == "1" and not row["reason"] for row in far)


def test_nothing_listens_beyond_this_machine_and_the_token_is_needed() -> None:
    with closing(RayPool(RayOptions(), 5, 1)):
        ours = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
        listening = {
            one.laddr for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN and one.pid in ours
        }
        assert len(listening) > 3
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
        with pytest.raises(InvalidRequest, match=r"^ray: no machine of the cluster has 5000 cores and 2 GPUs; lower"):
            join(RayOptions()).room(5000, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "local"], "engine: 'local' is a training service of NNI, which gives trials other trials'"),
        (["--engine", "rey"], "engine: 'rey' is unknown; known are sequential, ray; did you mean ray?"),
        (["--ray.cpus", "2"], "ray.cpus: 2 has no effect with engine sequential; set engine to ray"),
        (["--engine", "ray", "--retrain.devices", "2"], "retrain.devices: 2 is not for engine ray"),
        (["--engine", "ray", "--accelerator", "cuda"], "ray.gpus: 0 gives trainings no GPU"),
        (
            ["--engine", "ray", "--ray.gpus", "1.5"],
            "ray.gpus: 1.5 is neither a whole number of GPUs nor a fraction of one",
        ),
        (["--trial_time", "soon"], "trial_time: 'soon' is not a time above 0; write it like 90s, 30m or 2h"),
    ],
)
def test_what_cannot_work_is_refused(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(config(tmp_path, "training")), "--out", str(tmp_path / "out"), *options]) == 2
    assert words in complaint(capsys)


def test_without_ray_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("experiments.runs.engine.find_spec", lambda name: None)
    command = ["search", str(config(tmp_path, "training")), "--out", str(tmp_path / "out"), "--engine", "ray"]
    assert main(command) == 2
    assert complaint(capsys) == "sepnas: engine: 'ray' needs the package ray; `pip install 'sepnas[ray]'`"
    assert not (tmp_path / "out").exists()
