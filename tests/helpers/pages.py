"""A run with everything that a page shows, without searching or training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.comparison.rows import Row, as_frame
from experiments.options.files import make_config
from experiments.runs.files import write_json, write_text
from experiments.runs.folder import RunFolder, open_run
from experiments.runs.provenance import provenance
from experiments.runs.records import ScoreRecord, metrics_writer, write_probabilities
from experiments.training.retrain import Result
from helpers.runs import tiny_values
from search_space.architecture import Architecture
from search_space.hand_designed import baseline
from search_space.network_cost import cost
from search_space.serialization import save_architecture
from strategies.budget.budget import Budget

BUDGET = 90_000
#: what a user may call things
NASTY = '<script>document.title = "owned"</script>'


def network(operator: str = "dw_k3", *, width: float = 0.25) -> Architecture:
    """A network for digits whose last three blocks have another operator."""
    whole = baseline("mobilenetv3-small", image_size=8, in_channels=1, width=width)
    last = len(whole.blocks) - 1
    return whole.with_operators(dict.fromkeys(range(last - 2, last + 1), operator))


def unfinished_run(folder: Path, *measures: str, title: str = NASTY) -> RunFolder:
    """A search that was killed on the way: scores (accuracies, or the losses that ``measures`` name), epochs and
    probabilities, and no winner."""
    data = {"name": "digits", "image_size": 8, "max_train_images": 80, "title": title}
    config = make_config(tiny_values(data=data, budget={"max_macs": BUDGET}), "test")
    run = open_run(folder, config.as_dict(), provenance(0, "cpu"), overwrite=False)
    record = ScoreRecord(run.architectures, measures or ["validation_accuracy"])
    operators = ("dw_k3", "dw_k5", "xsep_k3", "c2sp", "mix_k357", "dw_k3", "xsep_k3")
    for number, operator in enumerate(operators):
        score = 0.4 + 0.05 * number
        record.add(network(operator), -1 / score if measures and "loss" in measures[0] else score)
    record.add(network("dw_k7"), float("nan"))
    write = metrics_writer(run.metrics, "search")
    for epoch in range(3):
        costs = {"expected_macs": 95_000.0 - 3000 * epoch, "architecture_entropy": 1.1 - 0.2 * epoch}
        accuracy = {"train_loss": 2.0 - 0.3 * epoch, "train_accuracy": 0.3 + 0.1 * epoch}
        write({"epoch": epoch, "seconds": 1.0, **accuracy, **costs})
        share = 0.5 + 0.1 * epoch
        chances = {"dw_k3": share, "xsep_k3-e48": 1 - share}
        write_probabilities(run.probabilities, epoch, {"block00": chances, "block01": chances})
    return run


def full_run(folder: Path) -> RunFolder:
    """A search that is done, compared and ranked."""
    run = unfinished_run(folder)
    save_architecture(network("xsep_k3"), run.winner)
    run.report.mkdir()
    run.rank.mkdir()
    budget = Budget(max_macs=BUDGET)
    rows = [
        Row(_result("gdas winner", network("xsep_k3"), [0.91, 0.93]), "gdas", budget, "winner"),
        Row(_result(f"{NASTY}@fit (width 0.25)", network(), [0.90, 0.91]), "mobilenetv3-small", budget, "control"),
        Row(_result("random 1", network("c2sp"), [0.88, 0.90]), "random", budget, "control"),
        Row(_result("random 2", network("dw_k5"), [0.89, 0.90]), "random", budget, "control"),
        Row(_result("mobilenetv3-small", network(width=0.5), [0.92, 0.93]), "mobilenetv3-small", budget, "baseline"),
    ]
    write_text(run.report / "comparison.csv", as_frame(rows).to_csv(index=False))
    estimate = {"value": 0.4, "interval": [0.1, 0.7], "n": 3, "resamples": 100}
    taus = {"predicted": estimate, "top": {**estimate, "value": None}, "ceiling": None, "costs": {"macs": estimate}}
    verdict = {"kind": "chance", "trusted": "no", "text": f"It cannot. {NASTY}"}
    write_json(
        run.rank / "rank.json",
        {"ranked_by": "supernet", "verdict": verdict, "kendall_tau_b": taus, "architectures": 3},
    )
    lines = ["macs,params,predicted,standalone_accuracy,failed,architecture"]
    for number, operator in enumerate(("dw_k3", "dw_k5", "xsep_k3")):
        own = network(operator)
        costs = cost(own)
        lines.append(f"{costs.macs},{costs.params},{0.3 + 0.1 * number},{0.5 + 0.02 * number},False,{own}")
    write_text(run.rank / "rank.csv", "\n".join(lines) + "\n")
    return run


def _result(name: str, architecture: Architecture, accuracies: list[float]) -> Result:
    seeds = list(range(len(accuracies)))
    return Result(name, replace(architecture), seeds, accuracies, [1.0] * len(seeds), 360, {})
