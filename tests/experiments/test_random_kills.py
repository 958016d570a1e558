"""Every kind of run, killed at random moments, goes on by the same command, to the same results; nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from helpers.groups import kill_group, members
from helpers.runs import outcome, rows, tiny_values
from helpers.trainings import RECIPE
from helpers.warm import Warm, warm
from safetensors import safe_open

from search_space.base.atomic import is_temporary

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]

#: kills of each kind of run, and how many of them follow one another before it may come to its end
KILLS, IN_A_ROW = 7, 3
#: seconds that processes may outlive their command: agents of Ray look for their cluster for a minute
LINGER = 120
#: exit codes by signal; the second is that of a signal in the moments before and behind the command itself
SIGNALS = {signal.SIGINT: (130, -2), signal.SIGTERM: (143, -15), signal.SIGKILL: (-9,)}
STRATEGIES: dict[str, dict[str, Any]] = {
    "gdas": {"name": "gdas"},
    "supernet": {"name": "evolution", "options": {"trials": 6, "population_size": 3, "sample_size": 2}},
    "evolution": {
        "name": "evolution",
        "options": {"trials": 5, "population_size": 2, "sample_size": 1, "scoring": "training"},
    },
    "halving": {"name": "halving", "options": {"trials": 6, "rungs": 2}},
}
AHEAD = ("--strategy.options.ahead", "2")
#: what differs between runs of one request
VOLATILE = ("seconds", "provenance")


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        command: in a folder.
        again: what is added to go on.
        base: the kind of the finished run that it needs; None if it is a search.
        results: in a folder, what must not depend on kills.
        kills: how many there are at least.
    """

    command: Callable[[Path], list[str]]
    results: Callable[[Path], Any]
    again: tuple[str, ...] = ()
    base: str | None = None
    kills: int = KILLS


def search(name: str, *more: str, kills: int = KILLS) -> Kind:
    return Kind(
        lambda home: ["search", str(home.parent / f"{name}.yaml"), "--out", str(home / "run"), *more],
        lambda home: [outcome(home / "run"), table(home / "run" / "finalists.csv")],
        ("--resume",),
        kills=kills,
    )


def table(path: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows(path)]


def trained(home: Path) -> dict[str, Any]:
    """What each training below left."""
    found: dict[str, Any] = {}
    for path in sorted(home.rglob("seed*/result.json")):
        result = {key: value for key, value in json.loads(path.read_text()).items() if key not in VOLATILE}
        found[str(path.relative_to(home))] = result, path.with_name("weights.safetensors").read_bytes()
    assert found
    return found


def ranking(home: Path) -> list[Any]:
    verdict = json.loads((home / "run" / "rank" / "rank.json").read_text())["verdict"]
    return [table(home / "run" / "rank" / "rank.csv"), verdict]


def bundle(home: Path) -> dict[str, bytes]:
    # a .pt2 file is an archive with the time in it
    return {path.name: path.read_bytes() for path in (home / "bundle").iterdir() if path.suffix not in (".pt2", ".md")}


KINDS = {
    **{name: search(name) for name in STRATEGIES},
    # processes take seconds to start, so there are fewer kills where there are many
    "pool": search("evolution", *AHEAD, "--jobs", "2", kills=4),
    "ray": search("evolution", *AHEAD, "--jobs", "2", "--engine", "ray", kills=4),
    "rank": Kind(
        lambda home: ["rank", str(home / "run"), "--n", "5", "--seeds", "[0]", "--jobs", "1"],
        ranking,
        base="supernet",
    ),
    "retrain": Kind(lambda home: ["retrain", str(home / "run")], trained, base="gdas"),
    "devices": Kind(
        lambda home: ["retrain", str(home / "run"), "--seeds", "[0]", "--devices", "2", "--accelerator", "cpu"],
        trained,
        base="gdas",
        kills=4,
    ),
    "compare": Kind(
        lambda home: ["compare", str(home / "run"), "--baselines", "random:1"],
        lambda home: [trained(home), (home / "run/report/comparison.csv").exists()],
        base="gdas",
    ),
    "export": Kind(
        lambda home: ["export", str(home / "run"), "--to", str(home / "bundle")],
        bundle,
        ("--overwrite",),
        base="retrain",
    ),
}


