"""Image files become pixels: formats, colours, sizes, damage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import grey_folder as fill
from helpers.images import grey_values as values
from helpers.images import refuse, save, splits
from PIL import Image

from evaluators.base import progress as progress_module
from evaluators.data import decode as decode_module
from evaluators.data.decode import square
from evaluators.data.images import ImageData
from evaluators.data.load import load_data
from search_space.base.errors import InvalidRequest


def all_values(data: ImageData) -> list[int]:
    return sorted(value for part in splits(data).values() for value in values(part))


# --- formats, colours, sizes ---


def test_every_format_in_every_letter_case(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPG", "c.jpeg", "d.Jpeg", "e.png", "f.PNG", "g.webp", "h.WebP", "i.bmp", "j.BMP"]
    for label, base in (("blue", 40), ("red", 200)):
        for k, name in enumerate(names):
            format_name = {"jpg": "jpeg"}.get(name[2:].lower(), name[2:].lower())
            options: dict[str, Any] = {"lossless": True} if format_name == "webp" else {}
            save(tmp_path / label / name, (base, k, 240 - base), format=format_name, **options)
    data = load_data(str(tmp_path), image_size=6)
    parts = list(splits(data).values())
    pixels = torch.cat([part.images for part in parts])[:, :, 3, 3].int()
    labels = torch.cat([part.labels for part in parts])
    assert len(pixels) == 20
    expected = torch.where(labels[:, None] == 0, torch.tensor([40, 200]), torch.tensor([200, 40]))
    assert (pixels[:, [0, 2]] - expected).abs().max() <= 3


def picture(image: Image.Image, format_name: str = "png", **options: Any) -> Image.Image:
    """Return `image` as it comes back from a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=format_name, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize(
    ("mode", "colour", "grey", "expected"),
    [
        ("RGB", (255, 0, 0), 76, (255, 0, 0)),
        ("RGB", (0, 255, 0), 150, (0, 255, 0)),
        ("L", 77, 77, (77, 77, 77)),
        ("1", 1, 255, (255, 255, 255)),
        ("LA", (0, 0), 255, (255, 255, 255)),
        ("LA", (77, 255), 77, (77, 77, 77)),
        ("RGBA", (255, 0, 0, 255), 76, (255, 0, 0)),
        # Fully transparent is white whatever lies beneath; half transparent is half way there.
        ("RGBA", (12, 34, 56, 0), 255, (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), 127, (127, 127, 127)),
    ],
)
def test_colours(mode: str, colour: Any, grey: int, expected: tuple[int, int, int]) -> None:
    image = picture(Image.new(mode, (6, 6), colour))
    assert abs(int(square(image, 6, 1)[0, 2, 2]) - grey) <= 1
    image = picture(Image.new(mode, (6, 6), colour))
    assert square(image, 6, 3)[:, 2, 2].tolist() == list(expected)


def test_palette_and_cmyk() -> None:
    base = Image.new("RGB", (6, 6), (200, 30, 90))
    assert square(picture(base.convert("P", palette=Image.Palette.ADAPTIVE)), 6, 3)[:, 1, 1].tolist() == [200, 30, 90]
    clear = Image.new("P", (6, 6), 1)
    clear.putpalette([0, 0, 0, 9, 9, 9])
    assert square(picture(clear, transparency=1), 6, 3)[:, 1, 1].tolist() == [255, 255, 255]
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(square(picture(red, "jpeg"), 16, 3)[:, 8, 8].astype(int) - [255, 0, 0]).max() <= 3


def test_sixteen_bit_grey_is_scaled() -> None:
    wide = picture(Image.fromarray(np.array([[0, 257 * 100], [65535, 257 * 3 + 128]], dtype=np.uint16)))
    assert wide.mode.startswith("I")
    assert square(wide, 2, 1).tolist() == [[[0, 100], [255, 3]]]


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="no known range"):
        square(Image.new("F", (4, 4)), 4, 1)


@pytest.mark.parametrize(("modes", "channels"), [(("L", "1", "LA"), 1), (("L", "L", "RGB"), 3), (("L", "P"), 3)])
def test_auto_channels(tmp_path: Path, modes: tuple[str, ...], channels: int) -> None:
    for k in range(6):
        for label in "ab":
            save(tmp_path / label / f"{k}.png", None, mode=modes[min(k, len(modes) - 1)])
    assert load_data(str(tmp_path), image_size=4, validation=0.4, test=0.4).channels == channels
    assert load_data(str(tmp_path), image_size=4, validation=0.4, test=0.4, channels=1).channels == 1
    assert load_data(str(tmp_path), image_size=4, validation=0.4, test=0.4, channels=3).channels == 3


def test_auto_channels_do_not_depend_on_the_images_chosen(tmp_path: Path) -> None:
    fill(tmp_path, n=40)
    save(tmp_path / "dog" / "zzz.png")
    found = {load_data(str(tmp_path), image_size=4, max_train_images=10, seed=seed).channels for seed in range(4)}
    assert found == {3}


