"""CIFAR's binary archives and SVHN's MATLAB files, written here byte by byte as their authors describe them."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import refuse
from scipy.io import savemat

from evaluators.data.images import ImageData, Images
from evaluators.data.load import load_data, open_source

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HUNDRED = tuple(f"fine_{number:02d}" for number in range(100))


def pixels(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def records(images: np.ndarray, *labels: np.ndarray) -> bytes:
    """Return one record after the other: the labels of an image, then its red, green and blue rows."""
    content = b""
    for index, image in enumerate(images):
        content += bytes(int(column[index]) for column in labels)
        for plane in image:
            content += b"".join(row.tobytes() for row in plane)
    return content


def cifar10(n: int = 20) -> tuple[dict[str, bytes], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the files, and per split the images and labels in them; `n` images a file."""
    files, parts = {"batches.meta.txt": ("\n".join(TEN) + "\n\n").encode()}, []
    for number in range(1, 7):
        labels = (np.arange(n) + number) % 10
        parts.append((pixels(number, n), labels))
        name = f"data_batch_{number}.bin" if number < 6 else "test_batch.bin"
        files[name] = records(*parts[-1])
    train = tuple(np.concatenate(column) for column in zip(*parts[:5], strict=True))
    return files, {"train": (train[0], train[1]), "test": parts[5]}


def cifar100() -> tuple[dict[str, bytes], dict[str, tuple[np.ndarray, np.ndarray]]]:
    files = {
        "fine_label_names.txt": "\n".join(HUNDRED).encode(),
        "coarse_label_names.txt": "\n".join(f"coarse_{number}" for number in range(20)).encode(),
    }
    splits = {}
    for name, n in (("train", 500), ("test", 100)):
        fine = np.arange(n) % 100
        splits[name] = (pixels(n, n), fine)
        files[f"{name}.bin"] = records(splits[name][0], fine % 20, fine)
    return files, splits


