"""Parquet on disk, and the hub's known data sets fed by Parquet with their columns and splits."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.images import refuse, splits
from PIL import Image

from evaluators.data.images import Images
from evaluators.data.load import load_data
from evaluators.data.loaders import make_loader
from evaluators.sources.hub import HUB


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setenv("SEPNAS_CACHE", str(tmp_path / "sepnas-cache"))


def png(value: int, mode: str = "L") -> bytes:
    content = io.BytesIO()
    Image.new("L", (6, 6), value).convert(mode).save(content, format="png")
    return content.getvalue()


def write(path: Path, values: Sequence[int], labels: Sequence[Any], *, plain: bool = False, **more: Any) -> Path:
    """Write images of one grey value each, as structures with ClassLabels or `plain` bytes and whatever labels are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [png(value) for value in values]
    if plain:
        pq.write_table(pa.table({"picture": encoded, "label": list(labels), **more}), path)
        return path
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    cells = [{"bytes": content, "path": None} for content in encoded]
    datasets.Dataset.from_dict({"image": cells, "label": list(labels)}, features=features).to_parquet(path)
    return path


def values(*parts: Images) -> list[int]:
    return sorted(int(v) for part in parts for v in part.gather(torch.arange(len(part)))[:, 0, 0, 0])


def test_one_file_is_split(tmp_path: Path) -> None:
    for name in ("train.parquet", "anything.parquet", "test.parquet", "no-suffix"):
        path = write(tmp_path / name, range(50), [k % 2 for k in range(50)])
        data = load_data(str(path), image_size=4)
        assert data.classes == ("cat", "dog")
        assert data.sizes == {"train": 32, "validation": 8, "test": 10}
        assert values(data.train, data.validation, data.test) == list(range(50))
        for part in splits(data).values():
            assert part.labels.tolist() == [int(v) % 2 for v in part.gather(torch.arange(len(part)))[:, 0, 0, 0]]


@pytest.mark.parametrize(
    "layout",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"),
        ("data/train-0.parquet", "data/train-1.parquet", "data/test.parquet"),
        ("train/part-0.parquet", "train/part-1.parquet", "test/part-0.parquet"),
        ("TRAIN_a.PARQUET", "train.b.parquet", "Test/x.parquet"),
    ],
)
def test_folder_layouts(tmp_path: Path, layout: tuple[str, str, str]) -> None:
    write(tmp_path / layout[0], range(10), [0, 1] * 5)
    write(tmp_path / layout[1], range(10, 20), [0, 1] * 5)
    write(tmp_path / layout[2], range(100, 106), [0, 1] * 3)
    write(tmp_path / ".hidden" / "train.parquet", [200, 201], [0, 1])
    data = load_data(str(tmp_path), image_size=4)
    assert values(data.train, data.validation) == list(range(20))
    assert values(data.test) == list(range(100, 106))


