"""The Pareto set of a run: its files, its picture, and what is picked from it."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.spaces import save_costs
from matplotlib.image import imread

from evaluators.data.options import DataOptions
from experiments.options.config import SearchConfig, StrategyConfig
from experiments.runs.folder import RunFolder
from experiments.runs.records import Scored, ScoreRecord
from experiments.search.pareto import FILES, Front, front_table, pareto_front, pick, run_front, write_pareto
from experiments.search.search import search
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace
from search_space.cost_table import CostTable
from search_space.network_cost import cost
from search_space.notation import parse
from search_space.options import SpaceOptions
from search_space.serialization import load_architecture
from strategies import Budget, FeasibleSet

OPERATORS = ["dw_k3", "dw_k7", "sep_k3", "skip"]
BUDGET = Budget(max_macs=60_000)


def a_config(name: str = "evolution", **more: Any) -> SearchConfig:
    options = {"nsga2": {"trials": 10, "population_size": 4}, "evolution": {"trials": 10}}.get(name, {})
    return SearchConfig(
        data=DataOptions("digits", image_size=8, max_train_images=80),
        space=SpaceOptions(width=0.25, operators=OPERATORS),
        budget=BUDGET,
        strategy=StrategyConfig(name, options),
        **{"finalists": 0, "fill": 0.0, **more},
    )


def a_space() -> SearchSpace:
    return SearchSpace.create(image_size=8, in_channels=1, classes=10, width=0.25, operators=OPERATORS)


def some(count: int, seed: int = 0) -> list[Scored]:
    """Different architectures inside the budget; what costs more tends to score better; every seventh failed."""
    space = a_space()
    rows = FeasibleSet(space.cost_table, BUDGET).sample_many(np.random.RandomState(seed), 3 * count)
    rng = np.random.default_rng(seed)
    scored: dict[Architecture, float] = {}
    for row in rows:
        architecture = space.architecture(space.cost_table.sample(row))
        accuracy = round(0.2 + cost(architecture).macs / 120_000 + rng.normal() * 0.05, 2)
        scored.setdefault(architecture, math.nan if len(scored) % 7 == 3 else accuracy)
    return [Scored(architecture, score, score) for architecture, score in list(scored.items())[:count]]


def a_front(scored: list[Scored], *objectives: str, table: CostTable | None = None) -> Front:
    space = a_space()
    return pareto_front(scored, space, table or space.cost_table, BUDGET, objectives or ("macs", "params"))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("objectives", [("macs",), ("macs", "params")])
def test_nothing_scored_beats_a_member_and_every_other_one_is_beaten(objectives: tuple[str, ...]) -> None:
    scored = some(60)
    front = a_front(scored, *objectives)

    def beats(one: Scored, other: Scored) -> bool:
        mine, theirs = (
            (-each.score, *(getattr(cost(each.architecture), name) for name in objectives)) for each in (one, other)
        )
        return all(a <= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs

    finite = [one for one in scored if math.isfinite(one.score)]
    expected = [one for one in finite if not any(beats(other, one) for other in finite)]
    assert {member.architecture for member in front.members} == {one.architecture for one in expected}
    assert 2 < len(expected) < len(finite)
    assert all(scored[member.trial] == Scored(member.architecture, *[member.accuracy] * 2) for member in front.members)
    macs = [member.costs["macs"] for member in front.members]
    assert macs == sorted(macs)


def test_the_files_hold_members_history_and_where_it_is_measured_from(tmp_path: Path) -> None:
    scored = some(60)
    front = a_front(scored)
    write_pareto(front, BUDGET, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    members = read(tmp_path / "pareto.csv")
    assert list(members[0]) == ["trial", "accuracy", "macs", "params", "architecture"]
    for row, member in zip(members, front.members, strict=True):
        architecture = parse(row["architecture"])
        assert architecture == member.architecture
        assert (int(row["macs"]), int(row["params"])) == (cost(architecture).macs, cost(architecture).params)
        assert float(row["accuracy"]) == member.accuracy
    history = read(tmp_path / "hypervolume.csv")
    assert [int(row["evaluations"]) for row in history] == list(range(1, 61))
    volumes = [float(row["hypervolume"]) for row in history]
    assert volumes == sorted(volumes)
    assert 0 < volumes[-1] < 1
    assert int(history[-1]["members"]) == len(members)
    low, high = a_space().cost_table.reachable()["macs"]
    fewest, most = a_space().cost_table.reachable()["params"]
    assert high > 60_000
    stated = {key: float(value) for key, value in history[0].items() if "_" in key}
    assert stated == {
        **{"reference_accuracy": 0, "reference_macs": 60_000, "reference_params": most},
        **{"ideal_accuracy": 1, "ideal_macs": low, "ideal_params": fewest},
    }
    picture = imread(tmp_path / "pareto.png")
    assert picture.shape[1] > picture.shape[0] > 500
    assert picture.std() > 0.05  # something is drawn
    before = {name: (tmp_path / name).read_bytes() for name in FILES[:2]}
    write_pareto(front, BUDGET, tmp_path)
    assert before == {name: (tmp_path / name).read_bytes() for name in FILES[:2]}


def test_the_last_hypervolume_is_that_of_the_members_counted_in_slabs() -> None:
    """Independent of pymoo: two objectives are a sum of rectangles."""
    front = a_front(some(60), "macs")
    low, high = front.reference.ideal["macs"], front.reference.worst["macs"]
    steps = [*((m.costs["macs"], m.accuracy) for m in front.members), (high, 0.0)]
    area = sum((right - left) * accuracy for (left, accuracy), (right, _) in itertools.pairwise(steps))
    assert front.volumes[-1] == pytest.approx(area / (high - low))


def test_a_pick_is_the_most_accurate_of_all_that_was_scored_and_fits() -> None:
    scored = some(60)
    front = a_front(scored)
    finite = [one for one in scored if math.isfinite(one.score)]
    for one in finite:
        macs, params = cost(one.architecture).macs, cost(one.architecture).params
        for wishes, fits in (
            ([str(macs)], lambda own, macs=macs, params=params: own.macs <= macs),
            ([f"params:{params}"], lambda own, macs=macs, params=params: own.params <= params),
            (
                [f"{macs / 1000}k", f"params:{params / 1e6}M"],
                lambda own, macs=macs, params=params: own.macs <= macs and own.params <= params,
            ),
        ):
            best = max(other.score for other in finite if fits(cost(other.architecture)))
            picked = pick(front, wishes)
            assert picked.accuracy == best
            assert fits(cost(picked.architecture))
            assert picked in front.members


def test_of_equally_accurate_ones_the_cheapest_is_picked() -> None:
    scored = [Scored(one.architecture, -0.7, 0.5) for one in some(30)]
    picked = pick(a_front(scored, "params"), ["params:10M"])
    assert picked.costs["params"] == min(cost(one.architecture).params for one in scored)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            ["1k"],
            r"pick: no architecture of the Pareto set has at most 1\.00k MACs; the smallest has [\d.]+k MACs",
        ),
        (
            ["1M", "params:1"],
            r"pick: no architecture of the Pareto set has at most 1\.00M MACs and at most 1 params; the smallest has"
            r" [\d.]+k MACs \(accuracy [\d.]+%\), the smallest has [\d.]+k params \(accuracy [\d.]+%\)$",
        ),
        (["ten"], "pick: 'ten' is not a number; write it like 16.7M, 850k or 1.2G"),
        (
            ["latency_ms:5"],
            "pick: 'latency_ms:5' bounds 'latency_ms', which is not an objective of this Pareto set",
        ),
        ([":5"], "pick: ':5' bounds 'nothing', which is not an objective"),
    ],
)
def test_wishes_that_cannot_be_kept_are_answered_in_a_line(wishes: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        pick(a_front(some(20)), wishes)
    assert "\n" not in str(caught.value)


def test_the_table_lists_every_member_and_marks_the_pick() -> None:
    front = a_front(some(60))
    picked = pick(front, [str(front.members[1].costs["macs"])])
    assert picked is not front.members[-1]
    lines = front_table(front, picked).splitlines()
    assert lines[0].split() == ["trial", "accuracy", "MACs", "params"]
    assert len(lines) == 1 + len(front.members) + 2
    (marked,) = [line for line in lines if "<- picked" in line]
    assert marked.split()[:2] == [str(picked.trial), f"{picked.accuracy:.2%}"]
    assert f"{len(front.members)} of 60 scored architectures" in lines[-2]
    assert "reference point: accuracy 0, 60.00k MACs" in lines[-1]
    assert "<- picked" not in front_table(front)


def written(folder: Path, scored: list[Scored], measure: str = "validation_accuracy") -> RunFolder:
    record = ScoreRecord(folder / "architectures.csv", [measure])
    for one in scored:
        record.add(one.architecture, one.score)
    return RunFolder(folder)


def test_any_run_that_scored_by_accuracy_has_a_pareto_set(tmp_path: Path) -> None:
    scored = some(30)
    front = run_front(written(tmp_path, scored), a_config())
    assert front.objectives == ("macs", "params")
    assert [m.trial for m in front.members] == [m.trial for m in a_front(scored).members]
    own = StrategyConfig("nsga2", {"objectives": ["params"]})
    assert run_front(RunFolder(tmp_path), SearchConfig(**{**vars(a_config()), "strategy": own})).objectives == (
        "params",
    )
    assert run_front(RunFolder(tmp_path), a_config(), ["macs"]).objectives == ("macs",)
    with pytest.raises(InvalidRequest, match="objectives: no cost table gives 'latency_ms'; known are macs, params"):
        run_front(RunFolder(tmp_path), a_config(), ["latency_ms"])


def test_a_run_that_scored_by_loss_has_the_pareto_set_of_its_accuracies(tmp_path: Path) -> None:
    scored = some(30)
    record = ScoreRecord(tmp_path / "architectures.csv", ["negative_validation_loss"])
    for number, one in enumerate(scored):
        record.add(one.architecture, float(number), one.accuracy)
    found = run_front(RunFolder(tmp_path), a_config()).members
    assert [(m.trial, m.accuracy) for m in found] == [(m.trial, m.accuracy) for m in a_front(scored).members]
    with pytest.raises(InvalidRequest, match=r"or not alike \(halving\)"):
        run_front(RunFolder(tmp_path), a_config("halving"))


def test_costs_of_ones_own_count_too(tmp_path: Path) -> None:
    table = a_space().cost_table
    costs = {label: {name: float(name.startswith("dw")) for name in names} for label, names in table.candidates.items()}
    save_costs(tmp_path / "latency.json", "latency_ms", "ms", 0.25, costs)
    run = written(tmp_path, some(30))
    front = run_front(run, a_config(costs=[str(tmp_path / "latency.json")]), ["latency_ms"])
    for member in front.members:
        depthwise = sum(block.operator.startswith("dw") for block in member.architecture.blocks)
        assert member.costs["latency_ms"] == depthwise + 0.25
    most = front.members[0].costs["latency_ms"]
    assert pick(front, [f"latency_ms:{most}"]) == front.members[0]
    for value, message in (
        ("fast", "is not a number; write it like latency_ms:5.0"),
        ("-1", "must be a number of at least 0"),
    ):
        with pytest.raises(InvalidRequest, match=message):
            pick(front, [f"latency_ms:{value}"])
    write_pareto(front, BUDGET, tmp_path)
    assert list(read(tmp_path / "pareto.csv")[0]) == [
        *("trial", "accuracy", "macs", "params", "latency_ms", "architecture")
    ]


def test_runs_without_accuracies_are_refused(tmp_path: Path) -> None:
    run = written(tmp_path, some(1), "log_probability")
    with pytest.raises(
        InvalidRequest, match=r"has not measured the accuracies of architectures, or not alike \(gdas\); give a run"
    ):
        run_front(run, a_config("gdas"))
    failed = [Scored(one.architecture, math.nan, math.nan) for one in some(3)]
    with pytest.raises(InvalidRequest, match=r"run: no architecture has an accuracy yet; continue the search"):
        a_front(failed)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_search_by_nsga2_gives_a_pareto_set_that_holds_its_winner(tmp_path: Path) -> None:
    config = a_config("nsga2", accelerator="cpu")
    run = search(config, tmp_path / "run")
    front = run_front(run, config)
    assert len(front.accuracies) == 10
    best = pick(front, ["60k"])
    assert best.accuracy == np.nanmax(front.accuracies)
    winner = load_architecture(run.winner)
    accuracy = {row["architecture"]: float(row["score"]) for row in read(run.architectures)}
    assert accuracy[str(winner)] == best.accuracy
    assert cost(winner).macs == best.costs["macs"]
    write_pareto(front, config.budget, run.path)
    assert {*FILES, "winner.json"} <= {path.name for path in run.path.iterdir()}
