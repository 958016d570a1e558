"""Baselines in their widest form inside a budget."""

from __future__ import annotations

import numpy as np
import pytest

from search_space import Cost, InvalidRequest, baseline, baselines, cost
from search_space.hand_designed import fit_baseline


@pytest.mark.parametrize("name", [name for name in sorted(baselines()) if not name.startswith("mobilenetv2")])
@pytest.mark.parametrize("limit", [3e6, 16.7e6])
def test_no_wider_form_is_inside(name: str, limit: float) -> None:
    network, width = fit_baseline(name, lambda own: own.macs <= limit)
    assert cost(network).macs <= limit
    assert network == baseline(name, width=width)
    # an independent search: every width of a fine grid that is inside costs no more
    for wider in np.linspace(0.02, 1.3, 257):
        macs = cost(baseline(name, width=float(wider))).macs
        assert macs > limit or macs <= cost(network).macs


def test_several_bounds_hold_at_once() -> None:
    network, _ = fit_baseline("mobilenetv3-small", lambda own: own.macs <= 16.7e6 and own.params <= 600e3)
    assert cost(network).params <= 600e3
    assert cost(network).macs < 10e6  # params are the tight bound here


def test_the_hand_designed_form_itself_is_taken_where_it_just_fits() -> None:
    own = cost(baseline("mobilenetv3-small"))
    network, width = fit_baseline("mobilenetv3-small", lambda other: other.macs <= own.macs)
    assert (network, width) == (baseline("mobilenetv3-small"), 1.0)


def test_the_width_is_short_and_names_the_network() -> None:
    _, width = fit_baseline("mobilenetv3-small", lambda own: own.macs <= 1.2e6, image_size=16, in_channels=1)
    assert len(str(width)) <= 6


def test_a_budget_below_the_narrowest_form_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"^baseline: mobilenetv2@fit has no width inside the budget"):
        fit_baseline("mobilenetv2", lambda own: own.macs <= 10)


def test_an_unlimited_budget_gives_the_widest_form() -> None:
    network, width = fit_baseline("mobilenetv3-small", lambda own: isinstance(own, Cost))
    assert width == 16.0
    assert network == baseline("mobilenetv3-small", width=16.0)
