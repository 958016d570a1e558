"""``sepnas evaluate``: the figures of the weights on disk, on the images that were asked for, and nothing else."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import experiments.training.evaluate as evaluate_module
from evaluators.measuring.measurement import measure_accuracy
from experiments.cli import main
from experiments.options.files import read_config
from experiments.runs.folder import open_run
from experiments.runs.provenance import provenance
from experiments.training.evaluate import evaluate, plot_evaluation
from experiments.training.trained import find_trained
from search_space.hand_designed import baseline
from search_space.serialization import save_architecture
from search_space.weights import load_network


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search whose winner is retrained by seeds 3 and 1."""
    home = tmp_path_factory.mktemp("evaluate")
    given = home / "given.yaml"
    values = {
        "data": {"name": "digits", "image_size": 8, "max_train_images": 80, "test": 0.1},
        "retrain": {
            "recipe": {"epochs": 2, "batch_size": 32, "learning_rate": 0.05},
            "seeds": [3, 1],
            "train_on": "train",
        },
        "seed": 5,
        "accelerator": "cpu",
    }
    given.write_text(yaml.safe_dump(values))
    opened = open_run(home / "run", read_config(given).as_dict(), provenance(0, "cpu"), overwrite=False)
    save_architecture(baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.25), opened.winner)
    assert main(["retrain", str(home / "run")]) == 0
    return home / "run"


def recorded(run: Path, seed: int) -> float:
    return json.loads((run / "retrain" / "winner" / f"seed{seed}" / "result.json").read_text())["test_accuracy"]


