"""``sepnas latency``: one network's time, and tables that a killed run goes on with and a search takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from evaluators.latency.backends import make_backend
from experiments import latency as latency_module
from experiments.latency import fit_text, latency_text, network_latency, write_table
from experiments.options.config import SearchConfig
from experiments.options.files import make_config
from experiments.runs.task import SearchTask
from search_space.architecture import Architecture
from search_space.base.errors import InvalidRequest
from search_space.cost_file import load_costs
from search_space.hand_designed import baseline
from search_space.serialization import save_architecture
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet

VALUES = {
    "data": {"name": "digits", "image_size": 8},
    "space": {"width": 0.25, "operators": ["dw_k3", "sep_k3", "skip"], "widths": [1.0]},
}
CONFIG = make_config(VALUES, "test")
QUICK: dict[str, Any] = {"repeats": 3, "rounds": 2, "networks": 6}


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of the small space, timed on this machine."""
    out = tmp_path_factory.mktemp("latency") / "latency.json"
    write_table(CONFIG, out, make_backend("pytorch-cpu"), **QUICK)
    return out


# --- one network ---


def test_the_time_of_a_baseline(said: Any) -> None:
    options = ("mobilenetv3-small", "--width", 0.25, "--input", 16, "--batch", 2, "--repeats", 7, "--threads", 1)
    value = json.loads(said("latency", *options, "--json"))
    assert value["network"] == "mobilenetv3-small"
    assert (value["backend"], value["threads"], value["batch"], value["repeats"]) == ("pytorch-cpu", 1, 2, 7)
    assert 0 < value["lower_ms"] <= value["median_ms"] <= value["upper_ms"]
    assert value["version"] == f"torch {torch.__version__}"
    text = said("latency", *options)
    assert "per batch of 2" in text
    assert "pytorch-cpu, 1 thread, torch" in text
    assert "calls after 10 for warm-up" in text


def test_median_and_quartiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency_module, "measure_latency", lambda *args, **options: [5, 1, 2, 4, 3])
    value = network_latency(baseline("mobilenetv2"), "a", make_backend("pytorch-cpu"), repeats=5)
    assert (value["median_ms"], value["lower_ms"], value["upper_ms"], value["counted"]) == (3, 2, 4, 5)
    assert not value["disturbed"]


def test_a_disturbed_measurement_says_so() -> None:
    value: dict[str, Any] = {
        "network": "a",
        "backend": "cuda",
        "threads": 2,
        "batch": 1,
        "version": "v",
        "processor": "p",
    }
    value |= {"warmup": 10, "counted": 100, "median_ms": 1.0, "lower_ms": 0.9, "upper_ms": 1.25}
    assert latency_text({**value, "disturbed": False}).splitlines() == [
        "a: 1 ms (quartiles 0.9 to 1.25) per batch of 1",
        "  cuda, 2 threads, v, p; 100 calls after 10 for warm-up",
    ]
    assert "repeat it on an idle machine" in latency_text({**value, "disturbed": True})


