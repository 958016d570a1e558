"""Decoded pixels on disk: when they are used, when they are not, damage, and several processes at once."""

from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.images import noise_folder, splits
from PIL import Image
from safetensors import safe_open

from evaluators.data import cache as cache_module
from evaluators.data.cache import cache_folder
from evaluators.data.images import ImageData
from evaluators.data.load import load_data
from evaluators.sources.folder import ImageFiles


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPNAS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The image files that were opened so far."""
    paths: list[str] = []
    original = ImageFiles.open

    def record(self: ImageFiles, index: int) -> Image.Image:
        paths.append(self.paths[index])
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "open", record)
    return paths


def fill(root: Path, n: int = 15, seed: int = 0) -> Path:
    return noise_folder(root, n, ("cat", "dog"), (8, 8), seed=seed)


def load(root: Path, **options: Any) -> ImageData:
    return load_data(str(root), **({"image_size": 8, "channels": 3} | options))


def files() -> list[Path]:
    return sorted(cache_folder().iterdir()) if cache_folder().exists() else []


def assert_same(first: ImageData, second: ImageData) -> None:
    for name, part in splits(first).items():
        everything = torch.arange(len(part))
        assert torch.equal(part.gather(everything), splits(second)[name].gather(everything))
        assert torch.equal(part.labels, splits(second)[name].labels)


def test_images_are_decoded_once(tmp_path: Path, opened: list[str]) -> None:
    root = fill(tmp_path / "toy")
    plain = load(root, cache=False)
    _ = plain.test
    assert (len(opened), files()) == (30, [])
    first = load(root)
    assert len(opened) == 30 + 24
    _ = first.test
    assert len(opened) == 30 + 30
    again = load(root)
    assert_same(again, first)
    assert_same(again, plain)
    assert len(opened) == 60
    # train and validation as one, and the test
    assert len(files()) == 2


def test_another_split_of_the_same_images_is_in_the_cache(tmp_path: Path, opened: list[str]) -> None:
    root = fill(tmp_path / "toy" / "train").parent
    fill(root / "test", 3, seed=1)
    load(root)
    del opened[:]
    other = load(root, seed=7, validation=0.4)
    assert opened == []
    assert_same(other, load(root, seed=7, validation=0.4, cache=False))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: {"image_size": 4},
        lambda root: {"channels": 1},
        lambda root: {"max_train_images": 20},
        lambda root: fill(root / "train", 15, seed=5) and {},
        lambda root: fill(root / "train", 16) and {},
        lambda root: os.utime(root / "train" / "cat" / "003.png", ns=(0, 0)) or {},
        lambda root: (root / "train" / "cat" / "003.png").rename(root / "train" / "cat" / "9.png") and {},
    ],
    ids=["size", "channels", "choice", "pixels", "one more", "time", "name"],
)
def test_whatever_decides_the_pixels_is_in_the_key(
    tmp_path: Path, opened: list[str], change: Callable[[Path], dict[str, Any]]
) -> None:
    root = fill(tmp_path / "toy" / "train").parent
    fill(root / "test", 3, seed=1)
    load(root)
    options = change(root)
    del opened[:]
    assert_same(load(root, **options), load(root, cache=False, **options))
    assert opened


def test_version_of_the_decoder_is_in_the_key(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fill(tmp_path / "toy")
    load(root)
    del opened[:]
    monkeypatch.setattr(cache_module, "DECODER_VERSION", 10**6)
    load(root)
    assert len(opened) == 24


def test_unreadable_images_are_remembered(tmp_path: Path, opened: list[str]) -> None:
    root = fill(tmp_path / "toy" / "train").parent
    fill(root / "test", 3, seed=1)
    (root / "train" / "dog" / "007.png").write_text("not an image")
    first = load(root, on_corrupt="skip")
    del opened[:]
    again = load(root, on_corrupt="skip")
    assert opened == []
    assert again.skipped == first.skipped == (str(root / "train" / "dog" / "007.png"),)
    assert_same(again, first)
    with pytest.raises(ValueError, match=r"1 of 30 images that cannot be read: .*007\.png' \(cannot identify"):
        load(root)
    assert len(opened) == 6  # of the test, by assert_same


def flip_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 1000),
    ],
    ids=["pixel", "cut", "empty", "noise"],
)
def test_damaged_file_is_made_again(
    tmp_path: Path, opened: list[str], caplog: pytest.LogCaptureFixture, damage: Callable[[Path], Any]
) -> None:
    root = fill(tmp_path / "toy")
    expected = load(root)
    (file,) = files()
    damage(file)
    del opened[:]
    with caplog.at_level(logging.WARNING):
        assert_same(load(root, cache=True), expected)
    assert len(opened) == 24 + 6
    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith(f"cache file {file} is damaged (")
    assert text.endswith("): its images are decoded again")
    assert "\n" not in text
    del opened[:]
    caplog.clear()
    assert_same(load(root), expected)
    assert (opened, caplog.records) == ([], [])


def test_folder_that_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEPNAS_CACHE", str(tmp_path / "file" / "cache"))
    root = fill(tmp_path / "toy")
    assert_same(load(root), load(root, cache=False))
    assert "decoded images cannot be kept in" in caplog.text
    assert "set SEPNAS_CACHE to another folder" in caplog.text


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SEPNAS_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "sepnas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "sepnas"


def test_files_are_small_and_plain(tmp_path: Path) -> None:
    root = fill(tmp_path / "toy")
    load(root)
    (file,) = files()
    # pixels as they are, and little else
    assert 24 * 3 * 64 < file.stat().st_size < 24 * 3 * 64 + 1000
    with safe_open(file, "pt") as content:
        assert content.get_tensor("images").shape == (24, 3, 8, 8)


def test_left_overs_of_killed_runs_are_removed(tmp_path: Path) -> None:
    cache_folder().mkdir()
    # of two other hosts, and a lock
    names = (
        ".x.sepnas-tmp-a-{}-0123abcd.safetensors",
        ".x.sepnas-tmp-node-{}-0123abcd.safetensors",
        ".{}.sepnas-lock",
    )
    old, new = ([cache_folder() / name.format(number) for name in names] for number in (1, 2))
    for path in (*old, *new):
        path.write_text("half")
    for path in old:
        os.utime(path, (0, 0))
    load(fill(tmp_path / "toy"))
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in new)


def test_digits_are_not_worth_it() -> None:
    _ = load_data("digits", image_size=8).test
    assert files() == []


def forking(test: Any) -> Any:
    """Mark a test that forks."""
    test = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")(test)
    return pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")(test)


def load_beside_another(root: Path, barrier: Any, results: Any) -> None:
    """Load the images, and wait for the other process between finding nothing and beginning to write."""
    save = cache_module._save

    def save_together(*arguments: Any) -> None:
        barrier.wait(30)
        save(*arguments)

    cache_module._save = save_together  # in this process alone
    cache_module._acquired = lambda path: None  # where there are no locks
    results.put(hashlib.sha256(load(root).train.gather(torch.arange(20)).numpy().tobytes()).hexdigest())


@forking
def test_two_processes_at_once_where_there_are_no_locks(
    tmp_path: Path, opened: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = fill(tmp_path / "toy" / "train", 200).parent
    fill(root / "test", 3, seed=1)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=load_beside_another, args=(root, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert found[0] == found[1]
    # one whole file is left, which the next run uses
    assert len(files()) == 1
    data = load(root)
    assert (opened, caplog.records) == ([], [])
    assert_same(data, load(root, cache=False))


def load_slowly(root: Path, begun: Any, seconds: float, results: Any) -> None:
    """Load the images, and say when decoding begins, which takes so long that nobody can miss it."""
    decode = cache_module.decode

    def decode_slowly(*arguments: Any) -> Any:
        begun.put(os.getpid())
        time.sleep(seconds)
        return decode(*arguments)

    cache_module.decode = decode_slowly  # in this process alone
    results.put(hashlib.sha256(load(root).train.gather(torch.arange(20)).numpy().tobytes()).hexdigest())


@forking
def test_of_processes_at_once_one_decodes(tmp_path: Path) -> None:
    root = fill(tmp_path / "toy" / "train").parent
    fill(root / "test", 3, seed=1)
    context = multiprocessing.get_context("fork")
    begun, results = context.Queue(), context.Queue()
    processes = [context.Process(target=load_slowly, args=(root, begun, 2.0, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join(60)
    assert len(found) == 1
    assert begun.get(timeout=10) in [process.pid for process in processes]
    assert begun.empty()
    # no lock is left
    assert [file.suffix for file in files()] == [".safetensors"]


@forking
def test_who_waits_goes_on_when_the_other_is_killed(tmp_path: Path) -> None:
    root = fill(tmp_path / "toy" / "train").parent
    fill(root / "test", 3, seed=1)
    context = multiprocessing.get_context("fork")
    begun, results = context.Queue(), context.Queue()
    first, second = (context.Process(target=load_slowly, args=(root, begun, seconds, results)) for seconds in (600, 0))
    first.start()
    assert begun.get(timeout=60) == first.pid
    second.start()
    second.join(3)
    assert second.is_alive()
    first.kill()
    assert begun.get(timeout=60) == second.pid
    results.get(timeout=60)
    second.join(60)
    assert second.exitcode == 0
    assert [file.suffix for file in files()] == [".safetensors"]


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", unsupported)
    root = fill(tmp_path / "toy")
    assert_same(load(root), load(root, cache=False))
    assert [file.suffix for file in files()] == [".safetensors"] * 2