def unpacked(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def packed(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def contents(*parts: Images) -> list[tuple[bytes, int]]:
    return sorted(
        (image.numpy().tobytes(), int(label))
        for part in parts
        for image, label in zip(part.gather(torch.arange(len(part))), part.labels, strict=True)
    )


def expected(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def check(data: ImageData, splits: dict[str, tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...]) -> None:
    assert data.classes == classes
    assert contents(data.train, data.validation) == expected(*splits["train"])
    assert contents(data.test) == expected(*splits["test"])


@pytest.mark.parametrize(
    ("make", "folder", "classes"),
    [(cifar10, "cifar-10-batches-bin", TEN), (cifar100, "cifar-100-binary", HUNDRED)],
)
def test_cifar_in_every_form(tmp_path: Path, make: Callable[[], Any], folder: str, classes: tuple[str, ...]) -> None:
    files, splits = make()
    inside = unpacked(tmp_path / "all" / folder, files)
    archive = packed(tmp_path / "some-name.tgz", folder, files)
    for path in (inside, inside.parent, archive):
        check(load_data(str(path), image_size=32), splits, classes)
        assert open_source(str(path)).classes == classes
    streamed = load_data(str(inside), image_size=32, where="stream", workers=0)
    check(streamed, splits, classes)
    # a process that it is sent to opens the test
    check(pickle.loads(pickle.dumps(load_data(str(archive), image_size=32))), splits, classes)


def test_cifar_resized_and_grey(tmp_path: Path) -> None:
    files, splits = cifar10()
    data = load_data(str(unpacked(tmp_path / "c", files)), image_size=16, channels=1)
    assert (data.channels, data.image_size, data.sizes["test"]) == (1, 16, 20)
    # brightness survives: ITU-R 601 weights, averaged over blocks of four pixels and more
    luma = np.tensordot(splits["test"][0].astype(float), [0.299, 0.587, 0.114], axes=(1, 0))
    found = data.test.gather(torch.arange(20)).numpy()
    np.testing.assert_allclose(found.mean((1, 2, 3)), luma.mean((1, 2)), atol=1.5)


def test_cifar_without_test_is_split(tmp_path: Path) -> None:
    files, splits = cifar10()
    del files["test_batch.bin"]
    data = load_data(str(unpacked(tmp_path / "c", files)), image_size=32)
    assert data.sizes == {"train": 64, "validation": 16, "test": 20}
    assert contents(data.train, data.validation, data.test) == expected(*splits["train"])


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("a pickle was opened",)

    bomb = pickle.dumps(Bomb())
    ten = {f"data_batch_{number}": bomb for number in range(1, 6)} | {"test_batch": bomb, "batches.meta": bomb}
    hundred = {"train": bomb, "test": bomb, "meta": bomb}
    for number, (folder, files) in enumerate({"cifar-10-batches-py": ten, "cifar-100-python": hundred}.items()):
        inside = unpacked(tmp_path / str(number) / folder, files)
        for path in (inside, inside.parent, packed(tmp_path / f"{number}.tar.gz", folder, files)):
            refuse(path, r"Python version of CIFAR, whose pickles .* use the binary version \(cifar-10-binary.tar.gz")


def test_damaged_cifar(tmp_path: Path) -> None:
    files, _ = cifar10()
    refuse(unpacked(tmp_path / "a", files | {"data_batch_3.bin": files["data_batch_3.bin"][:-1]}), "data_batch_3.bin")
    refuse(unpacked(tmp_path / "b", files | {"test_batch.bin": b""}), "0 bytes in test_batch.bin")
    wrong = bytes([10]) + files["data_batch_1.bin"][1:]
    refuse(unpacked(tmp_path / "c", files | {"data_batch_1.bin": wrong}), "label 10 for 10 classes")
    refuse(unpacked(tmp_path / "d", files | {"batches.meta.txt": b"cat\ndog"}), "2 names for 10 classes")
    lacking = {name: content for name, content in files.items() if name != "data_batch_2.bin"}
    refuse(unpacked(tmp_path / "e", lacking), "lacks data_batch_2.bin of CIFAR-10's binary version")
    archive = packed(tmp_path / "cut.tar.gz", "x", files)
    archive.write_bytes(archive.read_bytes()[:-100])
    refuse(archive, "cannot be read .*; fetch the archive again")
    refuse(packed(tmp_path / "other.tar.gz", "x", {"readme": b"hello"}), "is an archive, but not cifar-10-binary")


# --- SVHN ---


def svhn(folder: Path, split: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Write a file as published; return its images, (n, 3, 32, 32), and digits."""
    images = pixels(seed, n)
    digits = np.arange(n) % 10
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
    # X(row, column, colour, image)
    content = {"X": np.stack([image.transpose(1, 2, 0) for image in images], axis=3), "y": labels}
    savemat(folder / f"{split}_32x32.mat", content, do_compression=seed % 2 == 0)
    return images, digits


def test_svhn(tmp_path: Path) -> None:
    splits = {"train": svhn(tmp_path, "train", 60, 1), "test": svhn(tmp_path, "test", 20, 2)}
    for path in (tmp_path, tmp_path / "train_32x32.mat"):
        check(load_data(str(path), image_size=32), splits, tuple("0123456789"))
    images, digits = svhn(tmp_path, "extra", 40, 3)
    splits["train"] = tuple(np.concatenate(pair) for pair in zip(splits["train"], (images, digits), strict=True))
    check(load_data(str(tmp_path), image_size=32), splits, tuple("0123456789"))


def test_svhn_alone_is_split(tmp_path: Path) -> None:
    train = svhn(tmp_path, "train", 100, 1)
    data = load_data(str(tmp_path), image_size=32)
    assert data.sizes == {"train": 64, "validation": 16, "test": 20}
    assert contents(data.train, data.validation, data.test) == expected(*train)


def test_svhn_refusals(tmp_path: Path) -> None:
    svhn(tmp_path / "a", "test", 20, 1)
    refuse(tmp_path / "a", "lacks train_32x32.mat of SVHN")
    refuse(tmp_path / "a" / "test_32x32.mat", "lacks train_32x32.mat|not train_32x32.mat")
    svhn(tmp_path / "b", "train", 20, 1)
    file = tmp_path / "b" / "train_32x32.mat"
    file.write_bytes(file.read_bytes()[:5000])
    refuse(file, "train_32x32.mat that cannot be read .*; fetch it again")
    savemat(file, {"X": np.zeros((4, 4)), "y": np.ones(4)})
    refuse(file, "is not SVHN's, with X, uint8")
    savemat(file, {"other": np.zeros((4, 4))})
    refuse(file, "is not SVHN's")
    # the header that MATLAB writes before version 7.3's HDF5
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n")
    refuse(file, "MATLAB's version 7.3; use the original file")
