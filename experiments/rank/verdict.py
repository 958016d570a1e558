"""Whether a supernet's ranking can be trusted, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluators.measuring.ranking import LEAST, Estimate, Ranking

#: How far below the noise ceiling a tau may be and still count as close to it, if their difference can be chance.
CLOSE = 0.1
NAMES = {"macs": "MACs", "params": "params"}

Kind = Literal[
    "too few", "all equal", "constant supernet", "noisy trainings", "chance", "reversed", "cost", "ceiling", "below",
    "no ceiling",
]  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """An answer to "can the ranking be trusted?".

    Attributes:
        kind: which rule of `verdict` it comes from.
        trusted: the answer.
        text: why, and what to do; some sentences.
    """

    kind: Kind
    trusted: Literal["yes", "partly", "no", "cannot be told"]
    text: str

    def __str__(self) -> str:
        return f"{self.trusted}. {self.text}"


def verdict(ranking: Ranking, sampling: str | None = None) -> Verdict:
    """The first of these rules that applies; ``sampling`` is how the supernet's paths were drawn.

    1. tau is undefined (fewer than `LEAST` architectures, or all equal in one measure): it cannot be told; a supernet
       that gives all the same accuracy is not trusted.
    2. The interval of tau contains 0: cannot be told from chance; where two trainings do not agree with each other
       either, the trainings are to blame and nothing is said about the supernet. An interval below 0: reversed.
    3. The interval of the paired difference to the tau of MACs, or of params, is not above 0: no better than sorting by
       these (cheapest first where their tau is negative).
    4. One seed: better than chance and cost, the ceiling unknown.
    5. The interval of the paired difference to the noise ceiling reaches 0, the difference is at most `CLOSE`, and the
       ceiling itself is above chance: as good as a second training. Otherwise: useful, but below it.
    """
    remedies = _remedies(sampling)
    tau = ranking.supernet
    if tau.value is None or tau.interval is None:
        return _undefined(ranking, remedies)
    low, high = tau.interval
    if high < 0:
        return Verdict(
            "reversed",
            "no",
            f"The interval of tau, {interval_text(tau)}, lies below 0: the order is reversed, worse than chance. This"
            " is typical of a supernet that is hardly trained, in which small networks do best. To do: " + remedies,
        )
    if low <= 0:
        return _chance(ranking, remedies)
    if level := [name for name, over in ranking.over_costs.items() if not _above_zero(over) and over.value is not None]:
        names = " and by ".join(NAMES.get(name, name) for name in level)
        taus = ", ".join(f"{NAMES.get(name, name)} {tau_text(ranking.costs[name])}" for name in level)
        smaller = (ranking.costs[level[0]].value or 0) < 0
        return Verdict(
            "cost",
            "no",
            f"tau is above 0 ({tau_text(tau)}), but no better than sorting by {names} (tau: {taus}), as far as"
            f" {ranking.n} architectures can tell: the interval of the difference reaches 0. Taking the"
            f" {'smallest' if smaller else 'largest'} network inside the budget may do as well. To do: {remedies}",
        )
    better = "The order is better than chance and than sorting by cost"
    if ranking.ceiling is None or ranking.below_ceiling is None:
        return Verdict(
            "no ceiling",
            "partly",
            f"{better}; how near it comes to what noise allows is not known from one seed, so give two."
            + _about_top(ranking),
        )
    gap = ranking.below_ceiling
    if _above_zero(ranking.ceiling) and gap.value is not None and gap.value <= CLOSE and not _above_zero(gap):
        return Verdict(
            "ceiling",
            "yes",
            f"{better}, and as good as a second training: tau against one seed is {tau_text(ranking.single)}, that of"
            f" another seed {tau_text(ranking.ceiling)}. A better supernet could not be told from this one by these"
            " trainings." + _about_top(ranking),
        )
    return Verdict(
        "below",
        "partly",
        f"{better}, but {_shortfall(ranking)}. Take it to sort out bad candidates, and train the best few instead of"
        f" the best one. For more: {remedies}" + _about_top(ranking),
    )


def _undefined(ranking: Ranking, remedies: str) -> Verdict:
    if ranking.n < LEAST:
        return Verdict(
            "too few",
            "cannot be told",
            f"Only {ranking.n} architectures have all their trainings, and {LEAST} are the least; 30 are usual. To do:"
            " a larger --n, or a lower learning rate if trainings failed.",
        )
    if ranking.supernet_equal and ranking.accuracies[0] < ranking.accuracies[1]:
        return Verdict(
            "constant supernet",
            "no",
            "The supernet gives all architectures the same accuracy, so tau is undefined: it tells nothing apart. To"
            f" do: {remedies}",
        )
    return Verdict(
        "all equal",
        "cannot be told",
        "All architectures, or nearly all, are equal in one measure, so tau or its interval is undefined: there is no"
        " order to find. To do: take the cheapest, or make a difference visible by more validation images, more epochs"
        " or a wider budget.",
    )


def _chance(ranking: Ranking, remedies: str) -> Verdict:
    text = f"The interval of tau, {interval_text(ranking.supernet)}, contains 0: it cannot be told from chance."
    if ranking.ceiling is not None and not _above_zero(ranking.ceiling):
        return Verdict(
            "noisy trainings",
            "cannot be told",
            f"{text} But two trainings by different seeds do not agree with each other either (tau"
            f" {tau_text(ranking.ceiling)}, {interval_text(ranking.ceiling)}), so they cannot judge any ranking. To do:"
            " more epochs per training, more seeds, more validation images, or a wider budget.",
        )
    return Verdict("chance", "no", f"{text} To do: {remedies}")


def _remedies(sampling: str | None) -> str:
    ways = ["train the supernet longer (search.epochs)", "offer fewer candidates (space.operators, space.widths)"]
    if sampling != "fair":
        ways.append("sample its paths fairly (strategy.options.sampling: fair)")
    return f"{', '.join(ways)}, or score by short trainings instead (strategy.options.scoring: training)."


def _shortfall(ranking: Ranking) -> str:
    if not _above_zero(ranking.ceiling):
        return (
            f"two trainings by different seeds hardly agree with each other (tau {tau_text(ranking.ceiling)},"
            f" {interval_text(ranking.ceiling)}), so there is no ceiling to hold it against"
        )
    against = f"tau against one seed is {tau_text(ranking.single)}, that of another seed {tau_text(ranking.ceiling)}"
    sure = _above_zero(ranking.below_ceiling)
    return f"below what a second training reaches: {against}" + ("" if sure else ", though that may be chance")


def _about_top(ranking: Ranking) -> str:
    top = ranking.top
    if top.value is None or top.interval is None:
        return f" Whether it orders the best fifth as well cannot be told (n = {top.n})."
    if not _above_zero(top):
        return (
            f" Within the best fifth (n = {top.n}) its order cannot be told from chance: choose among the best few"
            " candidates by training them."
        )
    return f" It orders the best fifth as well (n = {top.n})."


def _above_zero(estimate: Estimate | None) -> bool:
    return estimate is not None and estimate.interval is not None and estimate.interval[0] > 0


def tau_text(estimate: Estimate | None) -> str:
    """``"0.57"``, or ``"n/a"``."""
    return "n/a" if estimate is None or estimate.value is None else f"{estimate.value:.2f}"


def interval_text(estimate: Estimate | None) -> str:
    """``"[0.31, 0.78]"``, or ``"n/a"``."""
    if estimate is None or estimate.interval is None:
        return "n/a"
    return f"[{estimate.interval[0]:.2f}, {estimate.interval[1]:.2f}]"
