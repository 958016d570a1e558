"""Whether a ranking of architectures can be trusted, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluators.measuring.ranking import LEAST, Estimate, Ranking
from strategies.options import MultiTrialOptions

#: How far below the noise ceiling a tau may be and still count as close to it, if their difference can be chance.
CLOSE = 0.1
NAMES = {"macs": "MACs", "params": "params"}

Kind = Literal[
    "too few", "all equal", "constant", "noisy trainings", "chance", "reversed", "cost", "ceiling", "below",
    "no ceiling",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What ranks.

    Attributes:
        name: what reports call it.
        unit: what its predictions are.
        remedy: what makes them better.
    """

    name: str
    unit: str
    remedy: str


#: A model of the scores that a search gave to other architectures.
MODEL = Source("model", "score that the model of the search's scores predicts", "score more architectures (trials)")


def supernet_source(options: MultiTrialOptions) -> Source:
    """The supernet of a search by ``options``."""
    ways = ["train the supernet longer (search.epochs)", "offer fewer candidates (space.operators, space.widths)"]
    if options.sampling != "fair":
        ways.append("sample its paths fairly (strategy.options.sampling: fair)")
    remedy = f"{', '.join(ways)}, or score by short trainings instead (strategy.options.scoring: training)"
    accuracy = options.scores[0] == "validation_accuracy"
    unit = "accuracy with the supernet's weights, %" if accuracy else "minus the loss with the supernet's weights"
    return Source("supernet", unit, remedy)


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


def verdict(ranking: Ranking, source: Source) -> Verdict:
    """The first of these rules that applies.

    1. tau is undefined (fewer than `LEAST` architectures, or all equal in one measure): it cannot be told; predictions
       that are all the same are not trusted.
    2. The interval of tau contains 0: cannot be told from chance; where two trainings do not agree with each other
       either, the trainings are to blame and nothing is said about the predictions. An interval below 0: reversed.
    3. The interval of the paired difference to the tau of MACs, or of params, is not above 0: no better than sorting by
       these (cheapest first where their tau is negative).
    4. One seed: better than chance and cost, the ceiling unknown.
    5. The interval of the paired difference to the noise ceiling reaches 0, the difference is at most `CLOSE`, and the
       ceiling itself is above chance: as good as a second training. Otherwise: useful, but below it.
    """
    to_do = f"To do: {source.remedy}."
    tau = ranking.predicted
    if tau.value is None or tau.interval is None:
        return _undefined(ranking, source, to_do)
    low, high = tau.interval
    if high < 0:
        text = f"The interval of tau, {interval_text(tau)}, lies below 0: the order is reversed, worse than chance."
        if source.name == "supernet":
            text += " A supernet that is hardly trained does this, as small networks do best in it."
        return Verdict("reversed", "no", f"{text} {to_do}")
    if low <= 0:
        return _chance(ranking, to_do)
    if level := [name for name, over in ranking.over_costs.items() if not _above_zero(over) and over.value is not None]:
        names = " and by ".join(NAMES.get(name, name) for name in level)
        taus = ", ".join(f"{NAMES.get(name, name)} {tau_text(ranking.costs[name])}" for name in level)
        first = "smallest" if (ranking.costs[level[0]].value or 0) < 0 else "largest"
        return Verdict(
            "cost",
            "no",
            f"tau is above 0 ({tau_text(tau)}), but no better than sorting by {names} (tau: {taus}), as far as"
            f" {ranking.n} architectures can tell: the interval of the difference reaches 0. Taking the {first} network"
            f" inside the budget may do as well. {to_do}",
        )
    better = "The order is better than chance and than sorting by cost"
    gap, ceiling = ranking.below_ceiling, ranking.ceiling
    if ceiling is None or gap is None:
        text = f"{better}; how near it comes to what noise allows is not known from one seed, so give two."
        return Verdict("no ceiling", "partly", text + _about_top(ranking))
    against = f"tau against one seed is {tau_text(ranking.single)}, that of another seed {tau_text(ceiling)}"
    if _above_zero(ceiling) and gap.value is not None and gap.value <= CLOSE and not _above_zero(gap):
        text = f"{better}, and as good as a second training: {against}. These trainings could not show a better one."
        return Verdict("ceiling", "yes", text + _about_top(ranking))
    if not _above_zero(ceiling):
        short = f"there is no ceiling to hold it against, as two trainings by different seeds hardly agree ({against})"
    else:
        short = f"below what a second training reaches: {against}"
        short += "" if _above_zero(gap) else ", though that may be chance"
    advice = (
        f"Use it to sort out bad candidates, and train the best few instead of the best one. For more: {source.remedy}."
    )
    return Verdict("below", "partly", f"{better}, but {short}. {advice}{_about_top(ranking)}")


def _undefined(ranking: Ranking, source: Source, to_do: str) -> Verdict:
    if ranking.n < LEAST:
        text = f"Only {ranking.n} architectures have all their trainings, and {LEAST} are the least; 30 are usual."
        return Verdict(
            "too few", "cannot be told", f"{text} To do: a larger --n, or a lower learning rate if trainings failed."
        )
    if ranking.all_equal and ranking.accuracies[0] < ranking.accuracies[1]:
        text = f"The {source.name} gives all architectures the same score, so tau is undefined: it tells nothing apart."
        return Verdict("constant", "no", f"{text} {to_do}")
    return Verdict(
        "all equal",
        "cannot be told",
        "All architectures, or nearly all, are equal in one measure, so tau or its interval is undefined: there is no"
        " order to find. To do: take the cheapest, or make a difference visible by more validation images, more epochs"
        " or a wider budget.",
    )


def _chance(ranking: Ranking, to_do: str) -> Verdict:
    text = f"The interval of tau, {interval_text(ranking.predicted)}, contains 0: it cannot be told from chance."
    if ranking.ceiling is None or _above_zero(ranking.ceiling):
        return Verdict("chance", "no", f"{text} {to_do}")
    return Verdict(
        "noisy trainings",
        "cannot be told",
        f"{text} But two trainings by different seeds do not agree with each other either (tau"
        f" {tau_text(ranking.ceiling)}, {interval_text(ranking.ceiling)}), so they cannot judge any ranking. To do:"
        " more epochs per training, more seeds, more validation images, or a wider budget.",
    )


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
