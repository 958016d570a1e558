"""Random crops and flips, and normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.augment import Augmentation, normalise
from search_space.errors import InvalidRequest


def random_images(batch: int, channels: int = 3, height: int = 6, width: int = 5, seed: int = 0) -> torch.Tensor:
    # From 1: a zero is then certain to be border.
    pixels = np.random.default_rng(seed).integers(1, 256, (batch, channels, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def possible(image: np.ndarray, border: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Return everything that may become of one image, cut out step by step."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (border, border), (border, border)))
    found = {}
    for top in range(2 * border + 1):
        for left in range(2 * border + 1):
            window = padded[:, top : top + height, left : left + width]
            found[window.tobytes()] = (top, left, False)
            if flip:
                found[window[:, :, ::-1].tobytes()] = (top, left, True)
    return found


@settings(max_examples=25, deadline=None)
@given(border=st.integers(0, 7), flip=st.booleans(), seed=st.integers(0, 2**63 - 1), height=st.integers(1, 6))
def test_every_result_is_a_window_of_its_own_image(border: int, flip: bool, seed: int, height: int) -> None:
    images = random_images(5, height=height)
    before = images.clone()
    changed = Augmentation(border, flip)(images, seeded(seed))
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert torch.equal(images, before)
    for image, result in zip(images.numpy(), changed.numpy(), strict=True):
        assert result.tobytes() in possible(image, border, flip)


def test_every_change_is_equally_likely() -> None:
    image = random_images(1)
    choices = possible(image[0].numpy(), 1, True)
    results = Augmentation(1, True)(image.repeat(9000, 1, 1, 1), seeded())
    counts = dict.fromkeys(choices.values(), 0)
    for result in results.numpy():
        counts[choices[result.tobytes()]] += 1
    # 18 outcomes of 500 expected each: chi-square below its 1e-6 quantile for 17 degrees of freedom.
    assert len(counts) == 18
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 60


def test_same_generator_state_same_changes() -> None:
    images = random_images(20)
    augmentation = Augmentation(4, True)
    first = augmentation(images, seeded(3))
    assert torch.equal(augmentation(images, seeded(3)), first)
    assert not torch.equal(augmentation(images, seeded(4)), first)
    # The type of the pixels makes no difference to what is drawn.
    assert torch.equal(augmentation(images.float(), seeded(3)), first.float())


def test_default_changes_nothing() -> None:
    images = random_images(3)
    generator = seeded(1)
    assert torch.equal(Augmentation()(images, generator), images)
    assert torch.equal(generator.get_state(), seeded(1).get_state())


def test_border_is_black_before_normalisation() -> None:
    changed = Augmentation(6)(torch.full((200, 1, 4, 4), 255, dtype=torch.uint8), seeded())
    assert set(changed.unique().tolist()) == {0, 255}


def test_global_random_stream_is_left_alone() -> None:
    state = torch.get_rng_state()
    Augmentation(2, True)(random_images(4), seeded())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_sees_the_same_changes() -> None:
    images = random_images(64, height=8, width=8)
    augmentation = Augmentation(2, True)
    on_cuda = augmentation(images.cuda(), seeded(9))
    assert on_cuda.is_cuda
    assert torch.equal(on_cuda.cpu(), augmentation(images, seeded(9)))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"crop_padding": -1}, "crop_padding=-1"), ({"crop_padding": 1.5}, "crop_padding=1.5"), ({"flip": 1}, "flip=1")],
)
def test_refuses(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        Augmentation(**arguments)


def test_normalise_agrees_with_float64() -> None:
    images = random_images(7, seed=2)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1e-3)
    found = normalise(images, mean, std)
    assert found.dtype == torch.float32
    expected = (images.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)
    assert torch.equal(normalise(images, torch.tensor(mean), torch.tensor(std)), found)
