"""The command ``sepnas space``."""

from __future__ import annotations

from experiments.commands.config_options import config_and_options
from experiments.options.parsing import quiet


def main(arguments: list[str]) -> None:
    config = config_and_options(
        arguments,
        "space",
        "Size of a config's search space: architectures, labels and candidates, the reachable range of each cost, and"
        " the share inside the budget. Options override CONFIG.",
    )[0]
    quiet()
    from experiments.runs.task import SearchTask
    from experiments.space_report import space_report

    task = SearchTask(config)
    print(space_report(task.space, task.table, config.budget))
