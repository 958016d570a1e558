"""How near generated images are to real ones, by the features of a classifier of ours.

They need no network and no download, and are no FID: that is defined by the features of one Inception network, which
ours are not. They compare generators that were measured by the same classifier, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.training.optimizers import last_linear

#: Neighbours that reach how far the images of a set stretch (Kynkäänniemi et al. 2019).
NEIGHBOURS = 3


@dataclass(frozen=True)
class Nearness:
    """Of one set of images to another.

    Attributes:
        frechet: the Fréchet distance of two normal distributions fitted to the features (Heusel et al. 2017); 0 if
            they are the same.
        precision: share of the first set's images that lie among the second's (Kynkäänniemi et al. 2019).
        recall: share of the second set's images that lie among the first's.
    """

    frechet: float
    precision: float
    recall: float


class Features:
    """What the classifier's last linear layer sees of images.

    Args:
        network: a trained classifier.
        mean, std: of each channel, by which its images are normalised.
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.network = network.eval()
        self._mean, self._std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
        self._seen: list[Tensor] = []
        last_linear(network).register_forward_pre_hook(lambda _, inputs: self._seen.append(inputs[0].detach()))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> NDArray[np.float64]:
        """uint8 ``(n, colours, side, side)`` to ``(n, features)``."""
        self._seen.clear()
        for part in images.split(256):
            self.network((part.float() / 255 - self._mean) / self._std)
        return torch.cat(self._seen).double().numpy()


def nearness(first: NDArray[np.float64], second: NDArray[np.float64]) -> Nearness:
    """Of features ``(n, features)`` to others ``(m, features)``."""
    return Nearness(frechet(first, second), _share_among(first, second), _share_among(second, first))


def frechet(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The Fréchet distance of two normal distributions fitted to the rows of each."""
    one, other = (np.cov(rows, rowvar=False).reshape(rows.shape[1], -1) for rows in (first, second))
    apart = float(((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum())
    # the trace of the root of a product of covariances is the sum of the roots of its eigenvalues
    roots = np.sqrt(np.linalg.eigvals(one @ other).real.clip(min=0)).sum()
    return max(0.0, apart + float(np.trace(one) + np.trace(other) - 2 * roots))


def _share_among(points: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The share of ``points`` that lie in the ball of one of ``others`` up to its third-nearest neighbour."""
    given, held = torch.from_numpy(points), torch.from_numpy(others)
    neighbours = min(NEIGHBOURS, len(held) - 1)
    reach = torch.cdist(held, held).kthvalue(neighbours + 1, dim=1).values  # the nearest is the point itself
    return float((torch.cdist(given, held) <= reach).any(dim=1).double().mean())
