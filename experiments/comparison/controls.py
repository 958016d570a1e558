"""What winners are held against: hand-designed networks, random ones of the budget, and the user's own models."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.comparison.rows import RANDOM, Role
from experiments.runs.folder import RunFolder
from experiments.runs.task import SearchTask
from search_space.architecture import Architecture
from search_space.base.calls import is_call
from search_space.base.checks import check_int, refusal, unknown
from search_space.base.errors import InvalidRequest
from search_space.blueprint import AnyNetwork
from search_space.found import PREFIX
from search_space.hand_designed import FIT_SUFFIX, baseline, is_named, named_networks
from search_space.network_cost import cost
from search_space.own_model import OwnModel
from strategies.budget.budget import Budget
from strategies.budget.feasible import FeasibleSet

#: random controls use at least this share of the tightest bound
_FILLED = 0.9


@dataclass(frozen=True)
class Control:
    """A network to compare winners with.

    Attributes:
        name: as in the request; its trainings lie in a folder of this name.
        label: what tables call it.
        family: the hand-designed network that it is, `RANDOM`, or the user's callable.
        network: for the images of the run.
        role: a control is a fair opponent by its cost, fitted to the budget or drawn from inside; a baseline is not.
    """

    name: str
    label: str
    family: str
    network: AnyNetwork
    role: Role


def controls(requests: list[str], task: SearchTask, run: RunFolder) -> list[Control]:
    """The networks that ``requests`` name, for the images and the budget of a search.

    Args:
        requests: ``NAME`` is a hand-designed network as it is, ``NAME@fit`` its widest form inside the budget, and
            ``random:K`` are K networks drawn uniformly from the architectures that use at least nine tenths of it.
            Where the budget has no upper bound on MACs or params, the winner's own MACs are the bound.
            ``zoo/NAME`` is a network that an earlier search found, and ``module:callable`` makes a model of the user's
            own (`search_space.own_model`).
        task: of the search.
        run: its folder, with its winner.

    Raises:
        InvalidRequest: a name is unknown, no width of it is inside the budget, or a callable does not make a network
            for these images.
    """
    budget = _bounded(task.config.budget, run.read_winner())
    result: list[Control] = []
    for request in requests:
        kind, _, count = request.partition(":")
        if kind == RANDOM:
            result += _random(_count(request, count), task, budget)
        elif is_call(request):
            model = OwnModel.of(request, **task.sizes, where="baselines")
            result.append(Control(f"own-{request.replace(':', '.')}", request, request, model, "baseline"))
        elif request.endswith(FIT_SUFFIX):
            name = request.removesuffix(FIT_SUFFIX)
            fitted, width = task.fitted(name, budget)
            result.append(Control(request, f"{request} (width {width:g})", name, fitted, "control"))
        elif request.startswith(PREFIX):
            found = baseline(request, **task.sizes)
            result.append(Control(request.replace("/", "-"), request, request, found, "baseline"))
        else:
            network = baseline(request, **task.sizes, width=task.config.space.width)
            result.append(Control(request, request, request, network, "baseline"))
    return result


def check_names(requests: list[str]) -> None:
    """InvalidRequest for a request that names no control, before anything is opened."""
    for request in requests:
        kind, colon, count = request.partition(":")
        if kind == RANDOM and colon:
            _count(request, count)
        elif not is_call(request) and not is_named(name := request.removesuffix(FIT_SUFFIX)):
            raise unknown("baselines", name, [*named_networks(), f"{RANDOM}:3"], "sepnas list baselines")
    if len(set(requests)) != len(requests):
        raise InvalidRequest(f"baselines: a name is given twice in {', '.join(requests)}")


def _count(request: str, count: str) -> int:
    if not (count.isascii() and count.isdigit() and len(count) < 5):
        raise refusal("baselines", request, "does not say how many random networks", "write it like random:3")
    return check_int("baselines.random", int(count), 1)


def _bounded(budget: Budget, winner: Architecture) -> Budget:
    """The bounds on MACs and params alone; of a budget without an upper one, with the winner's MACs as that."""
    exact = budget.exact
    if exact.max_macs is None and exact.max_params is None:
        exact = exact.bounded("macs", exact.min_macs, cost(winner).macs)
    return exact


def _random(count: int, task: SearchTask, budget: Budget) -> list[Control]:
    # bounds on the user's own costs hold for random networks too: they are candidates of the space
    whole = task.config.budget.bounded("macs", budget.min_macs, budget.max_macs)
    part = FeasibleSet(task.table, whole).top_part(_FILLED)
    networks = task.draw(part, count, "random controls")
    return [
        Control(f"{RANDOM}-{number}", f"{RANDOM} {number}", RANDOM, network, "control")
        for number, network in enumerate(networks, 1)
    ]
