"""What a comparison says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from evaluators.measuring.statistics import Difference, paired_difference
from experiments.comparison.rows import RANDOM, Row
from experiments.significance import SIGNIFICANT, named_p
from experiments.training.retrain import Result


def verdicts(rows: list[Row]) -> list[str]:
    """For each winner that has fair opponents, those of its own budget, what the table says in words."""
    sentences = []
    for winner in (row for row in rows if row.searched):
        fitted = [row for row in rows if row.role == "control" and row.budget == winner.budget]
        # a search that found nothing better has a hand-designed network for its winner
        itself = {row.result.name for row in fitted if row.result.architecture == winner.result.architecture}
        random = [row.result for row in fitted if row.family == RANDOM]
        opponents = {row.result.name: row.result.by_seed for row in fitted if row.family != RANDOM}
        if random:
            common = set.intersection(*(set(result.seeds) for result in random))
            means = {seed: fmean(result.by_seed[seed] for result in random) for seed in sorted(common)}
            several = f"the mean of {len(random)} random networks of the budget"
            opponents[several if len(random) > 1 else "a random network of the budget"] = means
        if itself:
            leads = _leads(winner.result, {name: own for name, own in opponents.items() if name not in itself})
            found = "nothing that the search found was better on the validation images, so it did not pay off."
            sentences.append(
                " ".join([f"{winner.result.name} is {min(itself)}: {found}", *_said(winner.result, leads)])
            )
        elif opponents:
            sentences.append(verdict(winner.result, opponents))
    return sentences


def verdict(winner: Result, opponents: Mapping[str, Mapping[int, float]]) -> str:
    """One sentence for each opponent and one on all of them together.

    ``opponents`` are accuracies on the test images, in [0, 1], by seed, by what sentences call the network or the group
    of networks that have them.
    """
    leads = _leads(winner, opponents)
    return " ".join([*_said(winner, leads), _summary(winner.name, list(leads.values()))])


def _leads(winner: Result, opponents: Mapping[str, Mapping[int, float]]) -> dict[str, Difference]:
    return {label: paired_difference(winner.by_seed, accuracies) for label, accuracies in opponents.items()}


def _said(winner: Result, leads: Mapping[str, Difference]) -> list[str]:
    return [f"{winner.name} is {_judgement(lead)} {label} ({points(lead)})." for label, lead in leads.items()]


def points(lead: Difference) -> str:
    """``+0.83 points, 95 % interval 0.10 to 1.56, paired over 3 seeds, p = 0.041``."""
    summary = lead.summary
    text = f"{100 * summary.mean:+.2f} points"
    if summary.interval is None or lead.p is None:
        return f"{text}, one seed"
    low, high = summary.interval
    interval = f"{100 * low:.2f} to {100 * high:.2f}"
    return f"{text}, 95 % interval {interval}, paired over {summary.n} seeds, {named_p(lead.p)}"


def _judgement(lead: Difference) -> str:
    if lead.p is None:
        return "above" if lead.summary.mean > 0 else "not above"
    if lead.p >= SIGNIFICANT:
        return "not distinguishable from"
    return "better than" if lead.summary.mean > 0 else "worse than"


def _summary(name: str, leads: Sequence[Difference]) -> str:
    if all(lead.p is not None and lead.p < SIGNIFICANT and lead.summary.mean > 0 for lead in leads):
        return f"So the search for the {name} paid off."
    if all(lead.summary.mean > 0 for lead in leads):
        return "It is ahead of all of them, but by too little to rule out chance with so few seeds."
    return f"So it is not shown that the search for the {name} paid off."
