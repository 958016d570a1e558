"""Trainings that are killed end with the same weights; those that diverge fail, and leave a good checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.spaces import small_images, small_network
from torch import nn

from evaluators import Recipe, retrain
from evaluators.training.callbacks import CHECKPOINT_FILE, all_finite
from evaluators.training.module import ClassificationModule
from evaluators.training.run import TrainingDiverged

HERE = Path(__file__).resolve().parent
# everything that has a state or draws random numbers
RECIPE = Recipe(
    epochs=4,
    batch_size=16,
    learning_rate=0.05,
    warmup_epochs=0.5,
    schedule="exponential",
    decay_factor=0.8,
    label_smoothing=0.1,
    gradient_clip=1.0,
    dropout=0.3,
    ema_decay=0.8,
    crop_padding=1,
    flip=True,
    cutout=2,
    mixup=0.5,
)
STEPS = 6  # an epoch of 48 training and 48 validation images

KILLED = """
import os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
from helpers.spaces import small_images, small_network
from test_resume import RECIPE
from evaluators import retrain
from evaluators.training.module import ClassificationModule

steps = 0
train = ClassificationModule.training_step

def until_killed(self, batch, batch_idx):
    global steps
    steps += 1
    if steps == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(self, batch, batch_idx)

ClassificationModule.training_step = until_killed
retrain(small_network(), small_images(48), RECIPE, seed=3, accelerator="cpu", folder=Path(sys.argv[1]))
"""


def test_a_training_killed_within_an_epoch_ends_with_the_same_weights(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=HERE.parents[1], env=_environment(), capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (tmp_path / CHECKPOINT_FILE).exists()
    epochs: list[float] = []
    data = small_images(48)
    torch.manual_seed(99)  # the state of the program around it must not matter
    resumed = retrain(
        small_network(),
        data,
        RECIPE,
        seed=3,
        accelerator="cpu",
        folder=tmp_path,
        on_epoch=lambda figures: epochs.append(figures["epoch"]),
    )
    assert epochs == [1, 2, 3]
    whole = retrain(small_network(), data, RECIPE, seed=3, accelerator="cpu")
    for (name, first), second in zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second), name
    assert whole.loss == resumed.loss


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))}


def test_training_leaves_the_random_state_of_the_program_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    retrain(
        small_network(),
        small_images(),
        Recipe(epochs=1, batch_size=16, warmup_epochs=0, dropout=0.5),
        accelerator="cpu",
    )
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_training_ends_with_the_step_whose_loss_is_not_finite(
    bad: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    train = ClassificationModule.training_step

    def diverge(self: ClassificationModule, batch: Any, batch_idx: int) -> torch.Tensor:
        steps.append(batch_idx)
        loss = train(self, batch, batch_idx)
        return loss * bad if len(steps) == STEPS + 2 else loss

    monkeypatch.setattr(ClassificationModule, "training_step", diverge)
    data = small_images(48)
    with pytest.raises(
        TrainingDiverged, match=rf"^mine: the loss is {bad} at step 8 \(epoch 2\); lower the learning rate$"
    ):
        retrain(small_network(), data, RECIPE, accelerator="cpu", folder=tmp_path, title="mine")
    assert len(steps) == STEPS + 2, "it went on"
    _check_last_good_one(tmp_path, epoch=0)


def test_weights_that_the_last_step_of_an_epoch_broke_never_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss that would tell is that of the next step, after the resume point."""
    steps: list[int] = []

    def break_a_weight(self: ClassificationModule, *args: Any) -> None:
        steps.append(1)
        if len(steps) == 2 * STEPS:
            network = self.model
            assert isinstance(network, nn.Module)
            with torch.no_grad():
                next(network.parameters())[0] = float("inf")

    monkeypatch.setattr(ClassificationModule, "on_train_batch_end", break_a_weight)
    with pytest.raises(TrainingDiverged, match=r"a weight is not finite at step 12 \(epoch 2\)"):
        retrain(small_network(), small_images(48), RECIPE, accelerator="cpu", folder=tmp_path)
    _check_last_good_one(tmp_path, epoch=0)


def _check_last_good_one(folder: Path, epoch: int) -> None:
    checkpoint = torch.load(folder / CHECKPOINT_FILE, weights_only=True)
    assert checkpoint["epoch"] == epoch
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["state_dict"].values())
    assert [entry.name for entry in folder.iterdir()] == [CHECKPOINT_FILE]


def test_finite_means_all_of_parameters_and_buffers() -> None:
    norm = nn.BatchNorm2d(2)
    assert all_finite(norm)
    assert norm.running_var is not None
    norm.running_var[1] = float("inf")
    assert not all_finite(norm)
    assert all_finite(nn.Identity())
