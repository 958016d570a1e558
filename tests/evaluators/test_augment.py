"""Random crops and flips, and normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch.nn import functional

from evaluators.augment.augmentation import Augmentation, normalise
from evaluators.augment.blending import draw_jitter, draw_pairs, jitter, mixup
from evaluators.augment.crops import draw_boxes, resize_boxes
from search_space.base.errors import InvalidRequest


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


@settings(max_examples=25)
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


CHANGES = [
    Augmentation(2, True),
    Augmentation(0, True, (0.08, 1.0)),
    Augmentation(color_jitter=0.4),
    Augmentation(cutout=5),
    Augmentation(3, True, color_jitter=(0.1, 0.2, 0.3), cutout=4),
    Augmentation(erasing=0.7),
    Augmentation(rand_augment=(2, 9)),
]


@pytest.mark.parametrize("augmentation", CHANGES)
def test_changes_follow_the_generator_alone(augmentation: Augmentation) -> None:
    images = random_images(30, height=8, width=8)
    before, state = images.clone(), torch.get_rng_state()
    first = augmentation(images, seeded(3))
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == images.shape
    assert torch.equal(augmentation(images, seeded(3)), first)
    assert not torch.equal(augmentation(images, seeded(4)), first)
    # The type of the pixels makes no difference to what is drawn.
    torch.testing.assert_close(augmentation(images.float(), seeded(3)), first.float())


@pytest.mark.parametrize("augmentation", CHANGES)
def test_each_image_is_changed_in_its_own_way(augmentation: Augmentation) -> None:
    changed = augmentation(random_images(1, height=12, width=12).repeat(40, 1, 1, 1), seeded())
    assert len({image.numpy().tobytes() for image in changed}) > 15


@pytest.mark.parametrize("augmentation", CHANGES)
def test_an_image_is_changed_alike_whatever_the_others_are(augmentation: Augmentation) -> None:
    images = random_images(9, height=8, width=8)
    others = random_images(9, height=8, width=8, seed=1)
    others[4] = images[4]
    torch.testing.assert_close(augmentation(others, seeded(5))[4], augmentation(images, seeded(5))[4])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augmentation", CHANGES)
def test_cuda_sees_the_same_changes(augmentation: Augmentation) -> None:
    images = random_images(64, height=8, width=8)
    on_cuda = augmentation(images.cuda(), seeded(9))
    assert on_cuda.is_cuda
    torch.testing.assert_close(on_cuda.cpu(), augmentation(images, seeded(9)), rtol=1e-3, atol=1e-2)


# --- windows ---


def test_windows_of_another_size() -> None:
    images = random_images(60, height=7, width=7)
    changed = Augmentation(1)(images, seeded(), size=4)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    places = set()
    for image, result in zip(padded, changed.numpy(), strict=True):
        found = [
            (top, left)
            for top in range(6)
            for left in range(6)
            if np.array_equal(image[:, top : top + 4, left : left + 4], result)
        ]
        assert len(found) == 1
        places |= set(found)
    # of 36 places, 60 draws miss 7 on average
    assert len(places) > 20
    assert torch.equal(Augmentation()(images, seeded(), size=5), images[:, :, 1:6, 1:6])
    with pytest.raises(InvalidRequest, match="size: 10x10 cannot be cut from 9x9 pixels"):
        Augmentation(1)(images, seeded(), size=10)
    with pytest.raises(InvalidRequest, match="size: 8x8 cannot be cut from 7x7 pixels"):
        Augmentation()(images, seeded(), size=8)


def test_resized_boxes_agree_with_torch_and_pillow() -> None:
    """Box by box: cut it out, then resize it."""
    images = random_images(50, height=40, width=30)
    boxes = draw_boxes(50, (40, 30), (0.08, 1.0), (3 / 4, 4 / 3), seeded())
    boxes[0], boxes[1] = torch.tensor([0, 0, 40, 30]), torch.tensor([39, 29, 1, 1])
    found = resize_boxes(images, boxes, (14, 17))
    assert found.dtype == torch.float32
    for image, result, (top, left, height, width) in zip(images, found, boxes.tolist(), strict=True):
        box = image[:, top : top + height, left : left + width]
        expected = functional.interpolate(box[None].double(), size=(14, 17), mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=0.01)
        pillow = Image.fromarray(box.permute(1, 2, 0).contiguous().numpy()).resize((17, 14), Image.Resampling.BILINEAR)
        # Pillow rounds after each of its two passes
        assert np.abs(np.asarray(pillow).transpose(2, 0, 1) - result.numpy()).max() <= 1.01


def test_resized_crop_is_made_of_such_boxes() -> None:
    images = random_images(40, height=12, width=12)
    changed = Augmentation(flip=True, resized_crop_area=(0.3, 0.9))(images, seeded(2), size=9)
    generator = seeded(2)
    plain = resize_boxes(images, draw_boxes(40, (12, 12), (0.3, 0.9), (3 / 4, 4 / 3), generator), (9, 9))
    mirrored = [torch.equal(one, other.flip(2)) for one, other in zip(changed, plain, strict=True)]
    assert all(
        turned or torch.equal(*pair) for turned, pair in zip(mirrored, zip(changed, plain, strict=True), strict=True)
    )
    assert 8 <= sum(mirrored) <= 32


def test_boxes_keep_their_bounds_and_are_spread_evenly() -> None:
    n, side = 20000, 1000
    boxes = draw_boxes(n, (side, side), (0.08, 0.5), (3 / 4, 4 / 3), seeded()).double()
    top, left, height, width = boxes.T
    assert bool((boxes >= 0).all())
    assert bool((top + height <= side).all())
    assert bool((left + width <= side).all())
    area, ratio = height * width / side**2, width / height
    assert 0.0795 < float(area.min()) < 0.081
    assert 0.498 < float(area.max()) < 0.5005
    assert 0.748 < float(ratio.min()) < 0.752
    assert 1.33 < float(ratio.max()) < 1.336
    # Boxes of at most half the area always fit at these ratios, so nothing is drawn again: uniform area and log ratio.
    assert abs(float(area.mean()) - 0.29) < 0.005
    assert abs(float(ratio.log().mean())) < 0.005
    assert abs(float(ratio.log().std()) - np.log(16 / 9) / 12**0.5) < 0.005
    for start, length in ((top, height), (left, width)):
        place = start / (side - length)
        assert abs(float(place.mean()) - 0.5) < 0.01
        assert abs(float(place.std()) - 12**-0.5) < 0.01


def test_box_that_never_fits_is_the_largest_central_one() -> None:
    # 4 to 3 of the whole area of a square does not fit
    boxes = draw_boxes(5, (60, 60), (1.0, 1.0), (4 / 3, 4 / 3), seeded())
    assert boxes.tolist() == [[7, 0, 45, 60]] * 5
    boxes = draw_boxes(5, (60, 60), (1.0, 1.0), (0.5, 0.5), seeded())
    assert boxes.tolist() == [[0, 15, 60, 30]] * 5


# --- colours ---


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_agrees_with_pillow(channels: int) -> None:
    """Image by image, with Pillow's enhancers in the drawn order."""
    images = random_images(40, channels, height=9, width=9)
    factors, order = draw_jitter(40, (0.4, 0.5, 0.6), seeded())
    found = jitter(images, factors, order)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for image, result, strengths, turns in zip(images, found, factors.tolist(), order.tolist(), strict=True):
        pixels = image[0].numpy() if channels == 1 else image.permute(1, 2, 0).contiguous().numpy()
        expected = Image.fromarray(pixels)
        for turn in turns:
            expected = enhancers[turn](expected).enhance(strengths[turn])
        reference = np.atleast_3d(np.asarray(expected)).transpose(2, 0, 1)
        # Pillow cuts off fractions after each change, and rounds the mean grey
        assert np.abs(reference - result.numpy()).max() <= 4


