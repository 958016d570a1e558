"""Every strategy that a config can name, from config to winner: inside the budget, repeatable, resumed when killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import Killed, outcome, rows, tiny_config

import experiments.runs.task as task_module
import experiments.runs.trainings as trainings_module
import experiments.search.trials as trials_module
from evaluators.measuring.inherited import Quality
from evaluators.training import callbacks as callbacks_module
from experiments.options.config import SearchConfig
from experiments.runs.folder import RunFolder
from experiments.search.search import search
from search_space.base.errors import InvalidRequest
from search_space.network_cost import cost
from search_space.notation import parse
from strategies.multi_trial import policy_rl
from strategies.registry import STRATEGIES

#: reachable are 82.6k to 179.2k
BUDGET = 110_000
TRIALS = 5
EPOCHS = 2
MULTI_TRIAL = [name for name, strategy in STRATEGIES.items() if strategy.kind == "multi-trial"]
#: what makes each strategy learn something in so few trials
OPTIONS: dict[str, dict[str, Any]] = {
    "evolution": {"population_size": 3, "sample_size": 2},
    "halving": {"rungs": 2, "startup": 2},
    "nsga2": {"population_size": 3},
    "predictor": {"startup": 2},
    "tpe": {"n_startup_jobs": 2},
    "policy-rl": {"samples_per_update": 2},
}
needs_tianshou = pytest.mark.skipif(find_spec("tianshou") is None, reason="tianshou is an optional dependency")


def each(*names: str) -> pytest.MarkDecorator:
    """One test for each of ``names``; that of policy-rl where its packages are."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=needs_tianshou) if name == "policy-rl" else name for name in names]
    )


def config(name: str, *, seed: int = 0, scoring: str = "supernet") -> SearchConfig:
    if name == "halving":
        scoring = "training"
    options = {**OPTIONS.get(name, {}), **({"trials": TRIALS, "scoring": scoring} if name in MULTI_TRIAL else {})}
    epochs = EPOCHS if scoring == "supernet" or name == "halving" else 1
    return tiny_config(
        budget={"max_macs": BUDGET},
        strategy={"name": name, "options": options},
        search={"epochs": epochs, "batch_size": 32, "warmup_epochs": 0},
        jobs=1,
        seed=seed,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RunFolder]:
    """The run of a strategy that was never interrupted."""

    @cache
    def run(name: str) -> RunFolder:
        return search(config(name), tmp_path_factory.mktemp(name) / "run")

    return run


Whole = Callable[[str], RunFolder]


@each(*STRATEGIES)
def test_winner_and_all_that_was_scored_are_inside_the_budget(whole: Whole, name: str) -> None:
    scored = rows(whole(name).architectures)
    winner = whole(name).read_winner()
    assert cost(winner).macs <= BUDGET
    assert str(winner) in [row["architecture"] for row in scored]
    for row in scored:
        own = cost(parse(row["architecture"]))
        assert own.macs <= BUDGET
        assert (int(row["macs"]), int(row["params"])) == (own.macs, own.params)
    if name in MULTI_TRIAL:
        sizes = config(name).strategy.typed_options().rung_sizes
        assert len(scored) == sum(sizes)
        if name != "policy-rl":  # which may ask again, as in NNI
            assert len({row["architecture"] for row in scored}) == TRIALS
        furthest = scored[-sizes[-1] :]  # of one rung all
        best = max(float(row["score"]) for row in furthest)
        assert str(winner) in [row["architecture"] for row in furthest if float(row["score"]) == best]
    else:
        assert [row["measure"] for row in scored] == ["log_probability"]


@each(*STRATEGIES)
def test_same_seed_gives_the_same_search_and_another_seed_another(whole: Whole, tmp_path: Path, name: str) -> None:
    search(config(name), tmp_path / "again")
    assert outcome(tmp_path / "again") == outcome(whole(name).path)
    search(config(name, seed=1), tmp_path / "other")
    assert outcome(tmp_path / "other") != outcome(whole(name).path)