@dataclass
class Bench:
    """Where the runs are: finished ones by what they are called, and the process that begins more."""

    home: Path
    process: Warm
    kills: Counter[str]

    def fresh(self, kind: Kind, name: str) -> Path:
        """A folder in which nothing of ``kind`` is done."""
        home = self.home / name
        shutil.rmtree(home, ignore_errors=True)
        if kind.base is None:
            home.mkdir()
        else:
            shutil.copytree(self.whole(kind.base), home)
        return home

    def whole(self, name: str) -> Path:
        """A folder in which the kind ``name`` was never interrupted."""
        home = self.home / f"whole-{name}"
        if not home.exists():
            self.fresh(KINDS[name], home.name)
            assert self.process.run(KINDS[name].command(home), self.said) == 0, self.said.read_text()
        return home

    @property
    def said(self) -> Path:
        return self.home / "said"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("kills")
    for name, strategy in STRATEGIES.items():
        config = tiny_values(
            space={"width": 0.25, "operators": ["dw_k3", "sep_k3", "skip"], "widths": [1.0]},
            budget={"max_macs": 60_000},
            strategy=strategy,
            search={"epochs": 2, "batch_size": 64, "learning_rate": 0.05, "warmup_epochs": 0},
            retrain={"recipe": {**RECIPE, "batch_size": 64}, "seeds": [0, 1]},
            finalists=1,
            finalist_seeds=1,
            jobs=1,
            trackers=[],
        )
        (home / f"{name}.yaml").write_text(yaml.safe_dump(config))
    (home / "scratch").mkdir()
    kills: Counter[str] = Counter()
    with warm(TMPDIR=str(home / "scratch")) as process:
        yield Bench(home, process, kills)
    print(f"\n{kills.total()} kills: {dict(kills)}")


def check_whole(home: Path) -> None:
    """Every file that is there can be read; those that were being written have another name."""
    for path in home.rglob("*"):
        if not path.is_file() or is_temporary(path) or "tracking" in path.parts:
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            assert yaml.safe_load(path.read_text())
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as content:
                assert content.keys()
        elif path.suffix == ".ckpt":
            torch.load(path, weights_only=True)


def finished(home: Path) -> dict[str, set[str]]:
    """The results that are on record: whole rows of the tables of scores, and files of results."""
    found: dict[str, set[str]] = {}
    for path in home.rglob("*"):
        name = str(path.relative_to(home))
        if path.name in ("architectures.csv", "finalists.csv", "scores.csv"):
            text = path.read_text()
            found[name] = set(text[: text.rfind("\n") + 1].splitlines())
        elif path.name in ("result.json", "winner.json"):
            found[name] = {path.read_text()}
    return found


def wait_until_gone(group: int, started: list[psutil.Process]) -> None:
    """Those of Ray have groups of their own, so that ``started`` are looked at as well."""
    latest = time.monotonic() + LINGER
    while left := [*members(group), *filter(lives, started)]:
        assert time.monotonic() < latest, f"processes outlive their command: {left}"
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def below(process: int) -> list[psutil.Process]:
    """The processes that ``process`` has started, and those that these have."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process).children(recursive=True)
    return []


@pytest.mark.parametrize("name", KINDS)
def test_it_goes_on_to_the_same_results(name: str, bench: Bench) -> None:
    kind, rng = KINDS[name], random.Random(f"{name} 1")
    expected = kind.results(bench.whole(name))
    home = bench.fresh(kind, "measured")
    begin = time.monotonic()
    assert bench.process.run(kind.command(home), bench.said) == 0
    longest = time.monotonic() - begin
    assert kind.results(home) == expected
    killed = 0
    while killed < kind.kills:
        home = bench.fresh(kind, "killed")
        again: tuple[str, ...] = ()
        for _ in range(IN_A_ROW):
            known = finished(home)
            group = bench.process.start([*kind.command(home), *again], bench.said)
            try:
                time.sleep(rng.uniform(0, longest))
                number = rng.choice(list(SIGNALS))
                started = below(group)
                if members(group):
                    os.kill(group, number)
                code = bench.process.wait()
                wait_until_gone(group, started)
            finally:
                kill_group(group)
            said = bench.said.read_text()
            assert code in {0, *SIGNALS[number]}, said
            check_whole(home)
            after = finished(home)
            assert all(rows <= after.get(path, set()) for path, rows in known.items())
            again = kind.again
            if code == 0:  # it had come to its end before
                break
            killed += 1
            bench.kills[f"{name} {number.name}"] += 1
            if code > 0:
                assert any(line.startswith("sepnas: ") for line in said.replace("\r", "\n").splitlines()), said
        assert bench.process.run([*kind.command(home), *again], bench.said) == 0, bench.said.read_text()
        assert kind.results(home) == expected
        assert [path for path in home.rglob(".*") if is_temporary(path)] == []
        assert list(home.rglob("*.ckpt")) == []
        # the folders of Ray's clusters that were killed go with the next cluster
        assert name != "ray" or list(Path("/tmp").glob(f"sepnas-ray-{group}-*")) == []
        # torch keeps a cache there, as it means to
        assert [name for name in os.listdir(bench.home / "scratch") if not name.startswith("torchinductor")] == []
