"""The command ``sepnas pareto``."""

from __future__ import annotations

from pathlib import Path

from experiments.options.files import read_config
from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.errors import InvalidRequest


def _add_options(parser: Parser) -> None:
    parser.add_argument("run", help="folder of a run")
    parser.add_argument(
        "--pick",
        action="append",
        help="choose the most accurate of at most so many MACs, as 16.7M; of another objective, as params:1.2M. Several"
        " hold together",
    )
    parser.add_argument("--to", help="architecture file (JSON) for what is picked")
    parser.add_argument(
        "--objectives", help="costs to minimise, separated by commas (default: the run's; else macs,params)"
    )


def _run(options: Namespace) -> None:
    if options.to is not None and not options.pick:
        raise InvalidRequest("--to: nothing is picked; say what may be spent, as --pick 16.7M")
    from experiments.runs.claimed_folder import check_writable
    from experiments.runs.files import sweep
    from experiments.runs.folder import find_run
    from experiments.search.pareto import front_table, pick, run_front, write_pareto
    from search_space.serialization import save_architecture

    if options.to is not None:
        check_writable("to", Path(options.to).parent)
        if Path(options.to).is_dir():
            raise InvalidRequest(f"--to: {options.to} is a folder; give a file")
    run = find_run(Path(options.run))
    config = read_config(run.config)
    objectives = None if options.objectives is None else [name.strip() for name in options.objectives.split(",")]
    front = run_front(run, config, objectives)
    picked = pick(front, options.pick) if options.pick else None
    sweep(run.path)
    write_pareto(front, config.budget, run.path)
    print(front_table(front, picked))
    if picked is not None:
        print(picked.architecture)
        if options.to is not None:
            Path(options.to).parent.mkdir(parents=True, exist_ok=True)
            save_architecture(picked.architecture, Path(options.to))


COMMAND = Command(
    "use what was trained",
    "the Pareto set of a run, and picking from it",
    _add_options,
    _run,
    details="It is that of all architectures that the run has scored (by nsga2, or any strategy that scores one after"
    " the other). Prints it, writes pareto.csv, hypervolume.csv and pareto.png to RUN, and picks from it.",
)
