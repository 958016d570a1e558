"""Conversion of networks that others wrote: classifiers, a detector, a segmentation network (package pytorchcv)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytorchcv.models.bisenet import bisenet_resnet18_celebamaskhq
from pytorchcv.models.centernet import centernet_resnet18_voc
from pytorchcv.models.mobilenetv2 import mobilenetv2_wd4
from pytorchcv.models.resnet_cifar import resnet20_cifar10
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import convert


def outputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        made = network.eval()(images)
    return [made] if isinstance(made, Tensor) else list(made)


@pytest.mark.parametrize(
    ("make", "to", "changed", "pixels"),
    [
        (resnet20_cifar10, "bsconv_u", 19, 32),
        (resnet20_cifar10, "c2sp", 19, 32),
        (mobilenetv2_wd4, "xsep", 17, 224),
        (mobilenetv2_wd4, "c4sp", 18, 224),
        (lambda: centernet_resnet18_voc(pretrained_backbone=False), "bsconv_s", 23, 64),
        (lambda: bisenet_resnet18_celebamaskhq(pretrained_backbone=False, in_size=(64, 64)), "sep", 24, 64),
    ],
)
def test_networks_of_others_keep_their_outputs_shapes(
    make: Callable[[], nn.Module], to: str, changed: int, pixels: int
) -> None:
    torch.manual_seed(0)
    network = make()
    images = torch.randn(1, 3, pixels, pixels)
    before = outputs(network, images)
    result = convert(network, to, inputs=images)
    after = outputs(network, images)
    assert len(result.changed) == changed
    assert [made.shape for made in after] == [made.shape for made in before]
    assert all(made.isfinite().all() for made in after)
    assert all("1x1" in row.why or "dense" in row.why for row in result.skipped)
    assert result.macs_before is not None
    assert result.macs_after is not None
    # 2x2, 1 x 3 and 3 x 1 have one weight more than 3 x 3, 4x4 has seven
    assert (result.macs_after < result.macs_before) == (to not in ("xsep", "c4sp"))


@pytest.mark.slow
def test_a_trained_network_of_others_is_converted_and_tuned_on_digits() -> None:
    digits = load_digits()
    images = F.interpolate(torch.tensor(digits.images[:, None] / 16, dtype=torch.float32), size=32)
    images, labels = images.expand(-1, 3, -1, -1), torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]

    def tune(network: nn.Module, epochs: int, rate: float) -> float:
        optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4, nesterov=True)
        steps = epochs * (len(train) // 64)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        network.train()
        for _ in range(epochs):
            for batch in train[torch.randperm(len(train))].split(64)[: len(train) // 64]:
                optimizer.zero_grad()
                F.cross_entropy(network(images[batch]), labels[batch]).backward()
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            return float((network.eval()(images[test]).argmax(1) == labels[test]).float().mean())

    torch.manual_seed(0)
    network = resnet20_cifar10()
    assert tune(network, 3, 0.1) > 0.9
    result = convert(network, "bsconv_u", init="from-weights", inputs=(3, 32, 32))
    assert result.params_after < 0.2 * result.params_before
    assert tune(network, 5, 0.05) >= 0.95