def test_jitter_draws() -> None:
    factors, order = draw_jitter(6000, (0.2, 0.0, 1.5), seeded())
    low, high = factors.amin(0).tolist(), factors.amax(0).tolist()
    assert low == pytest.approx([0.8, 1.0, 0.0], abs=0.01)
    assert high == pytest.approx([1.2, 1.0, 2.5], abs=0.01)
    counts: dict[tuple[int, ...], int] = {}
    for turns in map(tuple, order.tolist()):
        counts[turns] = counts.get(turns, 0) + 1
    # 6 orders of 1000 expected each: chi-square below its 1e-6 quantile for 5 degrees of freedom
    assert len(counts) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 36


def test_jitter_stays_within_the_range_of_pixels() -> None:
    changed = Augmentation(color_jitter=3.0)(random_images(50), seeded())
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255


# --- cutout ---


@pytest.mark.parametrize("side", [1, 4, 5, 30])
def test_cutout_blanks_one_square(side: int) -> None:
    images = random_images(300, height=10, width=12)
    changed = Augmentation(cutout=side)(images, seeded(), fill=torch.tensor([7.2, 0.0, 251.6]))
    assert changed.dtype == torch.uint8
    centres = set()
    for image, result in zip(images.numpy(), changed.numpy(), strict=True):
        candidates = []
        for row in range(10):
            for column in range(12):
                top, left = row - side // 2, column - side // 2
                expected = image.copy()
                rows, columns = slice(max(top, 0), max(top + side, 0)), slice(max(left, 0), max(left + side, 0))
                expected[:, rows, columns] = np.array([7, 0, 252], dtype=np.uint8)[:, None, None]
                if np.array_equal(expected, result):
                    candidates.append((row, column))
        assert candidates
        centres |= set(candidates)
    # every pixel may be the centre
    assert len(centres) > 100


