"""What goes to the device that batches are made on, and how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.images import random_data
from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.augment import augmentation as augment
from evaluators.augment import blending, crops
from evaluators.augment.augmentation import Augmentation
from evaluators.base.devices import to_device
from evaluators.data import images, loaders
from evaluators.data.loaders import make_loader
from evaluators.data.options import Where

AUGMENTATIONS = [
    None,
    Augmentation(2, True, color_jitter=0.4, cutout=5, mixup=1.0),
    Augmentation(0, True, (0.2, 1.0), color_jitter=(0.1, 0.2, 0.3), cutout=3, mixup=0.4),
]


class Copies(TorchDispatchMode):
    """Counts the copies from the CPU to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
            self.count += torch.device(kwargs.get("device") or "cpu").type != "cpu"
        return func(*args, **kwargs)


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """The tensors that `to_device` moves."""
    moved: list[torch.Tensor] = []

    def count(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        if tensor.device != device:
            moved.append(tensor)
        return to_device(tensor, device)

    with monkeypatch.context() as patch:
        for module in (augment, blending, crops, images, loaders):
            patch.setattr(module, "to_device", count)
        yield moved


def test_on_the_cpu_a_tensor_stays_itself() -> None:
    tensor = torch.arange(4)
    assert to_device(tensor, torch.device("cpu")) is tensor
    assert to_device(tensor, torch.device("meta")).device.type == "meta"


def test_on_cuda_a_copy_waits_for_nobody() -> None:
    asked: list[Any] = []

    class Tensor(SimpleNamespace):
        def pin_memory(self) -> Tensor:
            return Tensor(device=self.device, pinned=True)

        def to(self, device: torch.device, non_blocking: bool = False) -> None:
            asked.append((self.pinned, device, non_blocking))

    cuda = torch.device("cuda:0")
    to_device(Tensor(device=torch.device("cpu"), pinned=False), cuda)  # type: ignore[arg-type]
    # what is on the device cannot be pinned
    to_device(Tensor(device=cuda, pinned=False), cuda)  # type: ignore[arg-type]
    assert asked == [(True, cuda, True), (False, cuda, False)]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("where", ["device", "memory"])
def test_whatever_a_batch_needs_goes_the_one_way(
    monkeypatch: pytest.MonkeyPatch, augmentation: Augmentation | None, where: Where
) -> None:
    data = random_data(where)
    # "meta" stands for a device that is not this one
    loader = make_loader(data.train, data, 16, shuffle=True, augmentation=augmentation, device="meta")
    with counted(monkeypatch) as moved, Copies() as copies:
        made, labels = next(iter(loader))
    assert made.device.type == labels.device.type == "meta"
    assert copies.count == len(moved) > 0
    # few, and none as large as a mask or an image, apart from images that are kept here
    assert len(moved) <= (9 if where == "device" else 10)
    large = [tensor for tensor in moved if tensor.numel() > 16 * 4]
    assert [tensor.shape for tensor in large] == [(16, 3, 12, 12)] * (where == "memory")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("where", ["device", "memory"])
def test_cuda_makes_the_same_batches_and_never_waits(augmentation: Augmentation | None, where: Where) -> None:
    data = random_data(where)
    here, there = (
        make_loader(data.train, data, 16, shuffle=True, augmentation=augmentation, seed=3, device=device)
        for device in ("cpu", "cuda")
    )
    expected = list(here)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = list(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (made, labels), (wanted, targets) in zip(found, expected, strict=True):
        assert made.is_cuda
        torch.testing.assert_close(made.cpu(), wanted, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(labels.cpu(), targets)