# those that score one by one all train their supernet alike
@each(*(name for name in STRATEGIES if name not in MULTI_TRIAL), "evolution")
@pytest.mark.parametrize("saved", [False, True], ids=["before the second resume point", "after the first"])
def test_search_killed_between_epochs_goes_on_to_the_same_result(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, saved: bool
) -> None:
    def die(self: Any, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 1:
            raise Killed
        original(self, trainer, module)
        if saved:
            raise Killed

    original = callbacks_module.ResumePoint.on_train_epoch_end
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(callbacks_module.ResumePoint, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            search(config(name), out)
    assert (out / "search" / callbacks_module.CHECKPOINT_FILE).exists()
    search(config(name), out, resume=True)
    assert outcome(out) == outcome(whole(name).path)
    assert not (out / "search" / callbacks_module.CHECKPOINT_FILE).exists()


@each(*(name for name in MULTI_TRIAL if name != "halving"))
def test_search_killed_while_judging_goes_on_to_the_same_result(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    expected = outcome(whole(name).path)
    trial, judged = TRIALS - 1, 0  # by then all of them have learned from scores

    def judge(self: Any, network: Any) -> Quality:
        nonlocal judged
        judged += 1
        if judged == trial + 1:
            raise Killed
        return original(self, network)

    original = trials_module.InheritedQuality.__call__
    monkeypatch.setattr(trials_module.InheritedQuality, "__call__", judge)
    out = tmp_path / "run"
    with pytest.raises(Killed):
        search(config(name), out)
    assert len(rows(out / "architectures.csv")) == trial
    search(config(name), out, resume=True)
    assert judged == TRIALS + 1  # what was scored is not judged again
    assert outcome(out) == expected


@each(*(name for name in MULTI_TRIAL if name != "random-one-shot"))
def test_candidates_trained_on_their_own_are_resumed_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A made-up accuracy stands for the training; `tests/experiments/test_search.py` trains."""
    own = config(name, scoring="training")
    die_at: int | None = 2
    judged = 0

    def train(architecture: Any, data: Any, recipe: Any, run: Any, *, on_epoch: Any, **_: Any) -> Any:
        nonlocal judged
        assert run.measure_on == "validation"
        if judged == die_at:
            raise Killed
        judged += 1
        if on_epoch is not None:
            on_epoch({"epoch": 0, "seconds": 1.0, "train_loss": cost(architecture).macs % 89 / 89})
        return Accuracy(cost(architecture).macs % 97 / 97)

    monkeypatch.setattr(trainings_module, "retrain", train)
    with pytest.raises(Killed):
        search(own, tmp_path / "killed")
    die_at = None
    search(own, tmp_path / "killed", resume=True)
    assert judged == sum(own.strategy.typed_options().rung_sizes)
    search(own, tmp_path / "whole")
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


@dataclass(frozen=True)
class Accuracy:
    accuracy: float
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        return -self.accuracy


# --- requests that cannot work ---


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*args: Any, **options: Any) -> None:
        raise AssertionError("images were decoded")

    monkeypatch.setattr(task_module, "load_data", decode)


@pytest.mark.usefixtures("no_images")
def test_policy_without_tianshou_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_rl, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest) as caught:
        search(config("policy-rl"), tmp_path / "run")
    assert str(caught.value) == (
        "strategy.name: policy-rl needs tianshou, which is not installed; pip install tianshou==0.4.11 gym==0.26.2"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"strategy": {"name": "nsga2", "options": {"objectives": ["latency"]}}},
            "strategy.options.objectives: no cost table gives 'latency'; known are macs, params",
        ),
        (
            {"strategy": {"name": "enas", "options": {"reward_metric_name": "f1"}}},
            "strategy.options.reward_metric_name: 'f1' is unknown; known are val_accuracy, val_loss",
        ),
        (
            {"strategy": {"name": "random-one-shot", "options": {"scoring": "training"}}},
            "config 'test': strategy.options.scoring: 'training' is what strategy random does",
        ),
        ({"search": {"precision": "fp16"}}, "recipe.precision: 'fp16' cannot be used in a search: strategies step"),
        (
            {"search": {"ema_decay": 0.9}},
            "recipe.ema_decay: 0.9 cannot be used in a search: a supernet's weights are not averaged",
        ),
        (
            {"search": {"compile": True}, "strategy": {"name": "tpe"}},
            "recipe.compile: True cannot be used in a search: every path",
        ),
        (
            {"search": {"precision": "fp16"}, "strategy": {"name": "random", "options": {"scoring": "training"}}},
            "recipe.precision: fp16 needs a GPU",
        ),
    ],
)
def test_what_no_search_can_do_is_refused_before_anything_is_done(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        search(tiny_config(**changes), tmp_path / "run")
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "run").exists()
