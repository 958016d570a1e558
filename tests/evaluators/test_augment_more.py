"""CutMix, random erasing, RandAugment, and a user's own change to batches of training images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.spaces import small_images, small_network
from PIL import Image, ImageOps

from evaluators import Recipe, retrain
from evaluators.augment.augmentation import Augmentation
from evaluators.augment.blending import draw_pasted, mixup
from evaluators.augment.rand_augment import draw_operations, operations, rand_augment
from search_space.base.errors import InvalidRequest

OWN = """
import torch

state = 0


def darker(images):
    assert images.dtype == torch.float32 and images.max() <= 1
    return images / 2


def noisy(images):
    return images + torch.rand(len(images), 1, 1, 1)


def smaller(images):
    return images[..., 1:]


def bytes_(images):
    return (images * 255).byte()


def fails(images):
    raise KeyError("no such thing")
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_changes.py").write_text(OWN)
    (tmp_path / "broken_changes.py").write_text("import no_such_package")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_changes", raising=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(batch: int, channels: int = 3, side: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, channels, side, side), dtype=np.uint8))


# --- CutMix ---


def test_cutmix_pastes_a_box_and_labels_follow_the_pixels() -> None:
    n, height, width = 300, 9, 14
    images = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, height, width)
    pairs = draw_pasted(n, 1.0, (height, width), seeded())
    mixed, probabilities = mixup(images, torch.arange(n), n, pairs)
    places = torch.zeros(height, width)
    for number in range(n):
        other = (mixed[number, 0] != number).nonzero()
        kept = 1 - len(other) / (height * width)
        if int(pairs.partners[number]) == number:
            assert len(other) == 0
            continue
        assert float(probabilities[number, number]) == pytest.approx(kept, abs=1e-6)
        assert float(probabilities[number].sum()) == pytest.approx(1)
        if len(other):
            assert set(mixed[number].unique().tolist()) == {number, int(pairs.partners[number])}
            # one box: as many pixels as its sides say
            (top, left), (bottom, right) = other.amin(0).tolist(), other.amax(0).tolist()
            assert len(other) == (bottom - top + 1) * (right - left + 1)
            places[top : bottom + 1, left : right + 1] += 1
    assert float(places.min()) > 0
    assert float(pairs.shares.min()) < 0.4
    assert float(pairs.shares.max()) > 0.9


def test_beside_mixup_each_batch_gets_one_of_the_two() -> None:
    both = Augmentation(mixup=0.4, cutmix=1.0)
    drawn = [both.pairs(4, seeded(seed), 8) for seed in range(40)]
    pasted = sum(pairs is not None and pairs.boxes is not None for pairs in drawn)
    assert 5 < pasted < 35
    assert all(pairs is not None for pairs in drawn)
    # mixup alone draws what it did before there was another way
    alone = Augmentation(mixup=0.4).pairs(4, seeded(), 8)
    assert alone is not None
    assert alone.boxes is None


# --- random erasing ---


def test_erasing_blanks_one_box_of_some_images() -> None:
    images = pixels(400, side=20).clamp(min=1)
    changed = Augmentation(erasing=0.5)(images, seeded(), fill=torch.tensor([0.0, 0.0, 0.0]))
    erased = 0
    for image, result in zip(images, changed, strict=True):
        different = (result != image).any(0).nonzero()
        if not len(different):
            continue
        erased += 1
        (top, left), (bottom, right) = different.amin(0).tolist(), different.amax(0).tolist()
        box = result[:, top : bottom + 1, left : right + 1]
        assert not box.any()
        assert 0.01 < box[0].numel() / 400 <= 0.45
    assert 150 < erased < 250
    assert torch.equal(Augmentation(erasing=0.5)(images, seeded()), Augmentation(erasing=0.5)(images, seeded()))


# --- RandAugment ---


