"""Trainings in several processes: what they learn together, and what they do side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.processes import decide_together, diverge_or_touch, fail_together
from helpers.spaces import small_images, small_network
from torch import nn

from evaluators import Recipe, retrain
from evaluators.data.batches import own_rows
from evaluators.training.callbacks import CHECKPOINT_FILE
from evaluators.training.devices import check_processes
from evaluators.training.loaders import training_loader
from evaluators.training.module import ClassificationModule
from evaluators.training.pools import run_each
from evaluators.training.processes import run_together
from evaluators.training.retrain import retrain_seeds
from evaluators.training.run import TrainingDiverged
from evaluators.training.trainer import fit, make_trainer
from search_space import InvalidRequest

RECIPE = Recipe(
    epochs=3,
    batch_size=15,
    learning_rate=0.2,
    warmup_epochs=1,
    gradient_clip=0.5,
    crop_padding=1,
    flip=True,
    mixup=0.4,
    ema_decay=None,
)
# batches of 15, 15 and 3: unequal shares of 7 and 8, and one that is too small to be shared
IMAGES = 33


def plain_network() -> nn.Module:
    """Without batch norms, whose statistics are of a process's share alone on CPUs."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(288, 4)
    )


def learn(processes: int, report: Any = None) -> dict[str, Any]:
    """Train `plain_network` as one of ``processes``; returns its weights as lists."""
    data, network = small_images(IMAGES), plain_network()
    figures: list[dict[str, float]] = []
    trainer = make_trainer(
        RECIPE.epochs,
        title="t",
        accelerator="cpu",
        gradient_clip=RECIPE.gradient_clip,
        devices=processes,
        on_epoch=figures.append,
    )
    place = {"rank": trainer.global_rank, "world_size": trainer.world_size}
    fit(
        trainer,
        ClassificationModule(RECIPE, network),
        training_loader(data.train, data, RECIPE, seed=0, device="cpu", **place),
    )
    return {
        "weights": [parameter.tolist() for parameter in network.parameters()],
        "losses": [figure["train_loss"] for figure in figures],
        "processes": trainer.world_size,
    }


@pytest.mark.parametrize(("count", "processes"), [(15, 2), (16, 2), (17, 3), (5, 2), (3, 2)])
def test_weighted_gradients_of_the_shares_are_the_gradient_of_the_whole(count: int, processes: int) -> None:
    images, labels = torch.randn(count, 1, 8, 8), torch.arange(count) % 4
    network = plain_network()

    def gradient(rows: torch.Tensor, weight: float) -> torch.Tensor:
        network.zero_grad()
        (weight * nn.functional.cross_entropy(network(images[rows]), labels[rows])).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    whole = gradient(torch.arange(count), 1.0)
    parts = [own_rows(count, rank, processes) for rank in range(processes)]
    together = torch.stack([gradient(*part) for part in parts]).mean(0)
    assert torch.allclose(whole, together, atol=1e-6)
    assert min(len(rows) for rows, _ in parts) >= 2, "batch norms need two images"
    if count >= 2 * processes:
        assert torch.cat([rows for rows, _ in parts]).tolist() == list(range(count)), "each image once, in order"


def test_two_processes_learn_what_one_does() -> None:
    alone, together = learn(1), run_together(learn, (2,), 2, None)
    assert (alone["processes"], together["processes"]) == (1, 2)
    for first, second in zip(alone["weights"], together["weights"], strict=True):
        assert torch.allclose(torch.tensor(first), torch.tensor(second), rtol=1e-4, atol=1e-6)
    start = [parameter.tolist() for parameter in plain_network().parameters()]
    assert not torch.allclose(torch.tensor(start[0]), torch.tensor(alone["weights"][0]), atol=1e-2), "nothing learnt"