def image_folder(root: Path, classes: list[str], count: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def test_the_test_accuracy_is_the_one_that_retraining_measured(run: Path, said: Any) -> None:
    for seed in (1, 3):
        told = json.loads(said("evaluate", run, "--seed", seed, "--json"))
        assert (told["seed"], told["split"], told["images"]) == (seed, "test", 180)
        assert told["top1"] == pytest.approx(recorded(run, seed), abs=1e-6)
        assert told["notes"] == []
    first = json.loads(said("evaluate", run, "--json"))
    assert first["seed"] == 1


def test_every_figure_follows_from_the_matrix(run: Path, said: Any) -> None:
    told = json.loads(said("evaluate", run, "--json"))
    matrix = np.array(told["confusion_matrix"])
    assert matrix.shape == (10, 10)
    assert matrix.sum() == told["images"]
    assert told["top1"] == pytest.approx(np.trace(matrix) / matrix.sum(), abs=1e-6)
    assert told["top1"] <= told["top5"] <= 1
    for index, row in enumerate(told["per_class"]):
        assert row["class"] == str(index)
        assert row["images"] == matrix[index].sum()
        assert row["accuracy"] == pytest.approx(matrix[index, index] / matrix[index].sum(), abs=1e-6)
    assert told["calibration_error"]["bins"] == len(told["reliability"]) == 15
    assert told["calibration_error"]["norm"] == "l1"


def test_splits_are_those_of_the_training(run: Path, said: Any) -> None:
    sizes = {}
    for split in ("train", "validation", "test"):
        told = json.loads(said("evaluate", run, "--split", split, "--json"))
        sizes[split] = told["images"]
        assert (told["notes"] == ["the network was trained on these images"]) is (split == "train")
    assert sizes == {"train": 64, "validation": 16, "test": 180}


def test_another_split_than_the_trainings_is_pointed_out(run: Path, said: Any) -> None:
    for option in (("--split_seed", 6), ("--data.test", 0.2)):
        text = said("evaluate", run, *option)
        assert "note: split differently than for the training" in text


def test_an_exported_network_gives_the_same_figures(run: Path, said: Any, tmp_path: Path) -> None:
    network = tmp_path / "network"
    said("export", run, "--to", network, "--seed", "3", "--formats", "source")
    told = json.loads(said("evaluate", network, "--json"))
    assert told["top1"] == pytest.approx(recorded(run, 3), abs=1e-6)
    assert (told["seed"], told["notes"]) == (3, [])
    assert json.loads(said("evaluate", network, "--split", "train", "--json"))["notes"] == [
        "the network was trained on these images"
    ]


def test_an_export_without_its_training_is_refused(run: Path, said: Any, refused: Any, tmp_path: Path) -> None:
    network = tmp_path / "network"
    said("export", run, "--to", network, "--formats", "source")
    (network / "training.json").unlink()
    assert "training.json cannot be read (No such file or directory); retrain or export the network again" in refused(
        "evaluate", network
    )


def test_a_folder_of_retrain_is_exported_as_a_run_is(run: Path, said: Any, refused: Any, tmp_path: Path) -> None:
    said("export", run, "--to", tmp_path / "one", "--seed", "3", "--formats", "source")
    said("export", run / "retrain" / "winner", "--to", tmp_path / "other", "--seed", "3", "--formats", "source")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
    assert "seed: 2 was not trained; trained are 1, 3" in refused(
        "export", run / "retrain" / "winner", "--to", tmp_path / "third", "--seed", 2
    )


def test_images_are_normalised_as_in_training(run: Path, tmp_path: Path, said: Any) -> None:
    """Other images have other means; the network knows those of its training."""
    data = image_folder(tmp_path / "images", list("0123456789"))
    options = ("--data.name", data, "--data.max_train_images", "null", "--data.test", 0.5, "--json")
    told = json.loads(said("evaluate", run, *options))
    home = run / "retrain" / "winner"
    (tmp_path / "network").mkdir()
    shutil.copy(home / "architecture.json", tmp_path / "network")
    shutil.copy(home / "seed1" / "weights.safetensors", tmp_path / "network")
    values = json.loads((home / "seed1" / "data.json").read_text())
    trained = find_trained(run)
    config = replace(trained.data, name=str(data), max_train_images=None, test=0.5)
    from experiments.runs.task import DataTask

    test = DataTask(config, 5).data.test
    pixels = test.gather(torch.arange(len(test))).float() / 255
    images = (pixels - values["mean"][0]) / values["std"][0]
    by_hand = measure_accuracy(load_network(tmp_path / "network"), [(images, test.labels)], 10)
    assert told["images"] == 60
    assert told["confusion_matrix"] == by_hand.confusion.tolist()
    assert told["calibration_error"]["value"] == pytest.approx(by_hand.calibration_error, abs=1e-5)


def test_text_for_people(run: Path, said: Any) -> None:
    text = said("evaluate", run)
    assert f"top-1 accuracy     {recorded(run, 1):.2%}" in text
    assert "15 bins, norm l1" in text
    assert "seed 1, on test of digits: 180 images, 10 classes" in text
    header, *classes = text.partition("accuracy by class\n")[2].splitlines()
    assert header.split()[:3] == ["class", "accuracy", "images"]
    assert [line.split()[0] for line in classes] == list("0123456789")
    assert all("%" in line for line in classes)


def test_files_are_written_and_not_overwritten_unasked(run: Path, said: Any, refused: Any, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    told = json.loads(said("evaluate", run, "--json", "--out", out))
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "confusion_matrix.csv", "evaluation.png"}
    assert json.loads((out / "evaluation.json").read_text()) == told
    with (out / "confusion_matrix.csv").open(newline="") as stream:
        header, *rows = list(csv.reader(stream))
    assert header[1:] == [row[0] for row in rows] == list("0123456789")
    assert [[int(cell) for cell in row[1:]] for row in rows] == told["confusion_matrix"]
    with Image.open(out / "evaluation.png") as picture:
        assert min(picture.size) > 400
    assert refused("evaluate", run, "--out", out) == (
        f"out: {out} already holds confusion_matrix.csv; give another folder, or --overwrite to"
        " replace files of the same names"
    )
    said("evaluate", run, "--split", "validation", "--out", out, "--overwrite")
    assert json.loads((out / "evaluation.json").read_text())["split"] == "validation"


@pytest.mark.parametrize("classes", [2, 100])
def test_a_picture_of_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    labels = torch.arange(classes)
    logits = torch.eye(classes)[:, :, None, None] * 5
    measured = measure_accuracy(torch.nn.Flatten(), [(logits, labels)], classes)
    names = tuple(f"a class with a long name, number {index}" for index in range(classes))
    plot_evaluation(measured, names, "data, test", tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        _, height = picture.size
    # a name of 5.5 points is 11 pixels high, and some of the height is for margins
    assert height / classes > 18


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (list("012345678"), "has 9 classes, but the network tells 10 apart; give data of the same classes"),
        (
            [*"01234567", "82", "9"],
            "class 8 of {name!r} is '82', but '8' in the network's training; give data of the same classes in the same"
            " order",
        ),
    ],
)
def test_other_classes_are_refused(classes: list[str], message: str, run: Path, refused: Any, tmp_path: Path) -> None:
    data = image_folder(tmp_path / "images", classes)
    said = refused("evaluate", run, "--data.name", data, "--data.max_train_images", "null")
    assert said.startswith("data: ")
    assert said.endswith(message.format(name=str(data)))


