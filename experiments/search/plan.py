"""The parts of a search in their order, and what its progress bars say of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluators.base.progress import Work
from experiments.runs.task import SearchTask
from experiments.search.choice import rung_trainings
from experiments.search.confirm import fitted_finalists, round_sizes
from strategies.options import MultiTrialOptions

SUPERNET, SEARCH, FINALISTS = "supernet", "search", "finalists"


@dataclass(frozen=True)
class Plan:
    """What the bars of a search say beside their own figures.

    A search by real trainings is trainings by one recipe to the end, so its bars tell the time that is left for all of
    it, by what an epoch has taken so far. Steps of a supernet say nothing about what trainings of finalists will take:
    there the bars tell which of the parts they are.

    Attributes:
        parts: in their order.
        work: epochs of all trainings; None where not all parts are trainings.
        epochs: of each training of the search, in their order; empty without ``work``.
    """

    parts: tuple[str, ...]
    work: Work | None = None
    epochs: Sequence[int] = field(default=())

    def title(self, part: str, text: str) -> str:
        """``text`` as the title of the bar of ``part``."""
        if self.work is not None or len(self.parts) == 1:
            return text
        return f"{text}, part {self.parts.index(part) + 1} of {len(self.parts)}"

    def scored(self, number: int, *, before: bool) -> None:
        """Count the score of proposal ``number``, which is on record from ``before`` the search was resumed or not."""
        if self.work is not None:
            self.work.count(self.epochs[number], before=before)

    def gone(self, begun: int) -> None:
        """No more than the first ``begun`` proposals come."""
        if self.work is not None:
            self.work.count(sum(self.epochs[begun:]), before=True)


def plan_of(task: SearchTask) -> Plan:
    """The plan of the search that ``task`` is for, with nothing done."""
    config, options = task.config, task.config.strategy.typed_options()
    epochs = config.search.epochs
    parts = [SUPERNET] if options.trains_supernet and config.supernet is None else []
    parts += [SEARCH] if isinstance(options, MultiTrialOptions) else []
    parts += [FINALISTS] if config.finalists else []
    if not isinstance(options, MultiTrialOptions) or options.trains_supernet:
        return Plan(tuple(parts))
    each = [own for count, own in rung_trainings(options, epochs) for _ in range(count)]
    last = 0
    if config.finalists:
        last = epochs * sum(round_sizes(config.finalists + len(fitted_finalists(task, set())), config.finalist_seeds))
    return Plan(tuple(parts), Work(sum(each) + last), each)
