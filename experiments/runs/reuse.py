"""Train once, search many budgets: a search that takes the trained supernet of another run."""

from __future__ import annotations

from pathlib import Path

from experiments.options.config import SearchConfig
from experiments.options.files import read_config
from experiments.runs.claimed_folder import first_difference
from experiments.runs.folder import find_run
from search_space.base.errors import InvalidRequest


def reused_supernet(config: SearchConfig) -> Path:
    """The supernet's weights in the run that ``config.supernet`` names.

    InvalidRequest if there are none, or if that run has another space, data or seed: the weights would not fit, or
    would have seen the validation images.
    """
    assert config.supernet is not None
    run = find_run(Path(config.supernet))
    if not run.supernet.is_file():
        raise InvalidRequest(
            f'supernet: {run.path} has no trained supernet; it comes from strategies with scoring "supernet", such as'
            " evolution"
        )
    other = read_config(run.config)
    mine, theirs = ({"data": c.data.deciding(), "space": c.as_dict()["space"], "seed": c.seed} for c in (config, other))
    if mine != theirs:
        raise InvalidRequest(
            f"supernet: {run.path} was trained for something else ({first_difference(mine, theirs)}); data, space and"
            " seed must be the same"
        )
    return run.supernet
