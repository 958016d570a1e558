"""The papers' tables as runs: what stands in them, that every row is a network, and that killed runs go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.trainings import pretend
from PIL import Image

import experiments.reproduce.run as run_module
from evaluators.training.presets import recipe
from experiments.cli import main
from experiments.options.config import SearchConfig
from experiments.reproduce.report import report_files
from experiments.reproduce.run import Reproduction
from experiments.reproduce.table import PaperTable, Published, Row, shortened
from experiments.reproduce.tables import TABLES
from experiments.runs.task import DataTask
from search_space import cost

#: a training of about half a second
TINY = (*("--epochs", 1, "--width", 0.25, "--jobs", 1, "--accelerator", "cpu"), "--data.max_train_images", 80)
SMALL = (*TINY, "--data.image_size", 8)


class Sizes:
    """The images of a setting, of which networks need to know the sizes alone."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_a_network_for_the_papers_images_and_for_ours(name: str, tmp_path: Path) -> None:
    table = TABLES[name]
    for setting, paper in table.settings.items():
        config = SearchConfig()
        for size, channels, classes, width in ((paper.image_size, 3, paper.classes, 1.0), (32, 1, 10, 0.25)):
            wanted = Reproduction(table, setting, config, tmp_path, width)
            task: Any = Sizes({"image_size": size, "in_channels": channels, "classes": classes})
            networks = [wanted.network(row, task) for row in table.rows if row.network is not None]
            assert all(cost(network).macs > 0 for network in networks)
            # rows differ, or the table would compare nothing
            assert len(set(map(str, networks))) == len(networks)


@pytest.mark.parametrize("name", TABLES)
def test_the_published_figures_bear_out_what_the_paper_concludes(name: str) -> None:
    table = TABLES[name]
    rows = {row.label: row for row in table.rows}
    # of these two the paper says that they are comparable
    assert table.claims or name in ("even-kernel-figure-4-densenet", "even-kernel-table-1")
    for better, worse in table.claims:
        for setting in table.settings:
            pair = [rows[label].published.get(setting) for label in (better, worse)]
            if pair[0] is not None and pair[1] is not None:
                lead = pair[0].value - pair[1].value
                assert lead < 0 if table.measure == "distance" else lead > 0, (better, worse, setting)


def test_figures_of_the_papers_are_theirs() -> None:
    def printed(name: str, label: str, setting: str) -> str:
        return str(next(row for row in TABLES[name].rows if row.label == label).published[setting])

    assert printed("xsepconv-table-1", "XSepConv", "tiny-imagenet") == "59.82"
    assert printed("bsconv-table-1", "mobilenetv3-large (BSConv) x0.75", "cifar100") == "77"
    assert printed("bsconv-table-2", "WideResNet-40-8 (BSConv-U)", "cifar10") == "95.2"
    assert printed("even-kernel-table-1", "110 C2sp", "cifar100-mixup") == "80.48 ± 0.1"
    assert printed("hybrid-figure-6", "DarkNet", "cifar10") == "88.1"


def test_a_shorter_training_keeps_the_shares_of_the_schedule() -> None:
    steps = shortened(recipe("bsconv-cifar"), 20)
    assert (steps.epochs, steps.milestone_epochs) == (20, [10, 15, 18])
    assert shortened(recipe("xsepconv-cifar"), 40).warmup_epochs == 0.5
    assert shortened(recipe("xception-imagenet"), 10).decay_epochs == pytest.approx(0.2)


def test_a_table_that_contradicts_itself_is_a_mistake() -> None:
    rows = (Row("one", "resnet-20", {}), Row("two", "resnet-56", {}))
    with pytest.raises(ValueError, match="two rows have one label"):
        PaperTable("t", "s", "s", (*rows, rows[0]), {})
    with pytest.raises(ValueError, match="no row is called three"):
        PaperTable("t", "s", "s", rows, {}, claims=(("one", "three"),))
    with pytest.raises(ValueError, match="no setting is called cifar10"):
        PaperTable("t", "s", "s", (Row("one", "resnet-20", {"cifar10": Published(1.0)}),), {})


def test_rows_go_on_where_they_were_killed_and_tables_share_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str], refused: Callable[..., str]
) -> None:
    def accuracy(name: str, seed: int) -> float:
        if len(trained) == 5:
            raise KeyboardInterrupt
        return 0.9 + 0.01 * seed + (0.02 + 0.001 * seed) * ("XSepConv" in name)

    trained = pretend(monkeypatch, accuracy)
    out = tmp_path / "out"
    command: Any = ("reproduce", "xsepconv-table-1", "--out", out, "--seeds", 2, *SMALL)
    assert main([str(part) for part in (*command[:5], 3, *command[6:])]) == 130
    # the first row is there already, and the second has begun
    page = (out / "xsepconv-table-1.md").read_text()
    assert "| DWConv | mobilenetv3-small |" in page
    assert "| XSepConv | mobilenetv3-small-xsep |  |  | 93.24 | not trained yet |  |  |" in page
    before = len(trained)
    text = said(*command)
    assert trained[before:] == [("xsepconv-table-1: XSepConv", 1)]
    assert "| XSepConv over DWConv | +0.27 | +2.05 | 1.41 to 2.69 | 0.016 | so |" in text
    for line in (
        *("- channels: ours 1 (grey), the paper's 3", "- epochs: ours 1, the paper's 400"),
        "- width: each network's channels times 0.25",
        "- trainings: ours 2 or 3 of each row; the paper's 5",
    ):
        assert line in text
    assert "digits: 80 and 360 of 8 pixels, 10 classes; the paper's CIFAR-10: 50,000 training" in text
    # another table of the same trainings
    said("reproduce", "xsepconv-table-2", *command[2:])
    assert trained[before + 1 :] == [("xsepconv-table-2: without 2x2", seed) for seed in (0, 1)]
    frame = pd.read_csv(out / "xsepconv-table-2.csv")
    assert list(frame.n) == [2, 2]
    assert frame.published.tolist() == [93.24, 92.99]
    assert {path.name for path in out.iterdir()} == {
        "networks",
        "reproduction.json",
        *report_files(TABLES["xsepconv-table-1"]),
        *report_files(TABLES["xsepconv-table-2"]),
    }
    told = refused(*command, "--recipe.learning_rate", 0.1)
    assert told.endswith("made differently: recipe.learning_rate was 0.35 and is now 0.1; --overwrite deletes it")
    assert "made differently: setting was 'cifar10' and is now 'cifar100'" in refused(*command, "--on", "cifar100")


