"""What tells how good a network will be: a whole training, a short one, a model of many short ones, other images?

    python experiments/results/short-trainings/study.py measure networks.csv 48 5     # networks, seed of the draws
    python experiments/results/short-trainings/study.py short others.csv 140 900
    python experiments/results/short-trainings/study.py summary

Digits at 16x16 with the space, the budget of 300k MACs and the recipe of ../budgets/digits.yaml. What is there is not
measured again.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn
from torch.nn import functional

from evaluators.data.images import Images as SourceImages
from evaluators.data.loaders import make_loader
from experiments.options.files import read_config
from experiments.runs.experience import experience
from experiments.runs.files import Table
from experiments.runs.task import SearchTask
from search_space.architecture import Architecture
from search_space.network import build
from search_space.notation import parse
from strategies.budget.budget import Budget
from strategies.multi_trial._surrogate import GaussianProcess
from strategies.multi_trial.predictor import SHORT_TRAININGS, kinds_of

HERE = Path(__file__).resolve().parent
#: Epochs of short trainings, each with the whole schedule.
SHORT = (3, 5)
Images = tuple[Tensor, Tensor]


def measure(path: Path, n: int, seed: int, *, whole: bool) -> None:
    """Leave the losses of short trainings of ``n`` random networks, and with ``whole`` those of two whole ones and what
    untrained networks tell, in ``path``."""
    torch.set_num_threads(1)
    task = task_of()
    train, validation, held_out = splits(task)
    shorts = [f"{what}_{epochs}" for epochs in (SHORT if whole else SHORT[:1]) for what in ("training", "validation")]
    rest = ["loss_0", "loss_1", "grad_norm", "snip", "naswot", "jacob_cov", "synflow"] if whole else []
    table = Table(path, ("architecture", *shorts, *rest))
    done = {row["architecture"] for row in table.rows}
    for number, row in enumerate(task.searched.sample_many(np.random.RandomState(seed), n)):
        network = task.space.architecture(task.table.sample(row))
        if str(network) in done:
            continue
        values: dict[str, float] = {}
        for epochs in SHORT if whole else SHORT[:1]:
            trained, loss = fit(network, train, epochs, seed + number)
            values |= {f"training_{epochs}": loss, f"validation_{epochs}": loss_on(trained, validation)}
        if whole:
            values |= {
                f"loss_{s}": loss_on(fit(network, train, task.config.search.epochs, s)[0], held_out) for s in (0, 1)
            }
            values |= untrained(network, train)
        table.append({"architecture": str(network)} | {name: f"{value:.6g}" for name, value in values.items()})


def task_of() -> SearchTask:
    """The search of the digits."""
    config = read_config(HERE.parent / "budgets" / "digits.yaml")
    return SearchTask(replace(config, budget=Budget(max_macs="300k")))


def splits(task: SearchTask) -> tuple[Images, Images, Images]:
    """Training images, validation images, and those together with the test images: 1,149, 288 and 648."""

    def whole(images: SourceImages) -> Images:
        pixels, labels = zip(*make_loader(images, task.data, 256, shuffle=False, device="cpu"), strict=True)
        return torch.cat(pixels), torch.cat(labels)

    train, validation, test = (whole(own) for own in (task.data.train, task.data.validation, task.data.test))
    return train, validation, (torch.cat([validation[0], test[0]]), torch.cat([validation[1], test[1]]))


def fit(architecture: Architecture, train: Images, epochs: int, seed: int) -> tuple[nn.Module, float]:
    """A network trained by SGD as the config says, and its mean training loss in the last epoch."""
    recipe = task_of().config.search
    torch.manual_seed(seed)
    network = build(architecture)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    per_epoch = len(train[0]) // recipe.batch_size
    total, warm = epochs * per_epoch, min(per_epoch, epochs * per_epoch // 3)
    losses: list[float] = []
    network.train()
    for epoch in range(epochs):
        order, losses = torch.randperm(len(train[0])), []
        for batch in range(per_epoch):
            step = epoch * per_epoch + batch
            rise, fall = (step + 1) / warm, 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * (rise if step < warm else fall)
            chosen = order[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
            loss = functional.cross_entropy(network(cropped(train[0][chosen], recipe.crop_padding)), train[1][chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return network, float(np.mean(losses))


def cropped(images: Tensor, padding: int) -> Tensor:
    """Each image shifted by up to ``padding`` pixels."""
    n, _, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4)
    down, right = torch.randint(0, 2 * padding + 1, (2, n))
    rows, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
    return (
        padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        .permute(0, 3, 1, 2)
        .contiguous()
    )


def loss_on(network: nn.Module, images: Images) -> float:
    """Mean cross entropy."""
    network.eval()
    with torch.no_grad():
        return functional.cross_entropy(network(images[0]), images[1]).item()


def untrained(architecture: Architecture, train: Images) -> dict[str, float]:
    """What is said to tell how good an untrained network will be (Abdelfattah et al. 2021; Mellor et al. 2021).

    The mean over three initialisations, with a batch of 64 images; logarithms where it spans magnitudes."""
    found: dict[str, list[float]] = {}
    images, labels = train[0][:64], train[1][:64]
    for seed in range(3):
        torch.manual_seed(seed)
        network = build(architecture).train()
        signs: list[Tensor] = []
        note = partial(_note_signs, signs)
        active = (module for module in network.modules() if isinstance(module, nn.ReLU | nn.Hardswish))
        hooks = [module.register_forward_hook(note) for module in active]
        functional.cross_entropy(network(images), labels).backward()
        for hook in hooks:
            hook.remove()
        kernels = [p for p in network.parameters() if p.grad is not None and p.dim() > 1]
        alike = torch.stack([own @ own.T + (1 - own) @ (1 - own).T for own in signs]).sum(dim=0)
        given = images.clone().requires_grad_(True)
        network(given).sum().backward()
        assert given.grad is not None
        spectrum = torch.linalg.eigvalsh(torch.corrcoef(given.grad.flatten(1)).double()).clamp(min=1e-5)
        values = {
            "grad_norm": math.log(sum(float(p.grad.pow(2).sum()) for p in kernels if p.grad is not None)) / 2,
            "snip": math.log(sum(float((p * p.grad).abs().sum()) for p in kernels if p.grad is not None)),
            "naswot": float(torch.linalg.slogdet(alike.double())[1]),
            "jacob_cov": -float((spectrum.log() + 1 / spectrum).sum()),
            "synflow": synflow(architecture, images[:1], seed),
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _note_signs(signs: list[Tensor], module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
    signs.append((given[0] > 0).flatten(1).float())


def synflow(architecture: Architecture, image: Tensor, seed: int) -> float:
    """The logarithm of the sum over kernels of weight times gradient, all weights made positive."""
    torch.manual_seed(seed)
    network = build(architecture).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones_like(image).double()).sum().backward()
    flows = [float((p * p.grad).abs().sum()) for p in network.parameters() if p.grad is not None and p.dim() > 1]
    return math.log(sum(flows))


def summarise() -> None:
    """Print Kendall's tau of each with the mean loss of two whole trainings on images that were held out."""
    task = task_of()
    networks, others = (read(HERE / name) for name in ("networks.csv", "others.csv"))
    chosen, known = (indices(task, rows) for rows in (networks, others))
    each = [column(networks, f"loss_{seed}") for seed in (0, 1)]
    truth = -np.log((each[0] + each[1]) / 2)
    costs = task.space.cost_table
    found = experience(task.space, ["cifar10-jpeg-16"])
    earlier = np.array([sum(found[label][k] for label, k in zip(costs.labels, row, strict=True)) for row in chosen])

    def modelled(scores: Sequence[str], n: int, *, own: bool) -> float:
        taus = []
        for repeat in range(1 if n == len(others) else 6):
            part = np.random.RandomState(repeat).permutation(len(others))[:n]
            rows, values = known[part], -column(others, scores[0])[part]
            if own:
                rows, values = np.concatenate([rows, chosen]), np.concatenate([values, -column(networks, scores[0])])
            process = GaussianProcess(
                [len(names) for names in costs.candidates.values()], kinds_of(costs), SHORT_TRAININGS
            )
            process.fit(rows, values, tune=True)
            taus.append(tau(process.predict(chosen)[0], truth))
        return float(np.mean(taus))

    lines = [("a whole training, against one by another seed", tau(-each[0], -each[1]))]
    for epochs in SHORT:
        for what in ("training", "validation"):
            score = -column(networks, f"{what}_{epochs}")
            lines.append((f"its {what} loss after a training of {epochs} epochs", tau(score, truth)))
    for n in (48, 90, len(others)):
        for what in ("training", "validation"):
            words = f"the model of {n} other networks' {what} losses after 3 epochs"
            lines.append((words, modelled([f"{what}_3"], n, own=False)))
    lines.append((f"the same of {len(others)} and its own", modelled(["training_3"], len(others), own=True)))
    lines.append(("operators in 100 networks trained on CIFAR-10 (JPEG)", tau(earlier, truth)))
    own = -column(networks, "training_3")
    lines.append(("that and its training loss after 3 epochs", tau(scaled(earlier) + scaled(own), truth)))
    lines += [
        (f"{name}, untrained", tau(column(networks, name), truth))
        for name in ("grad_norm", "snip", "naswot", "jacob_cov", "synflow")
    ]
    print("| what is known of a network | tau with its loss |\n|---|---:|")
    print("\n".join(f"| {words} | {value:+.2f} |" for words, value in lines))


def tau(one: Any, other: Any) -> float:
    """Kendall's tau-b."""
    return float(kendalltau(one, other)[0])


def scaled(values: Any) -> Any:
    """With mean 0 and standard deviation 1."""
    return (values - values.mean()) / values.std()


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def column(rows: Sequence[Mapping[str, str]], name: str) -> Any:
    """A column of numbers."""
    return np.array([float(row[name]) for row in rows])


def indices(task: SearchTask, rows: Sequence[Mapping[str, str]]) -> Any:
    """(n, labels): the candidates of the networks."""
    return np.stack([task.table.indices(task.space.sample(parse(row["architecture"]))) for row in rows])


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "summary":
        summarise()
    else:
        measure(HERE / rest[0], int(rest[1]), int(rest[2]), whole=command == "measure")
