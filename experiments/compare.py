"""Winners and hand-designed baselines, trained alike, in one table and one plot."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from evaluators.images import ImageData
from evaluators.retraining import check_fit
from evaluators.trainer import check_precision, pick_accelerator
from experiments.config import DataConfig, SearchConfig
from experiments.files import write_text
from experiments.plot import plot_results
from experiments.retrain import Result, check_results, retrain_all
from experiments.run_folder import RunFolder, check_writable, first_difference
from experiments.search import found
from experiments.task import load_images
from search_space.architecture import Architecture
from search_space.errors import InvalidRequest
from search_space.hand_designed import baseline
from search_space.layer_cost import Cost
from search_space.network_cost import cost
from search_space.serialization import load_architecture
from strategies.budget import EXACT_METRICS, Budget, format_count


def retrain_winner(
    run: RunFolder,
    config: SearchConfig,
    *,
    data: ImageData | None = None,
    folder: Path | None = None,
    overwrite: bool = False,
) -> Result:
    """Retrain the winner of ``run`` as ``config.retrain`` says, into ``folder`` (default: the run's own)."""
    run.require_winner()
    return _retrain(
        f"{config.strategy.name} winner",
        found(run),
        config,
        folder if folder is not None else run.retrain / "winner",
        data=data,
        overwrite=overwrite,
    )


def retrain_file(path: Path, config: SearchConfig, folder: Path, *, overwrite: bool = False) -> Result:
    """Retrain the architecture in a JSON file as ``config.retrain`` says, into ``folder``."""
    architecture = load_architecture(path)
    return _retrain(path.stem, architecture, config, folder, data=None, overwrite=overwrite)


def _retrain(
    name: str,
    architecture: Architecture,
    config: SearchConfig,
    folder: Path,
    *,
    data: ImageData | None,
    overwrite: bool,
) -> Result:
    if data is None:
        _check(architecture, config, folder, overwrite=overwrite)
        data = load_images(config.data, config.seed)
    check_fit(architecture, data)
    return retrain_all(
        name,
        architecture,
        data,
        config.retrain,
        folder,
        data_config=_data_config(config),
        accelerator=config.accelerator,
        overwrite=overwrite,
    )


def _check(architecture: Architecture, config: SearchConfig, folder: Path, *, overwrite: bool) -> None:
    """InvalidRequest if a retraining cannot work or its results have no place in ``folder``; decodes no image."""
    check_precision(config.retrain.recipe.precision, pick_accelerator(config.accelerator))
    check_results(folder, architecture, config.retrain, _data_config(config), overwrite=overwrite)


def _data_config(config: SearchConfig) -> dict[str, Any]:
    """What the images of a training depend on."""
    return {**config.data.deciding(), "seed": config.seed}


def compare(
    runs: list[RunFolder], configs: list[SearchConfig], baselines: list[str], out: Path, *, overwrite: bool = False
) -> list[Result]:
    """Retrain what is not yet, then write ``comparison.csv``, ``comparison.md`` and ``accuracy_macs.png`` to ``out``.

    All runs must use the same data and retraining; baselines get the input, classes and width of the first run.
    """
    first = configs[0]
    for run, config in zip(runs, configs, strict=True):
        same = (_data_config(config), config.retrain) == (_data_config(first), first.retrain)
        if not same:
            mine, other = ({"data": _data_config(c), "retrain": asdict(c.retrain)} for c in (first, config))
            raise InvalidRequest(
                f"run: {run.path} has other data, retraining or seed than {runs[0].path}"
                f" ({first_difference(mine, other)}); a table of both would not be fair"
            )
        run.require_winner()
    if len(set(baselines)) != len(baselines):
        raise InvalidRequest(f"baselines: a name stands twice in {', '.join(baselines)}")
    skeleton = found(runs[0])
    hand_designed = {name: _baseline(name, skeleton, first.space.width) for name in baselines}
    check_writable("out", out)
    # all of them, before the first is trained
    for run, config in zip(runs, configs, strict=True):
        _check(found(run), config, run.retrain / "winner", overwrite=overwrite)
    for name, architecture in hand_designed.items():
        _check(architecture, first, runs[0].retrain / name, overwrite=overwrite)
    data = load_images(first.data, first.seed)
    results = [
        retrain_winner(run, config, data=data, overwrite=overwrite) for run, config in zip(runs, configs, strict=True)
    ]
    for name, architecture in hand_designed.items():
        home = runs[0].retrain / name
        results.append(_retrain(name, architecture, first, home, data=data, overwrite=overwrite))
    results = _distinct_names(results, runs)
    out.mkdir(parents=True, exist_ok=True)
    # a winner is held against the budget it was searched under, a baseline against the first
    budgets = [config.budget for config in configs] + [first.budget] * len(hand_designed)
    table = _table(results, budgets, len(runs))
    write_text(out / "comparison.csv", table.to_csv(index=False))
    told = "; ".join(dict.fromkeys(str(budget) for budget in budgets))
    text = _markdown(table, first, told, runs[0].read_provenance(), data)
    write_text(out / "comparison.md", text)
    plot_results(results, budgets, _title(first.data), out / "accuracy_macs.png")
    return results


def _distinct_names(results: list[Result], runs: list[RunFolder]) -> list[Result]:
    """Name winners of the same strategy by their run's folder as well."""
    names = [result.name for result in results]
    folders = [run.path.resolve() for run in runs]
    short = [folder.name for folder in folders]
    labels = short if len(set(short)) == len(short) else [str(folder) for folder in folders]
    return [
        replace(result, name=f"{result.name} ({labels[i]})") if names.count(result.name) > 1 else result
        for i, result in enumerate(results)
    ]


def _baseline(name: str, skeleton: Architecture, width: float) -> Architecture:
    return baseline(
        name,
        image_size=skeleton.image_size,
        in_channels=skeleton.in_channels,
        classes=skeleton.classes,
        width=width,
    )


def _in_budget(budget: Budget, own: Cost, *, searched: bool) -> bool | None:
    """Whether a network is inside; None for a hand-designed one under a bound on the user's own costs, which are known
    for candidates of the searched space only. The search has proved it for its winners."""
    inside = all(
        (low is None or getattr(own, metric) >= low) and (high is None or getattr(own, metric) <= high)
        for metric, (low, high) in budget.bounds().items()
        if metric in EXACT_METRICS
    )
    own_costs = set(budget.bounds()) - set(EXACT_METRICS)
    return inside if searched or not inside or not own_costs else None


def _table(results: list[Result], budgets: list[Budget], winners: int) -> pd.DataFrame:
    """One row a network; the first ``winners`` were searched."""
    rows = []
    for index, (result, budget) in enumerate(zip(results, budgets, strict=True)):
        own, searched = cost(result.architecture), index < winners
        own_accuracy = result.summary
        low, high = own_accuracy.interval or (None, None)
        rows.append(
            {
                "network": result.name,
                "macs": own.macs,
                "flops_2x": 2 * own.macs,
                "params": own.params,
                "in_budget": _in_budget(budget, own, searched=searched),
                "n": len(result.seeds),
                "test_accuracy_mean": own_accuracy.mean,
                "test_accuracy_std": own_accuracy.std,
                "test_accuracy_low95": low,
                "test_accuracy_high95": high,
                "seconds_mean": sum(result.seconds) / len(result.seconds),
            }
        )
    return pd.DataFrame(rows)


def _title(config: DataConfig) -> str:
    """What the data are called: as asked, or by the name, of a folder its own."""
    if config.title is not None:
        return config.title
    return Path(config.name).name if Path(config.name).is_dir() else config.name


_TOLD = {True: "yes", False: "no", None: "unknown"}


def _markdown(table: pd.DataFrame, config: SearchConfig, budgets: str, made: dict[str, Any], data: ImageData) -> str:
    lines = [
        f"# {_title(config.data)}: searched and hand-designed networks",
        "",
        "| network | MACs | params | in budget | test accuracy, % | 95 % confidence | n | s a training |",
        "|---|---:|---:|:-:|---:|---:|---:|---:|",
    ]
    for row in table.to_dict("records"):
        alone = row["n"] == 1
        spread = "" if alone else f" ± {100 * row['test_accuracy_std']:.2f}"
        low, high = row["test_accuracy_low95"], row["test_accuracy_high95"]
        # Student's t knows no bounds; no accuracy is above 100 %
        interval = "" if alone else f"{100 * max(0.0, low):.2f} to {100 * min(1.0, high):.2f}"
        lines.append(
            f"| {row['network']} | {format_count(row['macs'])} | {format_count(row['params'])}"
            f" | {_TOLD[row['in_budget']]} | {100 * row['test_accuracy_mean']:.2f}{spread} | {interval}"
            f" | {row['n']} | {row['seconds_mean']:.0f} |"
        )
    recipe, seeds = config.retrain.recipe, config.retrain.seeds
    accuracy = (
        f"mean ± sample standard deviation over seeds {', '.join(map(str, seeds))} (confidence by Student's t), "
        if len(seeds) > 1
        else f"one training, seed {seeds[0]}, "
    )
    lines += [
        "",
        f"Budget: {budgets}. Accuracy: {accuracy}of the last epoch's weights on {len(data.test):,} test images;"
        f" trained on {config.retrain.train_on}, {recipe.epochs} epochs, batch {recipe.batch_size}, peak learning rate"
        f" {recipe.learning_rate:g}. MACs are multiply-accumulates of one image (FLOPs counted as two a MAC: twice as"
        " many).",
        "",
        f"Machine of the first run: {made['processor']}, {made['cores']} cores, {made['accelerator']}; torch"
        f" {made['versions']['torch']}.",
        "",
        "![accuracy against MACs](accuracy_macs.png)",
        "",
    ]
    return "\n".join(lines)
