"""What earlier trainings on other images say of operators, as a search by real trainings begins with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.runs.scores import SCORES_FILE, ScoreTable
from search_space.architecture import Architecture, Block
from search_space.base.checks import known_names
from search_space.base.errors import InvalidRequest
from search_space.candidates import SearchSpace

#: A family of operators, and whether in downsampling blocks only.
Feature = tuple[str, bool]
#: Tables that come with sepnas, by name.
BUILTIN = {"cifar10-jpeg-16": Path(__file__).parent.parent / "results" / "cifar10-jpeg-16" / "table"}
#: Ridge penalty, of targets and features with variance 1 where those of an architecture add up to one number.
_PENALTY = 2.0
#: Fewest networks of a table.
_LEAST = 10


def experience(space: SearchSpace, tables: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """{label: what each candidate adds to the score of a network}, in standard deviations between networks.

    A linear model of how often each family of operators is in a network, and in its downsampling blocks, fitted to the
    losses in ``tables`` by ridge regression. So it says nothing of kernel sizes and widths, which depend more on the
    images. InvalidRequest names a table that cannot be used.
    """
    counts: list[Counter[Feature]] = []
    targets: list[NDArray[np.float64]] = []
    for name in tables:
        networks, losses = _networks(name)
        counts += [_features(network.blocks) for network in networks]
        targets.append((losses.mean() - losses) / (losses.std() or 1.0))
    features = sorted({feature for own in counts for feature in own})
    matrix = np.array([[own[feature] for feature in features] for own in counts], dtype=np.float64)
    spread = np.where(matrix.std(axis=0) > 0, matrix.std(axis=0), np.inf) * np.sqrt(len(features))
    rows = (matrix - matrix.mean(axis=0)) / spread
    dual = np.linalg.solve(rows @ rows.T + _PENALTY * np.eye(len(rows)), np.concatenate(targets))
    weights = dict(zip(features, (rows.T @ dual) / spread, strict=True))
    return {
        label: np.array(
            [sum(n * weights.get(feature, 0.0) for feature, n in _features([block]).items()) for block in own]
        )
        for label, own in zip(space.labels, space.choices, strict=True)
    }


def _features(blocks: Sequence[Block]) -> Counter[Feature]:
    """How often each family is there, and how often in a block that downsamples."""
    families = Counter((block.family, False) for block in blocks)
    return families + Counter((block.family, True) for block in blocks if block.stride > 1)


def _networks(name: str) -> tuple[list[Architecture], NDArray[np.float64]]:
    path = BUILTIN.get(name, Path(name).expanduser()) / SCORES_FILE
    if not path.is_file():
        raise InvalidRequest(
            f"strategy.options.experience: {name!r} is neither a folder of `sepnas tabulate` nor {known_names(BUILTIN)}"
        )
    trained = ScoreTable(path).trained()
    losses = {network: np.mean([score.loss for score in own.values()]) for network, own in trained.items()}
    finite = {network: float(loss) for network, loss in losses.items() if np.isfinite(loss)}
    if len(finite) < _LEAST:
        raise InvalidRequest(
            f"strategy.options.experience: {name!r} has {len(finite)} networks with a loss; {_LEAST} or more are needed"
        )
    return list(finite), np.array(list(finite.values()))
