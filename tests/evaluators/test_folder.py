"""Images from local folders: layouts, and which files are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.images import grey_folder as fill
from helpers.images import grey_values as values
from helpers.images import refuse, save, splits
from PIL import Image

from evaluators.data.images import ImageData
from evaluators.data.load import describe, load_data
from evaluators.data.loaders import make_loader
from evaluators.sources.find import find_source
from evaluators.sources.folder import ImageFiles


def all_values(data: ImageData) -> list[int]:
    return sorted(value for part in splits(data).values() for value in values(part))


# --- layouts ---


def test_class_folders_are_split_three_ways(tmp_path: Path) -> None:
    data = load_data(str(fill(tmp_path)), image_size=4)
    assert data.classes == ("cat", "dog")
    found = [values(data.train), values(data.validation), values(data.test)]
    assert [len(part) for part in found] == [12, 4, 4]
    # Each file is in exactly one split.
    assert all_values(data) == [*range(10), *range(100, 110)]
    for part in splits(data).values():
        assert part.labels.tolist() == [value // 100 for value in values(part)]


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_given_splits_are_kept(tmp_path: Path, validation: str) -> None:
    fill(tmp_path / "train", n=5)
    fill(tmp_path / validation, n=3, start=20)
    fill(tmp_path / "test", n=2, start=40)
    data = load_data(str(tmp_path), image_size=4)
    assert values(data.train) == [*range(5), *range(100, 105)]
    assert values(data.validation) == [20, 21, 22, 120, 121, 122]
    assert values(data.test) == [40, 41, 140, 141]


@pytest.mark.parametrize("missing", ["val", "test"])
def test_missing_split_comes_off_train(tmp_path: Path, missing: str) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / ("test" if missing == "val" else "val"), n=2, start=40)
    data = load_data(str(tmp_path), image_size=4)
    given, made = (data.test, data.validation) if missing == "val" else (data.validation, data.test)
    assert values(given) == [40, 41, 140, 141]
    assert len(made) == 4
    assert sorted(values(data.train) + values(made)) == [*range(10), *range(100, 110)]


def test_a_split_may_lack_a_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("a", "b", "c"), n=6)
    fill(tmp_path / "test", ("c",), n=2)
    assert load_data(str(tmp_path), image_size=4).test.labels.tolist() == [2, 2]


def test_class_called_train(tmp_path: Path) -> None:
    assert load_data(str(fill(tmp_path, ("bus", "train"))), image_size=4).classes == ("bus", "train")


def test_folder_beside_the_splits_without_images_is_ignored(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("x")
    assert load_data(str(tmp_path), image_size=4).classes == ("cat", "dog")


def test_nested_and_hidden_files(tmp_path: Path) -> None:
    fill(tmp_path, n=3)
    save(tmp_path / "cat" / "more" / "deep" / "x.png", 50, mode="L")
    save(tmp_path / "cat" / ".thumbs" / "y.png", 60, mode="L")
    save(tmp_path / "cat" / "._x.png", 70, mode="L")
    save(tmp_path / ".cache" / "z.png", 80, mode="L")
    (tmp_path / "cat" / "boxes.txt").write_text("1 2 3")
    data = load_data(str(tmp_path), image_size=4, test=0.3, validation=0.4)
    assert all_values(data) == [0, 1, 2, 50, 100, 101, 102]


def test_order_follows_names_only(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/sub/1", "a/z", "a/sub.x"):
        save(tmp_path / f"{name}.png")
    source = find_source(str(tmp_path))
    order = [Path(source.train.pictures.name(index)).relative_to(tmp_path).as_posix() for index in range(5)]
    assert order == ["a/sub/1.png", "a/sub.x.png", "a/z.png", "b/1.png", "b/2.png"]
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fill(tmp_path / "pets")
    assert load_data("~/pets", image_size=4).name == "~/pets"


def test_relative_folder_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "owner" / "name")
    assert len(load_data("owner/name", image_size=4).test) == 4


def test_layouts_that_are_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "no" / "where", "does not exist; correct the path")
    save(tmp_path / "single.png")
    refuse(tmp_path / "single.png", "is a file; give the folder")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "has no class folders in")
    save(tmp_path / "flat" / "a.jpg")
    refuse(tmp_path / "flat", "not in class folders")
    refuse(fill(tmp_path / "one", ("cat",)), r"training images of 1 class \('cat'\)")
    fill(tmp_path / "hollow")
    (tmp_path / "hollow" / "fox").mkdir()
    refuse(tmp_path / "hollow", "has no image .* in the class folder '.*fox")


def test_split_layouts_that_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "no_train" / "test")
    refuse(tmp_path / "no_train", "has test/ but no train/")
    fill(tmp_path / "twice" / "train")
    fill(tmp_path / "twice" / "val")
    fill(tmp_path / "twice" / "valid")
    refuse(tmp_path / "twice", "both val/ and valid/ for the validation split")
    fill(tmp_path / "mixed" / "train")
    fill(tmp_path / "mixed", ("cat",))
    refuse(tmp_path / "mixed", "split folder 'train' beside the class folder 'cat'")
    fill(tmp_path / "extra" / "train")
    fill(tmp_path / "extra" / "test", ("cat", "wolf"))
    refuse(tmp_path / "extra", "the class 'wolf' in test, which train lacks")
    fill(tmp_path / "flat_test" / "train")
    save(tmp_path / "flat_test" / "test" / "a.png")
    refuse(tmp_path / "flat_test", "test' that are not in class folders")


def test_too_few_images_of_a_class(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / "fox" / "1.png", 1, mode="L")
    refuse(tmp_path, "data.test: 0.2, but class 'fox' has 1 image to split")


# --- what is read, and how ---


def test_only_chosen_files_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "train", n=50)
    fill(tmp_path / "val", n=10)
    fill(tmp_path / "test", n=3, start=60)
    opened: list[str] = []
    original = ImageFiles.open

    def record(self: ImageFiles, index: int) -> Image.Image:
        opened.append(self.paths[index])
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "open", record)
    data = load_data(str(tmp_path), image_size=4, channels=1, max_train_images=24)
    # 24 of 120 in the proportion 100 to 20
    assert (len(data.train), len(data.validation)) == (20, 4)
    assert data.train.labels.bincount().tolist() == [10, 10]
    assert len(opened) == len(set(opened)) == 24
    # and the whole test, once it is asked for
    assert (len(data.test), len(data.test)) == (6, 6)
    assert len(opened) == len(set(opened)) == 30


@pytest.mark.parametrize("own_test", [True, False])
@pytest.mark.parametrize("where", ["memory", "stream"])
def test_test_images_are_opened_by_reading_test_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_test: bool, where: Any
) -> None:
    fill(tmp_path / "train" if own_test else tmp_path, n=20)
    if own_test:
        fill(tmp_path / "test", n=3, start=60)
    opened: set[str] = set()
    original = ImageFiles.open

    def record(self: ImageFiles, index: int) -> Image.Image:
        opened.add(self.paths[index])
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "open", record)
    # headers tell what "auto" needs to know; they alone may be read of a test that is split off train
    data = load_data(str(tmp_path), image_size=4, channels="auto" if own_test else 1, where=where, workers=0)
    describe(data)
    for part in (data.train, data.validation):
        for shuffle in (True, False):
            for _ in make_loader(part, data, 8, shuffle=shuffle):
                pass
    before = set(opened)
    assert len(before) == len(data.train) + len(data.validation)
    for _ in make_loader(data.test, data, 8, shuffle=False):
        pass
    assert len(opened - before) == len(data.test) == (6 if own_test else 8)


def test_max_train_images_too_small_for_the_validation_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", n=50)
    fill(tmp_path / "val", n=5)
    refuse(
        tmp_path,
        "data.max_train_images: 10 leaves 1 images for 2 classes of one split; raise it to 20",
        max_train_images=10,
    )