@pytest.mark.parametrize("size", [(20, 20), (40, 20), (20, 30), (5, 5), (5, 15), (16, 16), (17, 16), (16, 19)])
def test_resize_agrees_with_torch(size: tuple[int, int]) -> None:
    # Oracle: torch's own antialiased bilinear resize of the whole image, then the centre, at sizes that divide evenly.
    width, height = size
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = min(size)
    whole = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    shape = (height * 16 // side, width * 16 // side)
    resized = torch.nn.functional.interpolate(whole, shape, mode="bilinear", antialias=True)[0]
    top, left = (shape[0] - 16) // 2, (shape[1] - 16) // 2
    expected = resized[:, top : top + 16, left : left + 16]
    found = torch.from_numpy(square(Image.fromarray(pixels), 16, 3).copy()).float()
    assert (found - expected).abs().max() <= (1.01 if side != 16 else 0)


def test_centre_is_kept() -> None:
    bands = np.zeros((10, 30), dtype=np.uint8)
    bands[:, 10:20], bands[:, 20:] = 100, 200
    # The outermost pixels may blend with their neighbours beyond the cut, as in resizing first and cropping then.
    assert set(square(Image.fromarray(bands), 5, 1)[0, :, 1:4].ravel().tolist()) == {100}
    assert set(square(Image.fromarray(np.ascontiguousarray(bands.T)), 5, 1)[0, 1:4].ravel().tolist()) == {100}


def test_large_jpeg_read_at_reduced_scale() -> None:
    ramp = np.linspace(0, 255, 400)[None].repeat(300, 0).astype(np.uint8)
    found = square(picture(Image.fromarray(ramp), "jpeg", quality=95), 16, 1)[0].astype(float)
    edges = np.linspace(50, 350, 17)
    expected = (edges[:-1] + edges[1:]) / 2 * 255 / 400
    assert np.abs(found - expected)[:, 1:-1].max() < 3


def test_extreme_shape_takes_no_extra_memory() -> None:
    assert square(Image.new("L", (200_000, 1), 9), 64, 1).shape == (1, 64, 64)


def test_exif_orientation() -> None:
    image = Image.new("L", (16, 16))
    image.paste(255, (8, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    # Orientation 6 is shown turned a quarter clockwise: the dark left side comes to the top.
    found = square(picture(image, "jpeg", exif=exif.tobytes()), 16, 1)[0]
    assert found[:6].max() < 30
    assert found[10:].min() > 225


# --- damage ---


def damage(root: Path) -> list[Path]:
    """Spoil three files of `root`, each in another way."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, format="jpeg")
    bad = [root / "cat" / "cut.jpg", root / "cat" / "empty.png", root / "dog" / "words.png"]
    bad[0].write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    bad[1].write_bytes(b"")
    bad[2].write_text("not an image")
    return bad


def test_damaged_images_are_named(tmp_path: Path) -> None:
    damage(fill(tmp_path / "train"))
    fill(tmp_path / "test", n=2)
    refuse(tmp_path, r"3 of 23 images that cannot be read: .*on_corrupt: skip")
    for word in ("cut.jpg", "empty.png", "words.png", "truncated"):
        refuse(tmp_path, word)
    (tmp_path / "train" / "dog" / "y.png").write_text("")
    refuse(tmp_path, r"4 of 24 images that cannot be read: .*, \.\.\.;")


def test_damaged_images_are_skipped(tmp_path: Path) -> None:
    bad = damage(fill(tmp_path))
    data = load_data(str(tmp_path), image_size=4, on_corrupt="skip")
    assert all_values(data) == [*range(10), *range(100, 110)]
    for part in splits(data).values():
        assert part.labels.tolist() == [value // 100 for value in values(part)]
    # all of them are known now that the test has been opened
    assert sorted(data.skipped) == sorted(map(str, bad))


def test_damaged_test_images(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    bad = damage(fill(tmp_path / "test", n=2))
    with pytest.raises(InvalidRequest, match="3 of 7 images that cannot be read"):
        _ = load_data(str(tmp_path), image_size=4).test
    data = load_data(str(tmp_path), image_size=4, on_corrupt="skip")
    # not known before it is opened
    assert (data.sizes["test"], data.skipped) == (7, ())
    assert len(data.test) == data.sizes["test"] == 4
    assert sorted(data.skipped) == sorted(map(str, bad))


def test_skipping_must_leave_something(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", n=2)
    for path in (tmp_path / "test").rglob("*.png"):
        path.write_text("")
    with pytest.raises(InvalidRequest, match="no readable image in test"):
        _ = load_data(str(tmp_path), image_size=4, on_corrupt="skip").test
    fill(tmp_path / "test", n=2)
    for path in (tmp_path / "train" / "dog").iterdir():
        path.write_text("")
    refuse(tmp_path, "no readable training image of class 'dog'", on_corrupt="skip")


def test_decompression_bomb_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    save(tmp_path / "cat" / "huge.png", 0, (100, 100), "L")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    refuse(tmp_path, r"huge.png' \(.*decompression bomb")


def test_file_name_does_not_choose_a_foreign_decoder(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", n=1)
    Image.new("RGB", (4, 4)).save(tmp_path / "train" / "cat" / "x.png", format="eps")
    refuse(tmp_path, "1 of 21 images that cannot be read")


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)

    def deny(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "cat")

    monkeypatch.setattr("os.scandir", deny)
    refuse(tmp_path, "cannot be read .*cat.*; make it readable")


@pytest.mark.parametrize("threads", [1, 8])
def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(decode_module, "_CHUNK", 3)
    monkeypatch.setattr(decode_module, "usable_cores", lambda: threads)
    fill(tmp_path, n=60)
    bad = damage(tmp_path)
    data = load_data(str(tmp_path), image_size=4, on_corrupt="skip", channels=1)
    for part in splits(data).values():
        assert part.labels.tolist() == [value // 100 for value in values(part)]
    assert all_values(data) == [*range(60), *range(100, 160)]
    assert sorted(data.skipped) == sorted(map(str, bad))


def test_progress_bar_goes_to_stderr_when_it_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    load_data(str(tmp_path), image_size=4, cache=False)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress_module, "DELAY", 0.0)
    load_data(str(tmp_path), image_size=4, cache=False)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "reading images" in shown.err