def test_operations_are_those_of_pillow() -> None:
    images = pixels(6, side=16)
    images[:, :, :8] //= 3
    for number, expected in {
        1: lambda image: ImageOps.autocontrast(image),
        3: lambda image: ImageOps.solarize(image, 128),
        4: lambda image: ImageOps.posterize(image, 6),
    }.items():
        own = operations()[number](images.float() / 255, 0.5, torch.ones(6)) * 255
        for image, result in zip(images, own, strict=True):
            theirs = np.asarray(expected(Image.fromarray(image.permute(1, 2, 0).numpy())))
            # posterizing keeps the lower end of a step or its middle
            np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), theirs, atol=4)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_takes_grey_and_colour_and_grows_with_the_magnitude(channels: int) -> None:
    images = pixels(2, channels) // 2 + 30
    which = torch.arange(14).repeat_interleave(2)[:, None]
    signs = torch.tensor([1.0, -1.0]).repeat(14)[:, None]
    batch = images[:1].expand(28, channels, 12, 12)
    weak, strong = (rand_augment(batch, which, signs, magnitude) for magnitude in (3, 30))
    assert weak.dtype == torch.float32
    assert 0 <= float(torch.stack([weak, strong]).min()) <= float(torch.stack([weak, strong]).max()) <= 255
    moved = [(changed - batch.float()).abs().mean((1, 2, 3)) for changed in (weak, strong)]
    for number in range(28):
        # neither identity, autocontrast and equalize nor saturation of grey images know a magnitude
        if number // 2 in (0, 1, 2) or (number // 2 == 8 and channels == 1):
            continue
        assert float(moved[1][number]) > float(moved[0][number]), number // 2
    assert float(moved[0][:2].max()) < 1e-3


def test_operations_are_drawn_evenly_for_each_image() -> None:
    which, signs = draw_operations(14_000, 2, seeded())
    assert which.unique().tolist() == list(range(len(operations())))
    assert (which.flatten().bincount() - 2000).abs().max() < 300
    assert abs(float(signs.mean())) < 0.03
    images = pixels(40)
    augmentation = Augmentation(rand_augment=[2, 9])
    assert torch.equal(augmentation(images, seeded(3)), augmentation(images, seeded(3)))
    assert not torch.equal(augmentation(images, seeded(3)), augmentation(images, seeded(4)))


def test_without_kornia_rand_augment_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluators.augment.augmentation.find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"recipe\.rand_augment: \[2, 9\] needs kornia.*sepnas\[augment\]"):
        retrain(small_network(), small_images(8), Recipe(epochs=1, warmup_epochs=0, rand_augment=[2, 9]))


# --- a user's own change ---


def test_an_own_change_gets_pixels_between_0_and_1_and_follows_the_seed() -> None:
    images, state = pixels(6), torch.get_rng_state()
    halved = Augmentation(transform="own_changes:darker")(images, seeded())
    torch.testing.assert_close(halved, images / 2)
    noisy = Augmentation(transform="own_changes:noisy")
    assert torch.equal(noisy(images, seeded(1)), noisy(images, seeded(1)))
    assert not torch.equal(noisy(images, seeded(1)), noisy(images, seeded(2)))
    assert torch.equal(torch.get_rng_state(), state)


def test_training_goes_through_the_own_change() -> None:
    recipe = Recipe(epochs=1, warmup_epochs=0, batch_size=8, learning_rate=0.05)
    trained = [
        retrain(small_network(), small_images(16), own, accelerator="cpu").network.head.classifier.weight
        for own in (recipe, Recipe(**{**vars(recipe), "transform": "own_changes:darker"}))
    ]
    assert not torch.equal(trained[0], trained[1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("own_changes:none", "is not there: own_changes has no none"),
        ("no_such_module:f", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
        ("broken_changes:f", "cannot be imported (ModuleNotFoundError: No module named 'no_such_package')"),
        ("own_changes:state", "is of type int, which cannot be called"),
        ("own_changes:fails", "fails (KeyError: 'no such thing')"),
        ("own_changes:smaller", "returns torch.float32 (2, 1, 8, 7) for float32 (2, 1, 8, 8)"),
        ("own_changes:bytes_", "returns torch.uint8 (2, 1, 8, 8)"),
    ],
)
def test_what_is_no_change_to_batches_is_refused_before_anything_is_trained(call: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        retrain(small_network(), small_images(8), Recipe(epochs=1, warmup_epochs=0, transform=call))
    assert str(caught.value).startswith(f"recipe.transform: '{call}' {words}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"transform": "no colon"}, "recipe.transform: 'no colon' is not of the form module:callable"),
        ({"rand_augment": [2]}, "recipe.rand_augment: [2] must be [operations, magnitude]"),
        ({"rand_augment": [0, 9]}, "recipe.rand_augment: [0, 9] must be [operations, magnitude]"),
        ({"rand_augment": [2, 31]}, "recipe.rand_augment[1]: 31 must be a whole number from 0 to 30"),
        ({"erasing": 1.5}, "recipe.erasing: 1.5 must be a number from 0 to 1"),
        ({"cutmix": -1}, "recipe.cutmix: -1 must be a number of at least 0"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Recipe(**values)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
