"""Data sets of the Hugging Face hub, through repositories of parquet files in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import requests
from helpers.images import grey_values as values
from helpers.images import refuse, splits
from PIL import Image

from evaluators.data.load import describe, load_data
from evaluators.sources.hub import HUB, HubEntry
from evaluators.sources.table import TableImages


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(
    labels: Sequence[int | None],
    start: int = 0,
    mode: str = "L",
    image: str = "image",
    names: tuple[str, ...] = ("cat", "dog"),
    label: str = "label",
) -> datasets.Dataset:
    """Make a split whose image k has the grey value start + k."""
    pictures = [Image.new("L", (6, 6), start + k).convert(mode) for k in range(len(labels))]
    features = datasets.Features({image: datasets.Image(), label: datasets.ClassLabel(names=list(names))})
    return datasets.Dataset.from_dict({image: pictures, label: list(labels)}, features=features)


def repository(folder: Path, **splits: datasets.Dataset) -> str:
    """Write the splits as a data set repository is laid out; return its hf: name."""
    for split, part in splits.items():
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.to_parquet(path)
    return f"hf:{folder}"


def raising(error: Exception) -> Callable[..., None]:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise error

    return load_dataset


def test_one_split_is_split_three_ways(tmp_path: Path) -> None:
    labels = [k % 2 for k in range(50)]
    data = load_data(repository(tmp_path / "toy", train=rows(labels)), image_size=4)
    assert data.classes == ("cat", "dog")
    assert describe(data).endswith("50 images, 2 classes, 1x4x4; train 32, validation 8, test 10")
    assert sorted(value for part in splits(data).values() for value in values(part)) == list(range(50))
    for part in splits(data).values():
        assert part.labels.tolist() == [value % 2 for value in values(part)]


def test_given_splits_are_kept(tmp_path: Path) -> None:
    name = repository(
        tmp_path / "toy",
        train=rows([0, 1, 0, 1], mode="RGB"),
        validation=rows([1, 0], 50, mode="RGB"),
        test=rows([1, 1, 0], 100, mode="RGB"),
    )
    data = load_data(name, image_size=4)
    assert data.channels == 3
    assert [values(part) for part in splits(data).values()] == [[0, 1, 2, 3], [50, 51], [100, 101, 102]]
    assert data.test.labels.tolist() == [1, 1, 0]


def test_extra_images_join_those_of_train_where_they_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPNAS_CACHE", str(tmp_path / "decoded"))
    parts = {"train": rows([0, 1] * 10), "extra": rows([1, 0] * 5, 50), "test": rows([0, 1], 100)}
    name = repository(tmp_path / "toy", **parts)
    data = load_data(name, image_size=4)
    assert sorted(values(data.train) + values(data.validation)) == list(range(20))
    monkeypatch.setitem(HUB, str(tmp_path / "toy"), HubEntry(extra=("extra", "more")))
    for _ in range(2):  # decoded, and from the cache
        data = load_data(name, image_size=4)
        assert sorted(values(data.train) + values(data.validation)) == [*range(20), *range(50, 60)]
        assert values(data.test) == [100, 101]
    for part in (data.train, data.validation):
        assert part.labels.tolist() == [value % 2 if value < 50 else 1 - value % 2 for value in values(part)]
    # what changes in one of them is decoded anew
    repository(tmp_path / "toy", extra=rows([1, 0] * 5, 70))
    data = load_data(name, image_size=4)
    assert sorted(values(data.train) + values(data.validation)) == [*range(20), *range(70, 80)]


def test_known_extra_images_that_are_not_there_are_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, more in (("bare", {}), ("unlabelled", {"extra": rows([-1] * 4, 50)})):
        monkeypatch.setitem(HUB, str(tmp_path / name), HubEntry(extra=("extra",)))
        data = load_data(repository(tmp_path / name, train=rows([0, 1] * 10), **more), image_size=4)
        assert sorted(value for part in splits(data).values() for value in values(part)) == list(range(20))


def test_validation_serves_as_the_missing_test(tmp_path: Path) -> None:
    name = repository(tmp_path / "toy", train=rows([0, 1] * 10), validation=rows([1, 0], 50))
    data = load_data(name, image_size=4)
    assert values(data.test) == [50, 51]
    assert sorted(values(data.train) + values(data.validation)) == list(range(20))
    assert len(data.validation) == 4


def test_decoded_once_and_anew_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPNAS_CACHE", str(tmp_path / "decoded"))
    opened: list[str] = []
    original = TableImages.open

    def record(self: TableImages, index: int) -> Image.Image:
        opened.append(self.name(index))
        return original(self, index)

    monkeypatch.setattr(TableImages, "open", record)
    name = repository(tmp_path / "toy", train=rows([0, 1] * 10), test=rows([0, 1], 100))
    for _ in range(2):
        data = load_data(name, image_size=4, channels=1)
        assert values(data.test) == [100, 101]
        assert sorted(opened) == sorted([*(f"train[{k}]" for k in range(20)), "test[0]", "test[1]"])
    repository(tmp_path / "toy", train=rows([0, 1] * 10, 50), test=rows([0, 1], 100))
    data = load_data(name, image_size=4, channels=1)
    assert sorted(values(data.train) + values(data.validation)) == list(range(50, 70))


@pytest.mark.parametrize("missing", [-1, None])
def test_unlabelled_test_is_ignored(tmp_path: Path, missing: int | None) -> None:
    name = repository(
        tmp_path / "toy", train=rows([0, 1] * 10), validation=rows([1, 0], 50), test=rows([missing] * 3, 100)
    )
    assert values(load_data(name, image_size=4).test) == [50, 51]


def test_partly_labelled_split_is_refused(tmp_path: Path) -> None:
    name = repository(tmp_path / "toy", train=rows([0, 1, -1, 0, 1]))
    refuse(name, "1 of 5 images of train without a label in column 'label'")
    refuse(repository(tmp_path / "bare", train=rows([-1, -1])), "no labels in column 'label' of train")


def test_columns_are_found_by_type(tmp_path: Path) -> None:
    both = rows([0, 1] * 10, image="img", label="fine_label")
    coarse = datasets.ClassLabel(names=["animal", "plant", "other"])
    both = both.add_column("coarse_label", [2] * 20).cast_column("coarse_label", coarse)
    both = both.select_columns(["coarse_label", "fine_label", "img"])
    assert load_data(repository(tmp_path / "toy", train=both), image_size=4).classes == ("cat", "dog")
    other = rows([0, 1] * 10, image="picture", label="kind")
    assert load_data(repository(tmp_path / "other", train=other), image_size=4).classes == ("cat", "dog")


def test_missing_columns_are_refused(tmp_path: Path) -> None:
    plain = rows([0, 1] * 4).cast_column("label", datasets.Value("float32"))
    refuse(
        repository(tmp_path / "a", train=plain),
        r"no ClassLabel column, nor one called label .* only image \(Image\), label \(Value\)",
    )
    refuse(repository(tmp_path / "b", train=plain.remove_columns("image")), r"no Image column, only label \(Value\)")


def test_a_train_split_is_needed(tmp_path: Path) -> None:
    refuse(repository(tmp_path / "toy", test=rows([0, 1] * 4)), "has the splits test but no train")


def test_class_that_train_lacks_is_refused(tmp_path: Path) -> None:
    names = ("cat", "dog", "fox")
    name = repository(tmp_path / "toy", train=rows([0, 1] * 4, names=names), test=rows([2], names=names))
    refuse(name, "the class 'fox' in test, which train lacks")
    refuse(repository(tmp_path / "one", train=rows([1] * 6)), r"training images of 1 class \('dog'\)")


def test_damaged_rows(tmp_path: Path) -> None:
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    good = rows([0, 1] * 10).cast_column("image", datasets.Image(decode=False))["image"]
    cells = [*good, {"bytes": b"nonsense", "path": None}, None]
    part = datasets.Dataset.from_dict({"image": cells, "label": [*([0, 1] * 10), 0, 1]}, features=features)
    name = repository(tmp_path / "toy", train=part.cast_column("image", datasets.Image()), test=rows([0, 1]))
    refuse(name, r"2 of 22 images that cannot be read: .*train\[20\].*, .train\[21\]")
    data = load_data(name, image_size=4, on_corrupt="skip")
    assert sorted(data.skipped) == ["train[20]", "train[21]"]


def test_images_kept_as_files(tmp_path: Path) -> None:
    for split, n in (("train", 10), ("test", 2)):
        for label in ("cat", "dog"):
            for k in range(n):
                path = tmp_path / "toy" / split / label / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (6, 6), 10 * k).save(path)
    data = load_data(f"hf:{tmp_path / 'toy'}", image_size=4)
    assert data.classes == ("cat", "dog")
    assert sorted(values(data.test)) == [0, 0, 10, 10]


def test_configuration_is_chosen(tmp_path: Path) -> None:
    for config, n in (("small", 10), ("large", 40)):
        (tmp_path / "toy" / config).mkdir(parents=True)
        rows([0, 1] * (n // 2)).to_parquet(tmp_path / "toy" / config / "train.parquet")
    (tmp_path / "toy" / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: small\n  data_files:\n  - split: train\n    path: small/train.parquet\n"
        "- config_name: large\n  data_files:\n  - split: train\n    path: large/train.parquet\n---\n"
    )
    name = f"hf:{tmp_path / 'toy'}"
    assert sum(map(len, splits(load_data(f"{name}:small", image_size=4)).values())) == 10
    assert sum(map(len, splits(load_data(f"{name}:large", image_size=4)).values())) == 40
    refuse(name, "cannot be loaded .*hf:name:config")
    refuse(f"{name}:huge", "cannot be loaded")


def test_threads_read_rows_correctly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.data.decode._CHUNK", 2)
    monkeypatch.setattr("evaluators.data.decode.usable_cores", lambda: 8)
    labels = np.random.default_rng(0).integers(0, 2, 200).tolist()
    data = load_data(repository(tmp_path / "toy", train=rows(labels)), image_size=4)
    for part in splits(data).values():
        assert part.labels.tolist() == [labels[value] for value in values(part)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owner/name", ("owner/name", None)),
        ("hf:name", ("name", None)),
        ("hf:owner/name", ("owner/name", None)),
        ("hf:owner/name:config", ("owner/name", "config")),
    ],
)
def test_names_are_read(monkeypatch: pytest.MonkeyPatch, name: str, expected: tuple[str, str | None]) -> None:
    asked: list[Any] = []

    def load_dataset(*arguments: Any, **options: Any) -> dict[str, datasets.Dataset]:
        asked.append((arguments, options))
        return {"train": rows([0, 1] * 10)}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_data(name, image_size=4).name == name
    # Nothing beyond name and configuration is passed on: above all, no leave to run the repository's code.
    assert asked == [(expected, {})]


@pytest.mark.parametrize("name", ["hf:", "hf::config", "hf:name:"])
def test_names_that_are_refused(name: str) -> None:
    refuse(name, "lacks a name or a configuration")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'owner/name' on the Hub"),
        requests.ConnectionError("no route"),
        TimeoutError(),
    ],
)
def test_unreachable_hub(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(datasets, "load_dataset", raising(error))
    why = "the Hugging Face hub, which cannot be reached; .*local folder"
    refuse("owner/name", f"data.name: 'owner/name' is not a local folder, and needs {why}")
    refuse("hf:owner/name", f"data.name: 'hf:owner/name' needs {why}")


def test_network_failure_behind_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("generation failed")
    error.__cause__ = type("ReadError", (Exception,), {"__module__": "httpx"})("broken pipe")
    monkeypatch.setattr(datasets, "load_dataset", raising(error))
    refuse("owner/name", "hub, which cannot be reached")


def test_other_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", raising(datasets.exceptions.DatasetNotFoundError("no")))
    refuse("owner/name", "neither a local folder nor a public data set")
    monkeypatch.setattr(datasets, "load_dataset", raising(RuntimeError("Dataset scripts are no longer\nsupported")))
    refuse("owner/name", r"cannot be loaded \(RuntimeError: Dataset scripts are no longer supported\)")
