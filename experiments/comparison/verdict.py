"""What a comparison says in words: whether a search paid, against networks of the same budget trained alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evaluators.measuring.statistics import Difference, paired_difference
from experiments.training.retrain import Result

#: below this a difference is taken to be no accident
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Opponent:
    """A network, or a group of random ones, that a winner is held against.

    Attributes:
        label: what sentences call it.
        accuracies: on the test images, in [0, 1], by seed; of a group, the mean of its networks.
    """

    label: str
    accuracies: Mapping[int, float]


def one(result: Result) -> Opponent:
    """The opponent that one network is."""
    return Opponent(result.name, by_seed(result))


def group(label: str, results: Sequence[Result]) -> Opponent:
    """The opponent that several networks are by their mean, over the seeds that all were trained with."""
    tables = [by_seed(result) for result in results]
    common = set.intersection(*(set(table) for table in tables))
    return Opponent(label, {seed: fmean(table[seed] for table in tables) for seed in sorted(common)})


def by_seed(result: Result) -> dict[int, float]:
    """The test accuracies of a network by seed."""
    return dict(zip(result.seeds, result.accuracies, strict=True))


def verdict(winner: Result, opponents: Sequence[Opponent]) -> str:
    """One sentence for each opponent and one on all of them together."""
    leads = [paired_difference(by_seed(winner), opponent.accuracies) for opponent in opponents]
    sentences = [
        f"{winner.name} is {_judgement(lead)} {opponent.label} ({points(lead)})."
        for lead, opponent in zip(leads, opponents, strict=True)
    ]
    return " ".join([*sentences, _summary(winner.name, leads)])


def points(lead: Difference) -> str:
    """``+0.83 points, 95 % interval 0.10 to 1.56, paired over 3 seeds, p = 0.041``."""
    summary = lead.summary
    text = f"{100 * summary.mean:+.2f} points"
    if summary.interval is None or lead.p is None:
        return f"{text}, one seed"
    low, high = summary.interval
    probability = "p < 0.001" if lead.p < 0.001 else f"p = {lead.p:.3f}"
    return f"{text}, 95 % interval {100 * low:.2f} to {100 * high:.2f}, paired over {summary.n} seeds, {probability}"


def _judgement(lead: Difference) -> str:
    if lead.p is None:
        return "above" if lead.summary.mean > 0 else "not above"
    if lead.p >= SIGNIFICANT:
        return "not distinguishable from"
    return "better than" if lead.summary.mean > 0 else "worse than"


def _summary(name: str, leads: Sequence[Difference]) -> str:
    if all(lead.p is not None and lead.p < SIGNIFICANT and lead.summary.mean > 0 for lead in leads):
        return f"So the search for the {name} paid."
    if all(lead.summary.mean > 0 for lead in leads):
        return "It is ahead of all of them, but by too little to rule out chance with so few seeds."
    return f"So it is not shown that the search for the {name} paid."