def test_the_time_of_an_architecture_file(said: Any, tmp_path: Path) -> None:
    save_architecture(baseline("mobilenetv3-small", image_size=8, width=0.25), tmp_path / "mine.json")
    assert "mine.json: " in said("latency", tmp_path / "mine.json", "--repeats", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "network: give one, or --table CONFIG for a whole search space"),
        (("mobilenetv3-small", "--table", "digits"), "network: give one, or --table CONFIG for a whole search space"),
        (("mobilenetv3-small", "--out", "x.json"), "--out: x.json goes with --table only; leave it out"),
        (("mobilenetv3-small", "--rounds", "3"), "--rounds: 3 goes with --table only; leave it out"),
        (("--table", "digits", "--width", "2"), "--width: 2.0 does not go with --table; leave it out"),
        (("--table", "digits"), "--out: missing; name the file for the table, such as latency.json"),
        (("mobilenetv3-small", "--threads", "0"), "threads: 0 must be a whole number of at least 1"),
        (("mobilenetv3-small", "--batch", "0"), "batch: 0 must be a whole number of at least 1"),
        (("mobilenetv3-small", "--repeats", "0"), "repeats: 0 must be a whole number of at least 1"),
        (("--table", "digits", "--out", "x.json", "--rounds", "0"), "rounds: 0 must be a whole number of at least 1"),
        (
            ("--table", "digits", "--out", "x.json", "--networks", "0"),
            "networks: 0 must be a whole number of at least 1",
        ),
        (
            ("--table", "digits", "--out", "x.json", "--metric", "macs"),
            "metric: 'macs' is not a name for another cost; give one such as latency_ms",
        ),
        (
            ("--table", "digits", "--out", "no/x.json"),
            "out: no is not a folder that can be written to; give another file",
        ),
        (("--table", "digits", "--out", "."), "out: . is a folder; give a file such as latency.json"),
    ],
)
def test_wrong_requests(
    options: tuple[str, ...], message: str, refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused("latency", *options) == f"{message}"
    assert not list(tmp_path.iterdir())


# --- tables ---


def test_the_file_is_one_of_costs_with_what_made_it(table: Path) -> None:
    values = json.loads(table.read_text())
    assert (values["format"], values["version"]) == ("sepnas-costs", 1)
    assert (values["metric"], values["unit"]) == ("latency_ms", "ms")
    space = SearchTask(CONFIG).space
    assert {label: tuple(own) for label, own in values["costs"].items()} == space.cost_table.candidates
    made = values["measurement"]
    assert (made["backend"], made["threads"], made["batch"]) == ("pytorch-cpu", 1, 1)
    assert (made["image_size"], made["in_channels"], made["classes"], made["macro"]) == (8, 1, 10, "mobilenetv3-small")
    assert (made["repeats"], made["rounds"]) == (3, 2)
    assert not table.with_name("latency.json.partial").exists()


def test_the_stated_error_is_that_of_the_networks_that_are_listed(table: Path) -> None:
    validation = json.loads(table.read_text())["validation"]
    pairs = [(row["predicted_ms"], row["measured_ms"]) for row in validation["measured_networks"]]
    assert validation["networks"] == len(pairs) == 6
    assert validation["mape"] == pytest.approx(sum(abs(p - m) / m for p, m in pairs) / 6)
    assert validation["bias"] == pytest.approx(sum((p - m) / m for p, m in pairs) / 6)
    tried = validation["tried"]
    assert set(tried) == {"none", "fixed", "block", "scale"}
    assert tried[validation["correction"]]["mape"] == validation["mape"] <= tried["none"]["mape"]
    for row in validation["measured_networks"]:
        SearchTask(CONFIG).space.architecture(row["sample"])


def test_a_search_can_be_bounded_by_the_table(table: Path) -> None:
    own = load_costs(table).added_to(SearchTask(CONFIG).space.cost_table)
    low, high = own.reachable()["latency_ms"]
    assert 0 < low < high
    middle = (low + high) / 2
    feasible = FeasibleSet(own, Budget(max_costs={"latency_ms": middle}))
    assert 0 < feasible.share < 1
    sample = feasible.best({label: torch.ones(len(names)).numpy() for label, names in own.candidates.items()})
    values = json.loads(table.read_text())
    total = values["fixed"] + sum(values["costs"][label][name] for label, name in sample.items())
    assert total <= middle * (1 + 1e-9)


def test_random_networks_differ_and_follow_the_seed() -> None:
    def drawn(config: SearchConfig, count: int, seed: int) -> list[Architecture]:
        task = SearchTask(replace(config, seed=seed))
        return task.draw(FeasibleSet(task.space.cost_table, Budget()), count, "latency")

    one = drawn(CONFIG, 20, 0)
    assert one == drawn(CONFIG, 20, 0) != drawn(CONFIG, 20, 1)
    assert len(set(one)) == 20
    small = make_config({**VALUES, "space": {"operators": ["dw_k3"], "widths": [1.0]}}, "test")
    assert len(drawn(small, 5, 0)) == SearchTask(small).space.size == 1


def test_a_killed_table_goes_on_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, partial = tmp_path / "t.json", tmp_path / "t.json.partial"
    real, writes = latency_module.write_json, 0

    def killing(path: Path, value: Any) -> None:
        nonlocal writes
        real(path, value)
        writes += 1
        if writes == 9:
            raise Killed

    monkeypatch.setattr(latency_module, "write_json", killing)
    with pytest.raises(Killed):
        write_table(CONFIG, out, make_backend("pytorch-cpu"), **QUICK)
    monkeypatch.setattr(latency_module, "write_json", real)
    assert not out.exists()
    kept = json.loads((partial / "timings.json").read_text())
    assert sum(map(len, kept.values())) == 9
    capsys.readouterr()
    write_table(CONFIG, out, make_backend("pytorch-cpu"), **QUICK)
    assert f"9 of {2 * (len(kept))} timings are in {partial} already" in capsys.readouterr().out
    assert out.exists()
    assert not partial.exists()


def test_timings_made_another_way_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, partial = tmp_path / "t.json", tmp_path / "t.json.partial"
    partial.mkdir()

    def kill(*arguments: Any, **options: Any) -> None:
        options["on_round"]({"stem": [1.0]})
        raise Killed

    monkeypatch.setattr(latency_module, "time_in_rounds", kill)
    with pytest.raises(Killed):
        write_table(CONFIG, out, make_backend("pytorch-cpu", 2), **QUICK)
    with pytest.raises(
        InvalidRequest,
        match=r"^out: .*t\.json\.partial holds timings made differently: threads was 2 and is now 1; delete it or give",
    ):
        write_table(CONFIG, out, make_backend("pytorch-cpu", 1), **QUICK)
    (partial / "mine.txt").write_text("keep")
    with pytest.raises(InvalidRequest, match=r"^out: .*t\.json\.partial holds mine\.txt beside timings; move it or"):
        write_table(CONFIG, out, make_backend("pytorch-cpu", 2), **QUICK)
    (partial / "mine.txt").unlink()
    (partial / "timings.json").write_text("{")
    with pytest.raises(InvalidRequest, match=r"^out: .*timings\.json is damaged; delete .*t\.json\.partial to start"):
        write_table(CONFIG, out, make_backend("pytorch-cpu", 2), **QUICK)


def test_the_command_writes_a_table_and_tells_its_error(said: Any, refused: Any, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(VALUES))
    out = tmp_path / "t.json"
    options = ("--table", tmp_path / "given.yaml", "--out", out, "--repeats", 2, "--rounds", 1, "--networks", 2)
    text = said("latency", *options, "--metric", "ms_here")
    assert "prediction error on 2 random networks of the space:" in text
    assert "sum of the parts                       MAPE " in text
    assert f"table: {out}" in text
    assert load_costs(out).metric == "ms_here"
    assert refused("latency", *options) == (f"out: {out} is there already; give another file or --overwrite")
    said("latency", *options, "--overwrite")
    assert load_costs(out).metric == "latency_ms"


def test_the_correction_is_told(table: Path) -> None:
    from evaluators.latency.table import Agreement, FittedTable, LatencyTable

    good, bad = Agreement(8, 0.02, 0.001, 0.9, 0.95), Agreement(8, 0.3, -0.3, 0.9, 0.95)
    fitted = FittedTable(
        LatencyTable(1.0, {}), "fixed", 0.25, good, {"none": bad, "fixed": good}, torch.ones(8).numpy()
    )
    lines = fit_text(fitted).splitlines()
    assert lines[1].endswith("MAPE 30.0%, bias -30.0%, Kendall's tau 0.90, Spearman's rho 0.95")
    assert lines[2].endswith("MAPE 2.0%, bias +0.1%, Kendall's tau 0.90, Spearman's rho 0.95  <- taken")
    assert lines[3].startswith("correction: +0.25 ms; its error is that of networks left out")