def test_images_of_another_size_are_refused(run: Path, refused: Any) -> None:
    said = refused("evaluate", run, "--data.image_size", 16)
    assert said.startswith("architecture.image_size: 8, but the data 'digits' has 16")


def test_what_is_not_there_is_named(run: Path, refused: Any, tmp_path: Path) -> None:
    assert refused("evaluate", run, "--seed", 2) == "seed: 2 was not trained; trained are 1, 3"
    assert "target: nothing is not a folder; give that of a run" in refused("evaluate", "nothing")
    assert "holds no run" in refused("evaluate", tmp_path)
    untrained = tmp_path / "untrained"
    shutil.copytree(run, untrained, ignore=shutil.ignore_patterns("retrain"))
    assert refused("evaluate", untrained) == (
        f"run: the winner of {untrained} is not trained yet; run `sepnas retrain {untrained}` first"
    )


def test_a_seed_of_an_exported_network_is_refused(run: Path, said: Any, refused: Any, tmp_path: Path) -> None:
    said("export", run, "--to", tmp_path / "network", "--formats", "source")
    assert "is an exported network, from one training; leave it out" in refused(
        "evaluate", tmp_path / "network", "--seed", 1
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("about.json", "{"),
        ("about.json", "[]"),
        ("about.json", '{"data": 3}'),
        ("seed1/data.json", '{"name": "digits"}'),
        ("seed1/data.json", "\x00"),
    ],
)
def test_damaged_files_are_named(name: str, text: str, run: Path, refused: Any, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "retrain" / "winner" / name).write_text(text)
    assert f"target: {copy / 'retrain' / 'winner' / name} is damaged (" in refused("evaluate", copy)


def test_weights_of_another_network_are_refused(run: Path, refused: Any, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    save_architecture(
        baseline("mobilenetv3-small", image_size=8, in_channels=1, width=0.5),
        copy / "retrain" / "winner" / "architecture.json",
    )
    assert "is of another architecture" in refused("evaluate", copy)


def test_the_results_of_an_architecture_file_can_be_measured(run: Path, said: Any, tmp_path: Path) -> None:
    """`sepnas retrain ARCH.json --out DIR` leaves a folder of the same form."""
    told = json.loads(said("evaluate", run / "retrain" / "winner", "--seed", 3, "--json"))
    assert told["top1"] == pytest.approx(recorded(run, 3), abs=1e-6)


def test_measuring_changes_nothing_in_the_run(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trained = find_trained(run)
    evaluate(trained, str(run), trained.data, split_seed=5, accelerator="cpu")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_training_in_bf16_is_measured_in_bf16(
    run: Path, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    measure = evaluate_module.measure_accuracy

    def spy(*args: Any, precision: str, **options: Any) -> Any:
        asked.append(precision)
        return measure(*args, precision=precision, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate_module, "measure_accuracy", spy)
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    about = copy / "retrain" / "winner" / "about.json"
    values = json.loads(about.read_text())
    notes = {}
    for precision in ("fp32", "bf16", "fp16"):
        about.write_text(json.dumps({**values, "recipe": {**values["recipe"], "precision": precision}}))
        notes[precision] = json.loads(said("evaluate", copy, "--accelerator", "cpu", "--json"))["notes"]
    assert asked == ["fp32", "bf16", "fp32"]
    assert notes["fp32"] == notes["bf16"] == []
    assert notes["fp16"] == ["measured in fp32, but trained and tested in fp16, which needs a GPU"]


def test_a_negative_split_seed_is_refused(run: Path, refused: Any) -> None:
    assert "split_seed: -1 must be a whole number from 0" in refused("evaluate", run, "--split_seed=-1")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("mean", [0.5, 0.5], "mean is not one finite number per channel"), ("std", [0.0], "std is not above 0")],
)
def test_a_normalisation_that_cannot_be_is_named(
    field: str, value: list[float], told: str, run: Path, refused: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = copy / "retrain" / "winner" / "seed1" / "data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    error = refused("evaluate", copy)
    assert told in error
    assert "retrain or export the network again" in error