def test_validation_split(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", range(20), [0, 1] * 10)
    write(tmp_path / "valid.parquet", range(50, 54), [0, 1] * 2)
    assert values(load_data(str(tmp_path), image_size=4).test) == list(range(50, 54))
    write(tmp_path / "test.parquet", range(70, 74), [0, 1] * 2)
    data = load_data(str(tmp_path), image_size=4)
    assert (values(data.validation), values(data.test)) == (list(range(50, 54)), list(range(70, 74)))


def test_files_that_name_no_split_are_training_images(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", range(20), [0, 1] * 10)
    write(tmp_path / "b.parquet", range(20, 40), [0, 1] * 10)
    assert values(*splits(load_data(str(tmp_path), image_size=4)).values()) == list(range(40))
    write(tmp_path / "test.parquet", range(50, 54), [0, 1] * 2)
    refuse(tmp_path, "a file 'a.parquet' whose name says no split, while the names of others do")


def test_columns_without_the_features_of_datasets(tmp_path: Path) -> None:
    path = write(tmp_path / "numbers.parquet", range(20), [0, 1, 2, 0] * 5, plain=True)
    assert load_data(str(path), image_size=4).classes == ("0", "1", "2")
    path = write(tmp_path / "texts.parquet", range(20), ["dog", "cat"] * 10, plain=True, score=[0.5] * 20)
    data = load_data(str(path), image_size=4)
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [1 - int(v) % 2 for v in data.train.gather(torch.arange(12))[:, 0, 0, 0]]


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    refuse(tmp_path / "a.parquet", "is not Parquet, whatever its name says")
    good = write(tmp_path / "b.parquet", range(4), [0, 1] * 2)
    good.write_bytes(good.read_bytes()[:-40])
    refuse(good, "Parquet files that cannot be read .*; repair or remove them")
    path = write(tmp_path / "c.parquet", range(4), [0.5] * 4, plain=True)
    refuse(path, "no ClassLabel column, nor one called label")
    refuse(
        write(tmp_path / "d.parquet", range(4), [0, 1, 0, 10**12], plain=True),
        "values up to 1000000000000 in column 'label', but fewer images",
    )
    write(tmp_path / "e" / "train.parquet", range(20), ["a", "b"] * 10, plain=True)
    write(tmp_path / "e" / "test.parquet", range(2), ["a", "c"], plain=True)
    refuse(tmp_path / "e", "the class 'c' in test, which train lacks")
    write(tmp_path / "f" / "test.parquet", range(4), [0, 1] * 2)
    refuse(tmp_path / "f", "has the splits test but no train; call the training files train")


def test_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", range(20), [0, 1] * 10)
    load_data(str(path), image_size=4)
    write(path, range(100, 120), [0, 1] * 10)
    assert values(*splits(load_data(str(path), image_size=4)).values()) == list(range(100, 120))


def test_streamed_parquet_is_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", range(40), [0, 1] * 20)
    held, streamed = (load_data(str(path), image_size=4, where=where, workers=0) for where in ("memory", "stream"))
    for name, part in splits(held).items():
        everything = torch.arange(len(part))
        assert torch.equal(splits(streamed)[name].gather(everything), part.gather(everything))
        assert torch.equal(splits(streamed)[name].labels, part.labels)


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create .* worker processes:UserWarning",
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
)
def test_workers_read_parquet(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", range(60), [0, 1] * 30)
    held = load_data(str(path), image_size=4)
    streamed = load_data(str(path), image_size=4, where="stream", workers=2)
    loaders = (make_loader(data.train, data, 5, shuffle=True, seed=4) for data in (held, streamed))
    for (images, labels), (other, targets) in zip(*loaders, strict=True):
        assert torch.equal(images, other)
        assert torch.equal(labels, targets)


def test_data_can_be_sent_to_another_process(tmp_path: Path) -> None:
    write(tmp_path / "p" / "train.parquet", range(40), [0, 1] * 20)
    write(tmp_path / "p" / "test.parquet", range(100, 110), [0, 1] * 5)
    for name in (str(tmp_path / "p"), f"hf:{tmp_path / 'p'}"):
        for where in ("memory", "stream"):
            copy = pickle.loads(pickle.dumps(load_data(name, image_size=4, where=where)))
            assert values(copy.test) == list(range(100, 110))


# --- data sets of the hub as they are laid out there ---


def table(values: Sequence[int], labels: Sequence[int], image: str, label: str, classes: int, **more: Any) -> Any:
    columns: dict[str, Any] = {
        image: [{"bytes": png(value, "RGB"), "path": None} for value in values],
        label: list(labels),
        **{name: [value] * len(labels) for name, value in more.items()},
    }
    features = {name: datasets.Value("int64") for name in columns}
    features |= {image: datasets.Image(), label: datasets.ClassLabel(num_classes=classes)}
    features |= {name: datasets.ClassLabel(num_classes=20) for name in more}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


# repository, its configuration, image and label column, other columns, splits with their first value and label
LAYOUTS: list[tuple[str, str | None, str, str, dict[str, int], dict[str, tuple[int, bool]]]] = [
    ("uoft-cs/cifar10", None, "img", "label", {}, {"train": (0, True), "test": (100, True)}),
    ("uoft-cs/cifar100", None, "img", "fine_label", {"coarse_label": 3}, {"train": (0, True), "test": (100, True)}),
    (
        "ufldl-stanford/svhn",
        "cropped_digits",
        "image",
        "label",
        {},
        {"train": (0, True), "test": (100, True), "extra": (200, True)},
    ),
    ("zh-plus/tiny-imagenet", None, "image", "label", {}, {"train": (0, True), "valid": (100, True)}),
    ("zalando-datasets/fashion_mnist", None, "image", "label", {}, {"train": (0, True), "test": (100, True)}),
    (
        "ILSVRC/imagenet-1k",
        None,
        "image",
        "label",
        {},
        {"train": (0, True), "validation": (100, True), "test": (200, False)},
    ),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=[layout[0] for layout in LAYOUTS])
def test_known_data_sets_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any) -> None:
    repository, config, image, label, more, splits = layout
    assert repository in HUB
    for split, (first, labelled) in splits.items():
        labels = [k % 10 if labelled else -1 for k in range(40)]
        path = tmp_path / "repository" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table(range(first, first + 40), labels, image, label, 10, **more).to_parquet(path)
    load_dataset, asked = datasets.load_dataset, []

    def from_disk(name: str, configuration: str | None) -> Any:
        asked.append((name, configuration))
        return load_dataset(str(tmp_path / "repository"))

    monkeypatch.setattr(datasets, "load_dataset", from_disk)
    data = load_data(repository, image_size=4, validation=0.25)
    assert asked == [(repository, config)]
    assert len(data.classes) == 10
    assert data.channels == 3
    # training images come from train and, as XSepConv has it, from extra; test images from what results are reported on
    trained = [first + k for split, (first, _) in splits.items() if split in ("train", "extra") for k in range(40)]
    assert values(data.train, data.validation) == trained
    assert values(data.test) == list(range(100, 140))
    assert data.test.labels.tolist() == [k % 10 for k in range(40)]


def test_a_slip_in_a_path_does_not_ask_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> None:
        pytest.fail("the hub was asked")

    monkeypatch.setattr(datasets, "load_dataset", asked)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "flowers").mkdir(parents=True)
    start = time.monotonic()
    refuse("data/flower", "does not exist, but the folder 'data' does; .* or write hf:data/flower")
    for name in ("./flowers", "~/no/flowers", "/no/flowers", "data/flowers/small", "data\\flowers"):
        refuse(name, "does not exist; correct the path")
    assert time.monotonic() - start < 2
    # a name that is known is no slip, whatever lies here
    (tmp_path / "uoft-cs").mkdir()
    monkeypatch.setattr(
        datasets,
        "load_dataset",
        lambda *_: {"train": table(range(80), [k % 10 for k in range(80)], "img", "label", 10)},
    )
    assert len(load_data("uoft-cs/cifar10", image_size=4).classes) == 10


def test_numbers_of_labels_are_kept_exactly(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 60).tolist()
    path = write(tmp_path / "x.parquet", range(60), labels, plain=True)
    data = load_data(str(path), image_size=4)
    for part in splits(data).values():
        assert part.labels.tolist() == [labels[int(v)] for v in part.gather(torch.arange(len(part)))[:, 0, 0, 0]]
