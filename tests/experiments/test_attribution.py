"""What operators are worth: which networks are trained, what is said of them, and that nothing is trained twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.trainings import make_run, pretend
from PIL import Image

import experiments.training.retrain as retrain_module
from evaluators.measuring.statistics import paired_difference
from experiments.attribution.report import Attributed, as_markdown, ranked, verdict
from experiments.attribution.swaps import KINDS, Swap, swaps
from experiments.cli import main
from experiments.runs.folder import RUN, RunFolder
from experiments.runs.provenance import provenance
from experiments.training.retrain import Result
from search_space import Architecture, baseline, cost
from search_space.serialization import save_architecture

CONDITIONS = {"recipe": {"epochs": 1, "batch_size": 8, "learning_rate": 0.1}, "train_on": "train"}


def winner(**operators: str) -> Architecture:
    network = baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.25)
    return network.with_operators({int(name.removeprefix("b")): operator for name, operator in operators.items()})


def test_blocks_families_and_all_operators_are_swapped_once() -> None:
    network = winner(b1="xsep_k3", b3="xsep_k5", b5="c4sp")
    found = {swap.name: swap for swap in swaps(network, KINDS, "macs")}
    assert {name: swap.blocks for name, swap in found.items()} == {
        "swap-block1": (1,),
        "swap-block3": (3,),
        "swap-block5": (5,),
        "swap-xsep": (1, 3),
        "swap-all": (1, 3, 5),
    }
    assert found["swap-xsep"].label == "every xsep"
    assert found["swap-xsep"].operators == "xsep_k3 -> dw_k3, xsep_k5 -> dw_k5"
    assert (found["swap-block5"].family, found["swap-all"].family) == ("c4sp", None)
    for swap in found.values():
        assert cost(swap.network).macs == pytest.approx(cost(network).macs, rel=0.01)
    names = [[swap.name for swap in swaps(network, [kind], "macs")] for kind in ("families", "all")]
    assert names == [["swap-xsep", "swap-c4sp"], ["swap-all"]]


def test_plain_winners_have_nothing_to_swap(tmp_path: Path, refused: Callable[..., str]) -> None:
    run = make_run(tmp_path / "run")
    save_architecture(winner(), run / "winner.json")
    told = refused("attribute", run)
    assert told == f"run: the winner of {run} has only plain depthwise convolutions; nothing to swap"


def test_wrong_requests_are_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    run = make_run(tmp_path / "run")
    assert refused("attribute", run, "--swaps", "block").startswith("--swaps: 'block' is unknown; known are blocks, fa")
    assert refused("attribute", run, "--jobs", "0").startswith("jobs: 0 must be null or a whole number of at least 1")
    assert "seeds" in refused("attribute", run, "--seeds", "1,1")
    (run / "winner.json").unlink()
    assert "has no winner yet" in refused("attribute", run)
    assert "holds no run" in refused("attribute", tmp_path)


def test_trainings_are_kept_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str], refused: Callable[..., str]
) -> None:
    run = make_run(tmp_path / "run")
    save_architecture(winner(b1="xsep_k3", b3="xsep_k5"), run / "winner.json")

    def accuracy(name: str, seed: int) -> float:
        if len(trained) == 4:
            raise KeyboardInterrupt
        return 0.5 + 0.01 * seed - 0.1 * ("block 3" in name) - (0.05 + 0.001 * seed) * ("every" in name)

    trained = pretend(monkeypatch, accuracy)
    assert main(["attribute", str(run), "--jobs", "1"]) == 130
    assert not (run / "attribution").exists()
    text = said("attribute", run, "--jobs", 1)
    wanted = [
        (name, seed)
        for name in ("gdas winner", "block 1: xsep_k3", "block 3: xsep_k5", "every xsep")
        for seed in (0, 1)
    ]
    assert sorted(set(trained)) == sorted(wanted)
    assert len(trained) == len(wanted) + 1, "only what was interrupted is trained again"
    table = pd.read_csv(run / "attribution" / "attribution.csv")
    assert list(table["swap"]) == ["block 3: xsep_k5", "every xsep", "block 1: xsep_k3"]
    assert list(table["worth_mean"]) == pytest.approx([0.1, 0.0505, 0.0])
    assert list(table["n"]) == [2, 2, 2]
    # equal differences: the sign test's p of two seeds; 12.706 is Student's t for one degree of freedom
    assert table["p"].iloc[0] == 0.5
    assert table["worth_high95"].iloc[1] == pytest.approx(0.0505 + 12.706 * 0.001 / 2, abs=1e-5)
    assert (table["macs_change"].abs() < 0.01).all()
    assert "| every xsep | xsep_k3 -> dw_k3, xsep_k5 -> dw_k5 | +5.05 |" in text
    assert "corrected by Holm for the 3 comparisons" in text
    assert "(attribution.png)" in text
    with Image.open(run / "attribution" / "attribution.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    # another seed alone is trained for more of them
    before = len(trained)
    said("attribute", run, "--jobs", 1, "--seeds", "0,1,2", "--swaps", "families", "--out", tmp_path / "elsewhere")
    assert trained[before:] == [("gdas winner", 2), ("every xsep", 2)]
    assert list(pd.read_csv(tmp_path / "elsewhere" / "attribution.csv")["n"]) == [3]
    # what was trained another way stays
    about = run / "retrain" / "swap-xsep" / "about.json"
    about.write_text(about.read_text().replace('"epochs": 2', '"epochs": 5'))
    assert "recipe.epochs was 5 and is now 2" in refused("attribute", run, "--jobs", 1)


def test_several_trainings_at_once_leave_what_one_after_the_other_leaves(
    tmp_path: Path, said: Callable[..., str]
) -> None:
    tables = []
    for jobs in (1, 2):
        run = make_run(tmp_path / f"run{jobs}", retrain={"recipe": {"epochs": 1, "warmup_epochs": 0}, "seeds": [0]})
        save_architecture(winner(b3="c4sp"), run / "winner.json")
        text = said("attribute", run, "--jobs", jobs)
        assert "One training of each says nothing of chance" in text
        assert {path.name for path in (run / "retrain" / "swap-block3" / "seed0").iterdir()} >= {
            "result.json",
            "weights.safetensors",
        }
        tables.append(pd.read_csv(run / "attribution" / "attribution.csv").drop(columns="seconds_mean"))
    pd.testing.assert_frame_equal(*tables)


def test_a_training_that_diverges_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    save_architecture(winner(b3="c4sp"), run / "winner.json")

    def train(*_: Any) -> dict[str, Any]:
        return {"seed": 0, "error": "block 3 diverged"}

    monkeypatch.setattr(retrain_module, "_train_one", train)
    assert main(["attribute", str(run), "--jobs", "1"]) == 1
    assert "block 3 diverged; in all, seed 0, 1 diverged and 0 of 2 seeds succeeded" in capsys.readouterr().err


def attributed(*swaps_: tuple[str, list[float]], own: list[float]) -> tuple[list[Attributed], Result]:
    network = winner()

    def result(name: str, accuracies: list[float]) -> Result:
        seconds = [1.0] * len(accuracies)
        return Result(name, network, list(range(len(accuracies))), accuracies, seconds, 360, provenance(0, "cpu"))

    best = result("best one", own)
    trained = []
    for name, accuracies in swaps_:
        swap = Swap(f"swap-{name}", name, (0,), "a -> b", name, network)
        other = result(name, accuracies)
        trained.append((swap, other, paired_difference(best.by_seed, other.by_seed)))
    return ranked(trained), best


def test_a_verdict_counts_the_comparisons() -> None:
    own = [0.9, 0.91, 0.92, 0.9]
    clearly = ("xsep", [0.80, 0.811, 0.821, 0.80])
    maybe = ("sep", [0.88, 0.90, 0.90, 0.885])
    rows, best = attributed(clearly, maybe, own=own)
    assert [row.swap.label for row in rows] == ["xsep", "sep"]
    # alone the second would be significant too; of ten it is not
    assert [row.is_shown for row in rows] == [True, True]
    text = verdict(rows, best)
    assert text.startswith("The operators of the best one matter: plain depthwise is worse in place of xsep (+9.95")
    assert "sep (+1.63 points) (Holm's correction for 2 comparisons, paired over 4 seeds)." in text
    equal = [(f"block {number}", [0.9, 0.911, 0.92, 0.899]) for number in range(8)]
    rows, best = attributed(maybe, *equal, own=own)
    assert rows[0].worth.p is not None
    assert rows[0].worth.p < 0.05 < (rows[0].corrected or 0)
    text = verdict(rows, best)
    assert text.startswith("It is not shown that the operators of the best one matter: no swap differs from it by more")
    assert "Holm's correction for 9 comparisons" in text
    assert "the largest is sep (+1.63 points), p = 0." in text


def test_a_swap_that_is_better_is_said_to_be() -> None:
    rows, best = attributed(("xsep", [0.95, 0.961, 0.97]), own=[0.9, 0.91, 0.92])
    assert "matter: better in place of xsep (-5.03 points) (Holm's correction for 1 comparison," in verdict(rows, best)


def test_swaps_that_do_not_cost_the_same_are_named() -> None:
    rows, best = attributed(("xsep", [0.8, 0.81, 0.83]), own=[0.9, 0.91, 0.92])
    assert "not an equal" not in as_markdown(rows, best, "any", CONDITIONS, metric="macs")
    small = baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.2)
    rows = [replace(row, swap=replace(row.swap, network=small)) for row in rows]
    page = as_markdown(rows, best, "any", CONDITIONS, metric="params")
    assert "More than 5% from the winner's params, so not an equal comparison: xsep." in page


def test_runs_delete_their_attribution_with_all_else(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).attribution.name in RUN.files