def test_distances_are_held_against_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str]
) -> None:
    worth = {
        "Separable convolutions": 0.9,
        "Inception modules": 0.93,
        "ResNeXt modules": 0.86,
        "Hybrid hypothesis": 0.895,
    }
    pretend(monkeypatch, lambda name, seed: worth[name.partition(": ")[2]] + 0.001 * seed)
    command = ("reproduce", "hybrid-figure-4", "--out", tmp_path / "out", "--seeds", 2, *SMALL)
    # without the first row there is nothing to be distant from
    assert "| Inception modules | mobilenetv1, every block inception_k3 |" in said(*command, "--rows", 2)
    text = said(*command, "--rows", "1, 3,6")
    frame = pd.read_csv(tmp_path / "out" / "hybrid-figure-4.csv").set_index("row")
    assert frame.ours_mean.round(6).to_dict() == pytest.approx(
        {
            "Separable convolutions": 0.0,
            "Inception modules": 3.0,
            "ResNeXt modules": 4.0,
            "Re-formulated Inception modules": float("nan"),
            "Strict equivalent": float("nan"),
            "Hybrid hypothesis": 0.5,
        },
        nan_ok=True,
    )
    # the nearer one is the better one
    assert "| Hybrid hypothesis over ResNeXt modules | +0.50 | +3.50 |" in text
    assert "| Strict equivalent | quoted alone |  |  | 0.08 |  |  |  |" in text


def test_real_trainings_are_drawn_epoch_by_epoch(tmp_path: Path, said: Callable[..., str]) -> None:
    command = (
        "reproduce",
        "xception-figure-9",
        "--out",
        tmp_path,
        "--seeds",
        1,
        *SMALL,
        "--width",
        0.02,
        "--epochs",
        2,
    )
    assert "train+validation" not in said(*command)
    with Image.open(tmp_path / "xception-figure-9.png") as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096) or ()) > 20


def test_wrong_requests_are_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    first = ("reproduce", "xsepconv-table-1")
    assert refused("reproduce", "xsepconv-tabel-1").startswith("name: 'xsepconv-tabel-1' is unknown; known are xsep")
    assert refused(*first).startswith("--out: missing; name the folder")
    assert refused(*first, "--out", "o", "--on", "mnist").startswith("--on: 'mnist' is unknown; known are cifar10")
    assert refused(*first, "--out", "o", "--rows", "1,x").startswith("--rows: '1,x' is not a list of row numbers")
    assert (
        refused(*first, "--out", "o", "--rows", "3") == "--rows: 3 is not a row of xsepconv-table-1; it has rows 1 to 2"
    )
    told = refused("reproduce", "even-kernel-table-1", "--out", "o", "--rows", "3")
    assert told == "--rows: '3' are quoted from the paper alone; name others"
    assert "whole number from 1" in refused(*first, "--out", "o", "--seeds", 0)
    assert "--epochs: 0" in refused(*first, "--out", "o", "--epochs", 0)
    assert "--width: 0" in refused(*first, "--out", "o", "--width", 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    told = refused(*first, "--out", tmp_path / "mine", *SMALL)
    assert "holds thesis.tex, which is not part of a reproduction" in told


def test_a_forecast_times_each_row_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seconds = iter((0.01, 0.03))
    monkeypatch.setattr(run_module, "seconds_per_image", lambda *_, **__: next(seconds))
    text = said("reproduce", "xsepconv-table-1", "--forecast", "--seeds", 4, *SMALL)
    assert [line.split()[0] for line in text.splitlines()] == ["row", "DWConv", "XSepConv", "all,"]
    assert "0.8 s" in text
    assert text.splitlines()[-1] == "all, 4 trainings of each: 12.8 s one by one"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_the_first_rows_of_every_table_train(name: str, tmp_path: Path, said: Callable[..., str]) -> None:
    said("reproduce", name, "--out", tmp_path, "--rows", "1,2", "--seeds", 2, *TINY, "--data.image_size", 32)
    frame = pd.read_csv(tmp_path / f"{name}.csv")
    assert list(frame.n[:2]) == [2, 2]
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_tasks_have_the_sizes_that_networks_ask_for() -> None:
    assert set(DataTask(SearchConfig().data, 0).sizes) == {"image_size", "in_channels", "classes"}
