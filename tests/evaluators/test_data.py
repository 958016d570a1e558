"""Image sets, stratified choices, the digits, and the arguments of load_data."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import make_set, splits, toy_data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

import evaluators
from evaluators.data.images import STD_FLOOR, ImageSet, channel_statistics
from evaluators.data.load import describe, load_data
from evaluators.data.splits import stratified_split, stratified_subset
from evaluators.sources.find import DATASETS
from search_space.base.errors import InvalidRequest


def refusal(error: pytest.ExceptionInfo[InvalidRequest]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# --- the values that travel ---


def test_subset_keeps_order_and_pairs() -> None:
    full = make_set()
    part = full.subset([4, 1, 1])
    assert len(part) == 3
    assert torch.equal(part.images[0], full.images[4])
    assert torch.equal(part.images[2], full.images[1])
    assert part.labels.tolist() == [0, 1, 1]
    assert len(full.subset([])) == 0
    assert full.subset(np.array([5])).labels.tolist() == [1]


def test_subset_is_a_copy() -> None:
    full = make_set()
    part = full.subset(torch.arange(6))
    part.images.zero_()
    assert full.images.any()


@pytest.mark.parametrize("indices", [[6], [-1], torch.ones(6, dtype=torch.bool), [[0]], [0.5]])
def test_subset_refuses(indices: Any) -> None:
    with pytest.raises(InvalidRequest, match="indices"):
        make_set().subset(indices)


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64), r"images: torch.float32 \(2, 1, 4, 4\)"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "is not a uint8 tensor"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "labels: torch.float32"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "3 entries for 2 images"),
        ([1], torch.zeros(1, dtype=torch.int64), "images: list"),
    ],
)
def test_image_set_refuses(images: Any, labels: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        ImageSet(images, labels)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"classes": ("a",)}, "at least 2 classes"),
        ({"validation": make_set(0)}, "validation of 'toy': holds no image"),
        ({"test": make_set(classes=3)}, r"test of 'toy': has labels 0\.\.2 for 2 classes"),
        ({"validation": make_set(size=5)}, r"shape \(1, 5, 5\), train of \(1, 4, 4\)"),
        ({"test": make_set(channels=3)}, "align"),
        ({"mean": (0.5, 0.5)}, "mean: "),
        ({"std": (float("nan"),)}, "std: "),
        ({"std": (0.0,)}, "std: "),
        ({"train": ImageSet(torch.zeros(2, 1, 4, 5, dtype=torch.uint8), torch.tensor([0, 1]))}, "must be square"),
    ],
)
def test_image_data_refuses(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        toy_data(**changes)


def test_image_data_properties() -> None:
    data = toy_data()
    assert (data.channels, data.image_size) == (1, 4)
    assert describe(data) == "toy: 18 images, 2 classes, 1x4x4; train 6, validation 6, test 6"
    assert describe(toy_data(skipped=("x.png",))).endswith("test 6; 1 unreadable left out")


def test_statistics_agree_with_float64() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1500, 3, 5, 5), dtype=np.uint8))
    mean, std = channel_statistics(images)
    values = images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=(0, 2, 3)), rtol=1e-12)


def test_constant_channel_gets_the_floor() -> None:
    assert channel_statistics(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)) == ((1.0,), (STD_FLOOR,))


# --- stratified choices ---

label_lists = st.lists(st.integers(2, 40), min_size=2, max_size=6).flatmap(
    lambda counts: st.permutations([label for label, count in enumerate(counts) for _ in range(count)])
)


@settings(max_examples=60)
@given(labels=label_lists, fraction=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_split_is_a_stratified_partition(labels: list[int], fraction: float, seed: int) -> None:
    sizes = Counter(labels)
    small = min(fraction, 1 - fraction) * len(labels) <= len(sizes) + 1
    rare = any((1 - fraction) * size < 1 for size in sizes.values())
    with suppress(InvalidRequest) if small or rare else nullcontext():
        _check_split(labels, fraction, seed)


def _check_split(labels: list[int], fraction: float, seed: int) -> None:
    rest, held = stratified_split(labels, fraction, seed)
    assert sorted([*rest, *held]) == list(range(len(labels)))
    assert list(rest) == sorted(rest)
    assert list(held) == sorted(held)
    assert fraction * len(labels) - 1e-6 <= len(held) < fraction * len(labels) + 1
    held_counts = Counter(labels[i] for i in held)
    for label, count in Counter(labels).items():
        assert abs(held_counts[label] - len(held) * count / len(labels)) < 1
    again = stratified_split(torch.tensor(labels), fraction, seed)
    assert np.array_equal(again[0], rest)
    assert np.array_equal(again[1], held)


@settings(max_examples=60)
@given(labels=label_lists, share=st.floats(0.01, 1.1), seed=st.integers(0, 2**32 - 1))
def test_subset_is_stratified(labels: list[int], share: float, seed: int) -> None:
    n = max(1, int(share * len(labels)))
    rare = min(Counter(labels).values()) * n / len(labels) < 1
    with suppress(InvalidRequest) if rare else nullcontext():
        _check_subset(labels, n, seed)


def _check_subset(labels: list[int], n: int, seed: int) -> None:
    chosen = stratified_subset(labels, n, seed)
    assert len(chosen) == len(set(chosen)) == min(n, len(labels))
    counts = Counter(labels[i] for i in chosen)
    for label, count in Counter(labels).items():
        assert abs(counts[label] - len(chosen) * count / len(labels)) < 1


def test_split_depends_on_seed() -> None:
    labels = [0, 1] * 50
    assert not np.array_equal(stratified_split(labels, 0.2, 0)[1], stratified_split(labels, 0.2, 1)[1])


def test_share_that_floats_round_up() -> None:
    assert len(stratified_split([0, 1] * 50, 0.07, 0)[1]) == 7


@pytest.mark.parametrize(
    ("labels", "fraction", "text"),
    [
        ([0, 0, 0, 1], 0.5, "class 'dog' has 1 image"),
        ([0, 0, 0, 1, 1, 1], 0.1, "means 1 held out, fewer than the 2 classes"),
        ([0, 0, 0, 1, 1, 1], 0.9, "means 0 left, fewer than the 2 classes"),
        ([], 0.5, "no image to split"),
    ],
)
def test_split_refuses(labels: list[int], fraction: float, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text) as error:
        stratified_split(labels, fraction, 0, field="share", classes=("cat", "dog"))
    refusal(error)


def test_split_refuses_to_empty_a_class() -> None:
    with pytest.raises(InvalidRequest, match="leaves no image of class 1"):
        stratified_split([0] * 100 + [1] * 2, 0.9, 0)


def test_stratified_subset_refuses() -> None:
    with pytest.raises(InvalidRequest, match="n: 2 is below the 3 classes"):
        stratified_subset([0, 1, 2] * 4, 2, 0)
    with pytest.raises(InvalidRequest, match="n: 4 leaves no image of class 1"):
        stratified_subset([0] * 100 + [1] * 2, 4, 0)


# --- load_data ---


def contents(*sets: ImageSet) -> Counter[tuple[bytes, int]]:
    return Counter(
        (image.numpy().tobytes(), int(label))
        for part in sets
        for image, label in zip(part.images, part.labels, strict=True)
    )


def test_digits_are_those_of_scikit_learn() -> None:
    data = load_data("digits", image_size=8)
    bundle = load_digits()
    expected = Counter(
        (bytes(int(v * 255 / 16 + 0.5) for v in image.ravel()), int(label))
        for image, label in zip(bundle.images, bundle.target, strict=True)
    )
    # Every image is in exactly one split, with its own label.
    assert contents(data.train, data.validation, data.test) == expected
    assert data.classes == tuple("0123456789")
    assert describe(data) == "digits: 1797 images, 10 classes, 1x8x8; train 1149, validation 288, test 360"


def test_digits_resized() -> None:
    assert describe(load_data("digits", image_size=16)).startswith("digits: 1797 images, 10 classes, 1x16x16;")
    colour = load_data("digits", image_size=5, channels=3)
    assert (colour.channels, colour.image_size) == (3, 5)
    assert torch.equal(colour.test.images[:, 0], colour.test.images[:, 2])


def test_statistics_come_from_the_train_split_alone() -> None:
    data = load_data("digits", image_size=8)
    values = data.train.images.numpy() / 255
    np.testing.assert_allclose(data.mean, values.mean(), rtol=1e-12)
    np.testing.assert_allclose(data.std, values.std(), rtol=1e-12)


def test_seed_decides_the_split() -> None:
    first, again, other = (load_data("digits", image_size=8, seed=seed) for seed in (5, 5, 6))
    assert all(torch.equal(splits(first)[name].images, splits(again)[name].images) for name in splits(first))
    assert contents(first.test) != contents(other.test)


def test_split_does_not_depend_on_the_pixels_asked_for() -> None:
    small, large = load_data("digits", image_size=8), load_data("digits", image_size=12, channels=3)
    assert torch.equal(small.validation.labels, large.validation.labels)
    assert torch.equal(small.train.labels, large.train.labels)


def test_max_train_images_leaves_the_test_alone() -> None:
    full = load_data("digits", image_size=8)
    part = load_data("digits", image_size=8, max_train_images=500)
    assert describe(part).endswith("train 400, validation 100, test 360")
    assert contents(part.test) == contents(full.test)
    assert not contents(part.train, part.validation) - contents(full.train, full.validation)
    counts = (part.train.labels.bincount() + part.validation.labels.bincount()).tolist()
    assert max(counts) - min(counts) <= 3


def test_max_train_images_beyond_the_data_changes_nothing() -> None:
    full, same = load_data("digits", image_size=8), load_data("digits", image_size=8, max_train_images=10**6)
    assert torch.equal(full.train.images, same.train.images)


def test_shares() -> None:
    data = load_data("digits", image_size=8, test=0.5, validation=0.1)
    assert (len(data.test), len(data.validation), len(data.train)) == (899, 90, 808)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "cifar"}, r"data.name: 'cifar' is not known, .* digits, hf:name\[:config\], .*<folder>, owner/name"),
        ({"name": ""}, "data.name: '' is not a name"),
        ({"image_size": 0}, r"data\.image_size: 0 must be a whole number of at least 1$"),
        ({"image_size": 8.0}, "image_size: 8.0 must be a whole number"),
        ({"image_size": True}, "image_size: True"),
        ({"channels": 2}, "channels: 2 must be auto or 1 or 3"),
        ({"channels": True}, "channels: True must be"),
        ({"channels": "rgb"}, "channels: 'rgb'"),
        ({"validation": 1.0}, "data.validation: 1.0 must be a number above 0 and below 1"),
        ({"test": 0}, "test: 0"),
        ({"test": "x"}, "test: 'x'"),
        ({"test": 0.001}, "data.test: 0.001 of 1797 images means 2 held out"),
        ({"max_train_images": 0}, "max_train_images: 0"),
        ({"max_train_images": 9}, "max_train_images: 9 leaves 9 images for 10 classes"),
        ({"max_train_images": 12}, "validation: 0.2"),
        ({"on_corrupt": "ignore"}, "on_corrupt: 'ignore' is unknown"),
        ({"seed": -1}, "seed: -1 must be"),
        ({"seed": 2**32}, "seed: 4294967296"),
    ],
)
def test_load_data_refuses(changes: dict[str, Any], text: str) -> None:
    arguments: dict[str, Any] = {"name": "digits", "image_size": 8} | changes
    with pytest.raises(InvalidRequest, match=text) as error:
        load_data(arguments.pop("name"), **arguments)
    refusal(error)


def test_images_that_cannot_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("evaluators.data.decode.np", SimpleNamespace(zeros=no_memory, uint8=np.uint8))
    with pytest.raises(InvalidRequest, match=r"data\.image_size: 1024 makes 1437 images with 1 channels take 1\.4 GiB"):
        load_data("digits", image_size=1024)


# --- the package ---


def test_import_is_light() -> None:
    code = (
        "import sys, evaluators, evaluators.data.options; assert not {'torch', 'numpy', 'PIL'} & set(sys.modules); "
        "import evaluators.sources.find; assert not {'torch', 'PIL', 'sklearn', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exports() -> None:
    assert evaluators.load_data is load_data
    assert evaluators.ImageSet is ImageSet
    assert set(evaluators.__all__) <= set(dir(evaluators))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = evaluators.nonsense


def test_dataset_names_have_one_line_each() -> None:
    assert "digits" in DATASETS
    assert all(text and "\n" not in text for text in DATASETS.values())


def test_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path: Path) -> None:
    for label in ("a\x1b[31m", "b"):
        (tmp_path / "x\x1b[2J" / label).mkdir(parents=True)
        for k in range(12):
            Image.new("L", (4, 4), k).save(tmp_path / "x\x1b[2J" / label / f"{k}.png")
    (tmp_path / "x\x1b[2J" / "c\x07").mkdir()
    with pytest.raises(InvalidRequest) as error:
        load_data(str(tmp_path / "x\x1b[2J"), image_size=4)
    assert refusal(error).isprintable()
    (tmp_path / "x\x1b[2J" / "c\x07").rmdir()
    assert describe(load_data(str(tmp_path / "x\x1b[2J"), image_size=4)).isprintable()