def test_a_job_of_one_task_does_not_keep_processes_from_training_together(monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"NTASKS": "1", "JOB_ID": "4711", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert run_together(learn, (2,), 2, None)["processes"] == 2


def test_the_first_process_decides_for_all(tmp_path: Path) -> None:
    run_together(decide_together, (tmp_path,), 2, None)
    told = {rank: (tmp_path / str(rank)).read_text().splitlines() for rank in (0, 1)}
    same = ["world 2", "first 0", "second 0", "InvalidRequest: out: refused by 0"]
    assert told[0] == [*same, "OSError: no space for 0"]
    assert told[1] == [*same, "RuntimeError: the first process failed: OSError: no space for 0"]


def test_a_network_with_batch_norms_trains_on_two_devices_and_resumes(tmp_path: Path) -> None:
    data = small_images(48)
    recipe = Recipe(epochs=2, batch_size=16, warmup_epochs=0, learning_rate=0.05, ema_decay=0.5)
    seen: list[float] = []
    trained = retrain(
        small_network(),
        data,
        recipe,
        train_on="train",
        keep_best=True,
        accelerator="cpu",
        folder=tmp_path,
        devices=2,
        on_epoch=lambda figures: seen.append(figures["epoch"]),
    )
    assert seen == [0, 1]
    assert trained.best is not None
    assert {entry.name for entry in tmp_path.iterdir()} == {CHECKPOINT_FILE, "best.safetensors"}
    # one process takes up what two have done, and measures the same weights on the same images
    again = retrain(
        small_network(), data, recipe, train_on="train", keep_best=True, accelerator="cpu", folder=tmp_path, devices=1
    )
    assert again.accuracy == trained.accuracy
    assert again.loss == pytest.approx(trained.loss, rel=1e-6)
    for first, second in zip(trained.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(first, second)


def test_failures_of_processes_that_train_together_come_through() -> None:
    with pytest.raises(TrainingDiverged, match="the loss is nan at step 3"):
        run_together(fail_together, ("diverged",), 2, None)
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="OSError: no space left"):
        run_together(fail_together, ("fault",), 2, lambda figures: None)


def test_seeds_side_by_side_give_what_they_give_one_after_the_other(tmp_path: Path) -> None:
    data = small_images(32)
    recipe = Recipe(epochs=2, batch_size=16, warmup_epochs=0, learning_rate=0.05, dropout=0.2, ema_decay=0.5)
    in_turn = retrain_seeds(small_network(), data, recipe, [4, 5], accelerator="cpu")
    at_once = retrain_seeds(small_network(), data, recipe, [4, 5], accelerator="cpu", parallel_seeds=2)
    for first, second in zip(in_turn, at_once, strict=True):
        assert (first.accuracy, first.loss) == (second.accuracy, second.loss)
        states = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in states)
    assert in_turn[0].loss != in_turn[1].loss


@pytest.mark.parametrize("processes", [1, 2])
def test_one_failure_does_not_stop_the_others(tmp_path: Path, processes: int) -> None:
    with pytest.raises(TrainingDiverged, match="the loss is nan at step 3"):
        run_each(diverge_or_touch, [(None,), (tmp_path / "second",)], processes)
    assert (tmp_path / "second").exists()


def launched(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """As the first of two processes that ``by`` started."""
    variables = {"torchrun": {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2}, "SLURM": {"PROCID": 0, "NTASKS": 2}}
    for name, value in variables[by].items():
        monkeypatch.setenv(f"SLURM_{name}" if by == "SLURM" else name, str(value))


def test_what_fails_in_one_of_several_processes_does_not_let_it_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(monkeypatch, "torchrun")

    def fail(path: Path | None) -> None:
        if path is None:
            raise OSError("no space left")
        path.touch()

    with pytest.raises(OSError, match="no space left"):
        run_each(fail, [(None,), (tmp_path / "second",)], 1)
    assert not (tmp_path / "second").exists()
    with pytest.raises(TrainingDiverged):
        run_each(diverge_or_touch, [(None,), (tmp_path / "second",)], 1)
    assert (tmp_path / "second").exists()


@pytest.mark.parametrize("by", ["torchrun", "SLURM"])
def test_processes_that_would_train_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    launched(monkeypatch, by)
    message = r"devices: 1 on 1 node\(s\) are 1 process\(es\), but torchrun or SLURM started 2, which would train apart"
    with pytest.raises(InvalidRequest, match=message):
        retrain(small_network(), small_images(), RECIPE, accelerator="cpu", folder=tmp_path)
    with pytest.raises(InvalidRequest, match="devices: 2 on 2"):
        check_processes(2, 2, "cpu")
    for devices, num_nodes in ((2, 1), (1, 2)):
        check_processes(devices, num_nodes, "cpu")
    with pytest.raises(InvalidRequest, match="parallel_seeds: 2, but torchrun or SLURM started 2 processes"):
        retrain_seeds(small_network(), small_images(), RECIPE, [0, 1], accelerator="cpu", parallel_seeds=2)
    assert not list(tmp_path.iterdir())


def test_one_process_that_torchrun_started_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, "torchrun")
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_processes(1, 1, "cpu", parallel_seeds=2)


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_processes(3, 1, "cpu")
    check_processes(2, 1, "auto")
    with pytest.raises(InvalidRequest, match=r"devices: 3, but torch sees 2 GPU\(s\) here; give at most 2"):
        check_processes(3, 1, "auto")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices: 0 must be a whole number of at least 1"),
        ({"num_nodes": 2}, "num_nodes: 2, but neither torchrun nor SLURM started this process"),
    ],
)
def test_impossible_machines_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        retrain(small_network(), small_images(), RECIPE, accelerator="cpu", **options)
    with pytest.raises(InvalidRequest, match="parallel_seeds: 0 must be a whole number of at least 1"):
        retrain_seeds(small_network(), small_images(), RECIPE, [0], parallel_seeds=0)