# --- mixup ---


def test_mixup_blends_images_and_labels_alike() -> None:
    images = torch.eye(16).view(16, 1, 4, 4)
    labels = torch.arange(16) % 5
    mixed, probabilities = mixup(images, labels, 5, draw_pairs(16, 0.7, seeded(1)))
    # Image k is the unit vector k, so a mixed image shows the share of each.
    shares = mixed.flatten(1)
    torch.testing.assert_close(shares.sum(1), torch.ones(16))
    assert int((shares > 0).sum(1).max()) == 2
    torch.testing.assert_close(probabilities, shares @ torch.eye(5)[labels])
    assert len(set(shares.amax(1).tolist())) > 10
    again = mixup(images, labels, 5, draw_pairs(16, 0.7, seeded(1)))
    assert torch.equal(again[0], mixed)
    assert torch.equal(again[1], probabilities)
    assert not torch.equal(mixup(images, labels, 5, draw_pairs(16, 0.7, seeded(2)))[0], mixed)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_shares_follow_the_beta_distribution(alpha: float) -> None:
    n = 20000
    images = torch.zeros(n, 1, 1, 1)
    # two classes, of which the second has one image: its row shows the share alone
    labels = torch.arange(n)
    own = mixup(images, labels % 2, 2, draw_pairs(n, alpha, seeded()))[1]
    mixed = own[:, 0][(own[:, 0] > 0) & (own[:, 0] < 1)]
    # mean 1/2 and variance 1 / (4 (2 alpha + 1)) of Beta(alpha, alpha)
    assert abs(float(mixed.mean()) - 0.5) < 0.02
    assert float(mixed.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_without_mixup_no_pairs_are_drawn() -> None:
    generator = seeded()
    before = generator.get_state()
    assert Augmentation().pairs(4, generator, 8) is None
    assert torch.equal(generator.get_state(), before)


# --- requests ---


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"crop_padding": -1}, "augmentation.crop_padding: -1 must be a whole number of at least 0"),
        ({"crop_padding": 1.5}, "crop_padding: 1.5"),
        ({"flip": 1}, "flip: 1 must be true or false"),
        ({"resized_crop_area": (0.0, 1.0)}, r"resized_crop_area\[0\]: 0.0 must be a number above 0"),
        ({"resized_crop_area": (0.5, 1.5)}, "resized_crop_area"),
        ({"resized_crop_area": (0.5,)}, "resized_crop_area"),
        ({"resized_crop_area": 0.5}, "resized_crop_area: 0.5 must be a list"),
        (
            {"resized_crop_area": (0.08, 1), "crop_padding": 4},
            "crop_padding: 4 beside resized_crop_area would crop twice",
        ),
        ({"aspect": (2, 1)}, "aspect"),
        ({"aspect": ("a", "b")}, "aspect"),
        ({"aspect": (1, float("inf"))}, "aspect"),
        ({"color_jitter": -0.1}, "color_jitter: -0.1 must be a number of at least 0"),
        ({"color_jitter": (0.1, 0.2)}, "color_jitter"),
        ({"color_jitter": True}, "color_jitter"),
        ({"color_jitter": "strong"}, "color_jitter: 'strong'"),
        ({"cutout": -1}, "cutout: -1"),
        ({"mixup": -1.0}, "mixup: -1.0 must be a number of at least 0"),
        ({"mixup": float("nan")}, "mixup: nan"),
    ],
)
def test_refuses(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text) as error:
        Augmentation(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [tuple, list])
def test_pairs_may_be_lists(kind: type) -> None:
    Augmentation(resized_crop_area=kind((0.08, 1)), aspect=kind((0.75, 1.5)), color_jitter=kind((0.1, 0.2, 0.3)))


def test_normalise_leaves_floats_alone() -> None:
    images = random_images(3).float()
    before = images.clone()
    normalise(images, (0.5,) * 3, (0.5,) * 3)
    assert torch.equal(images, before)


def test_normalise_agrees_with_float64() -> None:
    images = random_images(7, seed=2)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1e-3)
    found = normalise(images, mean, std)
    assert found.dtype == torch.float32
    expected = (images.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)
    assert torch.equal(normalise(images, torch.tensor(mean), torch.tensor(std)), found)
