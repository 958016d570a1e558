"""Images from local folders: layouts, formats, colours, sizes, damage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import splits
from PIL import Image

from evaluators.base import progress as progress_module
from evaluators.data import decode as decode_module
from evaluators.data.decode import square
from evaluators.data.images import ImageData, Images
from evaluators.data.load import describe, load_data
from evaluators.data.loaders import make_loader
from evaluators.sources.find import find_source
from evaluators.sources.folder import ImageFiles
from search_space.base.errors import InvalidRequest


def save(
    path: Path, colour: Any = (10, 20, 30), size: tuple[int, int] = (6, 6), mode: str = "RGB", **options: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def fill(root: Path, classes: tuple[str, ...] = ("cat", "dog"), n: int = 10, start: int = 0) -> Path:
    """Make class folders whose image k has the grey value start + k (+ 100 in the second class): content names it."""
    for label, name in enumerate(classes):
        for k in range(n):
            save(root / name / f"{k:03d}.png", start + 100 * label + k, mode="L")
    return root


def values(part: Images) -> list[int]:
    """Return the grey value of each image of `part`, which must be constant."""
    flat = part.gather(torch.arange(len(part))).flatten(1)
    assert bool((flat == flat[:, :1]).all())
    return flat[:, 0].tolist()


def all_values(data: ImageData) -> list[int]:
    return sorted(value for part in splits(data).values() for value in values(part))


def refuse(name: Path | str, text: str, **options: Any) -> None:
    with pytest.raises(InvalidRequest, match=text) as error:
        load_data(str(name), **({"image_size": 4} | options))
    assert "\n" not in str(error.value)


# --- layouts ---


def test_class_folders_are_split_three_ways(tmp_path: Path) -> None:
    data = load_data(str(fill(tmp_path)), image_size=4)
    assert data.classes == ("cat", "dog")
    found = [values(data.train), values(data.validation), values(data.test)]
    assert [len(part) for part in found] == [12, 4, 4]
    # Each file is in exactly one split.
    assert all_values(data) == [*range(10), *range(100, 110)]
    for part in splits(data).values():
        assert part.labels.tolist() == [value // 100 for value in values(part)]


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_given_splits_are_kept(tmp_path: Path, validation: str) -> None:
    fill(tmp_path / "train", n=5)
    fill(tmp_path / validation, n=3, start=20)
    fill(tmp_path / "test", n=2, start=40)
    data = load_data(str(tmp_path), image_size=4)
    assert values(data.train) == [*range(5), *range(100, 105)]
    assert values(data.validation) == [20, 21, 22, 120, 121, 122]
    assert values(data.test) == [40, 41, 140, 141]


@pytest.mark.parametrize("missing", ["val", "test"])
def test_missing_split_comes_off_train(tmp_path: Path, missing: str) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / ("test" if missing == "val" else "val"), n=2, start=40)
    data = load_data(str(tmp_path), image_size=4)
    given, made = (data.test, data.validation) if missing == "val" else (data.validation, data.test)
    assert values(given) == [40, 41, 140, 141]
    assert len(made) == 4
    assert sorted(values(data.train) + values(made)) == [*range(10), *range(100, 110)]


def test_a_split_may_lack_a_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", ("a", "b", "c"), n=6)
    fill(tmp_path / "test", ("c",), n=2)
    assert load_data(str(tmp_path), image_size=4).test.labels.tolist() == [2, 2]


def test_class_called_train(tmp_path: Path) -> None:
    assert load_data(str(fill(tmp_path, ("bus", "train"))), image_size=4).classes == ("bus", "train")


def test_folder_beside_the_splits_without_images_is_ignored(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("x")
    assert load_data(str(tmp_path), image_size=4).classes == ("cat", "dog")


def test_nested_and_hidden_files(tmp_path: Path) -> None:
    fill(tmp_path, n=3)
    save(tmp_path / "cat" / "more" / "deep" / "x.png", 50, mode="L")
    save(tmp_path / "cat" / ".thumbs" / "y.png", 60, mode="L")
    save(tmp_path / "cat" / "._x.png", 70, mode="L")
    save(tmp_path / ".cache" / "z.png", 80, mode="L")
    (tmp_path / "cat" / "boxes.txt").write_text("1 2 3")
    data = load_data(str(tmp_path), image_size=4, test=0.3, validation=0.4)
    assert all_values(data) == [0, 1, 2, 50, 100, 101, 102]


def test_order_follows_names_only(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/sub/1", "a/z", "a/sub.x"):
        save(tmp_path / f"{name}.png")
    source = find_source(str(tmp_path))
    order = [Path(source.train.pictures.name(index)).relative_to(tmp_path).as_posix() for index in range(5)]
    assert order == ["a/sub/1.png", "a/sub.x.png", "a/z.png", "b/1.png", "b/2.png"]
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fill(tmp_path / "pets")
    assert load_data("~/pets", image_size=4).name == "~/pets"


def test_relative_folder_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "owner" / "name")
    assert len(load_data("owner/name", image_size=4).test) == 4


def test_layouts_that_are_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "no" / "where", "does not exist; correct the path")
    save(tmp_path / "single.png")
    refuse(tmp_path / "single.png", "is a file; give the folder")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "has no class folders in")
    save(tmp_path / "flat" / "a.jpg")
    refuse(tmp_path / "flat", "not in class folders")
    refuse(fill(tmp_path / "one", ("cat",)), r"training images of 1 class \('cat'\)")
    fill(tmp_path / "hollow")
    (tmp_path / "hollow" / "fox").mkdir()
    refuse(tmp_path / "hollow", "has no image .* in the class folder '.*fox")


def test_split_layouts_that_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "no_train" / "test")
    refuse(tmp_path / "no_train", "has test/ but no train/")
    fill(tmp_path / "twice" / "train")
    fill(tmp_path / "twice" / "val")
    fill(tmp_path / "twice" / "valid")
    refuse(tmp_path / "twice", "both val/ and valid/ for the validation split")
    fill(tmp_path / "mixed" / "train")
    fill(tmp_path / "mixed", ("cat",))
    refuse(tmp_path / "mixed", "split folder 'train' beside the class folder 'cat'")
    fill(tmp_path / "extra" / "train")
    fill(tmp_path / "extra" / "test", ("cat", "wolf"))
    refuse(tmp_path / "extra", "the class 'wolf' in test, which train lacks")
    fill(tmp_path / "flat_test" / "train")
    save(tmp_path / "flat_test" / "test" / "a.png")
    refuse(tmp_path / "flat_test", "test' that are not in class folders")


def test_too_few_images_of_a_class(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / "fox" / "1.png", 1, mode="L")
    refuse(tmp_path, "data.test: 0.2, but class 'fox' has 1 image to split")


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
    with pytest.raises(InvalidRequest, match="no image of test that can be read"):
        _ = load_data(str(tmp_path), image_size=4, on_corrupt="skip").test
    fill(tmp_path / "test", n=2)
    for path in (tmp_path / "train" / "dog").iterdir():
        path.write_text("")
    refuse(tmp_path, "no training image of class 'dog' that can be read", on_corrupt="skip")


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


# --- what is read, and how ---


def test_only_chosen_files_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "train", n=50)
    fill(tmp_path / "val", n=10)
    fill(tmp_path / "test", n=3, start=60)
    opened: list[str] = []
    original = ImageFiles.open

    def record(self: ImageFiles, index: int) -> Image.Image:
        opened.append(self.paths[index])
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "open", record)
    data = load_data(str(tmp_path), image_size=4, channels=1, max_train_images=24)
    # 24 of 120 in the proportion 100 to 20
    assert (len(data.train), len(data.validation)) == (20, 4)
    assert data.train.labels.bincount().tolist() == [10, 10]
    assert len(opened) == len(set(opened)) == 24
    # and the whole test, once it is asked for
    assert (len(data.test), len(data.test)) == (6, 6)
    assert len(opened) == len(set(opened)) == 30


@pytest.mark.parametrize("own_test", [True, False])
@pytest.mark.parametrize("where", ["memory", "stream"])
def test_test_images_are_opened_by_reading_test_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_test: bool, where: Any
) -> None:
    fill(tmp_path / "train" if own_test else tmp_path, n=20)
    if own_test:
        fill(tmp_path / "test", n=3, start=60)
    opened: set[str] = set()
    original = ImageFiles.open

    def record(self: ImageFiles, index: int) -> Image.Image:
        opened.add(self.paths[index])
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "open", record)
    # headers tell what "auto" needs to know; they alone may be read of a test that is split off train
    data = load_data(str(tmp_path), image_size=4, channels="auto" if own_test else 1, where=where, workers=0)
    describe(data)
    for part in (data.train, data.validation):
        for shuffle in (True, False):
            for _ in make_loader(part, data, 8, shuffle=shuffle):
                pass
    before = set(opened)
    assert len(before) == len(data.train) + len(data.validation)
    for _ in make_loader(data.test, data, 8, shuffle=False):
        pass
    assert len(opened - before) == len(data.test) == (6 if own_test else 8)


def test_max_train_images_too_small_for_the_validation_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", n=50)
    fill(tmp_path / "val", n=5)
    refuse(
        tmp_path,
        "data.max_train_images: 10 leaves 1 images for 2 classes of one split; raise it to 20",
        max_train_images=10,
    )


@pytest.mark.parametrize("threads", [1, 8])
def test_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(decode_module, "_CHUNK", 3)
    monkeypatch.setattr("os.cpu_count", lambda: threads)
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
