"""Generators: what their networks make, how images are measured, and that trainings go on to the bit."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import noise_folder
from helpers.runs import Killed
from PIL import Image
from torch import nn

from evaluators.data.images import ImageSet
from experiments.cli import main
from experiments.generation.measures import Features, frechet, nearness
from experiments.generation.networks import SIDES, Discriminator, Generator, conv
from experiments.generation.options import WIDTHS, GenerationOptions
from experiments.generation.training import Match
from search_space.base.errors import InvalidRequest

SMALL = GenerationOptions(
    kernel="c2sp", channels=8, critic_channels=4, latent=6, steps=6, critic_steps=2, batch_size=4, save_every=2
)
#: 16 images of 8 pixels: 12 to learn, at least 5 to measure by
TINY: Any = (
    *("--data.image_size", 8, "--data.test", 0.34, "--channels", 8, "--critic_channels", 4, "--batch_size", 4),
    *("--classifier_epochs", 1, "--accelerator", "cpu"),
)


def images(count: int = 16, side: int = 8) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("side", SIDES)
def test_networks_fit_every_size(side: int) -> None:
    generator, discriminator = Generator(SMALL, side, 1), Discriminator(SMALL, side, 1)
    made = generator(torch.randn(2, SMALL.latent))
    assert made.shape == (2, 1, side, side)
    assert made.abs().max() <= 1
    assert discriminator(made).shape == (2,)


@pytest.mark.parametrize("kernel", WIDTHS)
def test_generators_of_all_kernels_have_about_as_many_parameters(kernel: Any) -> None:
    def parameters(options: GenerationOptions) -> int:
        # the linear layer in front has no kernel
        return sum(p.numel() for p in Generator(options, 32, 3).blocks.parameters())

    assert parameters(GenerationOptions(kernel=kernel)) / parameters(GenerationOptions(kernel="c3")) == pytest.approx(
        1.0, abs=0.07
    )


def test_symmetric_padding_alone_keeps_the_centre() -> None:
    """An image of one bright pixel: all kernels of ones spread it, and only c2 and c4 move it."""
    middle = {}
    for kernel in WIDTHS:
        layer = conv(kernel, 4, 4)
        for name, parameter in layer.named_parameters():
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
        maps = torch.zeros(1, 4, 9, 9)
        maps[:, :, 4, 4] = 1
        made = layer(maps).detach().sum(dim=(0, 1))
        assert made.shape == (9, 9)
        middle[kernel] = float((made.sum(dim=0) * torch.arange(9)).sum() / made.sum()) - 4
    assert middle["c3"] == middle["c2sp"] == middle["c4sp"] == 0
    assert middle["c2"] == middle["c4"] == -0.5


def test_a_killed_training_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def match(name: str) -> Match:
        (tmp_path / name).mkdir(exist_ok=True)
        return Match(SMALL, images(), 3, "cpu", tmp_path / name)

    whole = match("whole")
    before = {name: tensor.clone() for name, tensor in whole.generator.state_dict().items()}
    whole.train("whole")
    killed = match("killed")
    step = killed._take_step

    def dies() -> dict[str, float]:
        if killed.step == 3:
            raise Killed
        return step()

    monkeypatch.setattr(killed, "_take_step", dies)
    with pytest.raises(Killed):
        killed.train("killed")
    again = match("killed")
    assert again.step == 2
    again.train("again")
    for name, tensor in whole.generator.state_dict().items():
        assert torch.equal(tensor, again.generator.state_dict()[name]), name
    assert any(not torch.equal(tensor, before[name]) for name, tensor in whole.generator.state_dict().items())
    losses = [(tmp_path / name / "losses.csv").read_text() for name in ("whole", "killed")]
    assert losses[0] == losses[1]
    assert [line.partition(",")[0] for line in losses[0].splitlines()] == ["step", "2", "4", "6"]
    assert torch.equal(whole.generate(3, 0), again.generate(3, 0))
    assert not torch.equal(whole.generate(3, 0), whole.generate(3, 1))


@pytest.mark.parametrize("damage", [lambda held: held[:-9], lambda held: held.replace(b"generator", b"generat0r")])
def test_a_damaged_resume_point_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    point = tmp_path / "resume.pt"
    match = Match(replace(SMALL, steps=2), images(), 0, "cpu", tmp_path)
    match.train("first")
    point.write_bytes(damage(point.read_bytes()))
    with pytest.raises(
        InvalidRequest, match=r"^resume point: .*resume\.pt is damaged .*; delete it to start that training again$"
    ):
        Match(SMALL, images(), 0, "cpu", tmp_path)


def test_the_discriminator_learns_what_is_real(tmp_path: Path) -> None:
    bright = ImageSet(torch.full((8, 3, 8, 8), 255, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
    own = Match(
        replace(SMALL, steps=60, save_every=60, learning_rate=0.01, critic_steps=100), bright, 0, "cpu", tmp_path
    )
    own.train("critic")
    with torch.no_grad():
        real, made = torch.ones(4, 3, 8, 8), own.generator(torch.randn(4, SMALL.latent))
        assert own.discriminator(real).min() > own.discriminator(made).max()


def test_nearness_tells_the_same_from_others() -> None:
    random = np.random.default_rng(0)
    one, same = (random.normal(size=(300, 5)) for _ in range(2))
    near = nearness(one, same)
    assert near.frechet < 0.3
    assert min(near.precision, near.recall) > 0.8
    far = nearness(one, same + 20)
    assert far.frechet == pytest.approx(5 * 20**2, rel=0.05)
    assert (far.precision, far.recall) == (0, 0)
    # one point again and again: all of them are real, and they show next to nothing of what is
    collapsed = nearness(np.repeat(same[:1], 300, axis=0), same)
    assert collapsed.precision == 1
    assert collapsed.recall < 0.05
    # variances 1 and 4 in each of 5 dimensions: (2 - 1)^2 each
    assert frechet(one, 2 * one + one.mean(axis=0) * -1) == pytest.approx(5, rel=0.2)


def test_features_are_what_the_classifier_sees() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    features = Features(network, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    white = features(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8))
    assert np.allclose(white, 1.0)
    assert white.shape == (2, 3)


def test_the_command_trains_measures_and_goes_on(
    tmp_path: Path, said: Callable[..., str], refused: Callable[..., str]
) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder, out = noise_folder(tmp_path / "pictures", 8, ("cat", "dog"), size=(8, 8)), tmp_path / "out"
    command = ("generate", "--out", out, "--data.name", folder, "--steps", 2, *TINY)
    text = said(*command, "--seeds", "0")
    assert "c2sp: " in text
    assert "2 steps, 6 generated images against as many of the test; n = 1" in text
    assert re.search(r"features of a classifier of these images \(right in \d+\.\d % of the test\)", text)
    assert "no FID" in text
    with Image.open(out / "seed0" / "samples.png") as picture:
        assert picture.size == ((8 * 9 + 1) * 8,) * 2
    assert not (out / "seed0" / "resume.pt").exists()
    kept = (out / "seed0" / "measures.json").stat().st_mtime_ns
    assert "n = 2" in said(*command, "--seeds", "0,1")
    assert (out / "seed0" / "measures.json").stat().st_mtime_ns == kept
    one, two = (json.loads((out / f"seed{seed}" / "measures.json").read_text()) for seed in (0, 1))
    assert one["generated"] != two["generated"]
    lock = os.open(out, os.O_RDONLY)  # of its own, as another process has it
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert "another process is writing to it" in refused(*command, "--seeds", "0,1", loads=True)
    os.close(lock)
    told = refused(*command, "--kernel", "c3")
    assert told.endswith(
        "holds a generator made differently: kernel was 'c2sp' and is now 'c3'; --overwrite deletes it"
    )


def test_wrong_requests_are_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused("generate").startswith("required: --out")
    told = refused("generate", "--out", "o", "--data.image_size", 24)
    assert told == "data.image_size: 24 has no generator, whose maps double from 4 pixels; use 8, 16, 32, 64, 128"
    assert refused("generate", "--out", "o", "--kernel", "c5").startswith("kernel: 'c5' is unknown; known are c3, c2,")
    assert refused("generate", "--out", "o", "--data.stored_size", 40).startswith("data.stored_size: 40 leaves windows")
    assert "steps: 0 must be" in refused("generate", "--out", "o", "--steps", 0)


def test_a_loss_that_is_not_finite_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = noise_folder(tmp_path / "pictures", 8, ("cat", "dog"), size=(8, 8))
    command = ("generate", "--out", tmp_path / "out", "--data.name", folder, "--steps", 20, *TINY, "--seeds", "0")
    assert main([str(part) for part in (*command, "--learning_rate", 1e30)]) == 1
    assert "a loss is not finite at step" in capsys.readouterr().err
