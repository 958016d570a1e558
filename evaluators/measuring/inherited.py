"""Judging a network by weights inherited from a supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.base.devices import to_device
from evaluators.data.images import ImageData
from evaluators.data.loaders import make_loader
from search_space.network import Network
from search_space.supernet import pad_as_in_supernet


class Quality(NamedTuple):
    """Accuracy in [0, 1] and mean cross-entropy of a network on some images."""

    accuracy: float
    loss: float


class InheritedQuality:
    """Accuracy and loss, on the validation images, of a network whose weights come from a supernet.

    The supernet's batch-norm statistics mix all paths that were trained, so they are measured anew for each network,
    on ``calibration_images`` training images, drawn once by ``seed``, before it is judged.
    """

    def __init__(
        self,
        data: ImageData,
        *,
        calibration_images: int = 1024,
        batch_size: int = 256,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        count = min(calibration_images, len(data.train))
        chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:count]
        calibration = data.train.subset(chosen)
        self.device = torch.device(device)
        # batches of nearly one size: each counts the same in the statistics
        even = math.ceil(count / math.ceil(count / batch_size))
        self.calibration = list(make_loader(calibration, data, even, shuffle=False, device=device))
        self.validation = make_loader(data.validation, data, batch_size, shuffle=False, device=device)

    def __call__(self, network: Network) -> Quality:
        """Changes the network's batch-norm statistics and the padding of its even-sized layers (to that of the
        supernet), and leaves it in evaluation mode."""
        pad_as_in_supernet(network)
        network = network.to(self.device)
        # streamed batches come on the CPU
        reestimate_batch_norm(network, (to_device(images, self.device) for images, _ in self.calibration))
        return quality(network, ([to_device(tensor, self.device) for tensor in batch] for batch in self.validation))


@torch.no_grad()
def reestimate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace all running means and variances by the average over ``batches`` (images ``(b, c, h, w)``).

    Each batch counts the same, so they should be of about one size.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: cumulative average
    network.train()
    try:
        for images in batches:
            network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()


@torch.no_grad()
def quality(network: nn.Module, batches: Iterable[Sequence[Tensor]]) -> Quality:
    """Accuracy and loss over all images of ``batches``; the network must be in evaluation mode."""
    right = total = 0
    loss = 0.0
    for images, labels in batches:
        logits = network(images)
        right += int((logits.argmax(1) == labels).sum())
        loss += float(F.cross_entropy(logits.float(), labels, reduction="sum"))
        total += len(labels)
    return Quality(right / total, loss / total)
