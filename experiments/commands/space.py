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
    from experiments.runs.task import cost_table, light_space
    from experiments.space_report import space_report

    space = light_space(config)
    print(space_report(space, cost_table(config, space), config.budget))
