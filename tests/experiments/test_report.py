"""The page on a run: what it shows at each stage, its figures as files, and that nothing on it is taken for HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.commands import Refused
from helpers.pages import BUDGET, NASTY, full_run, network, unfinished_run
from helpers.runs import contents
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

import experiments.report.page as page_module
from experiments.cli import main
from experiments.figures import network_colour, relative_luminance
from experiments.report.accuracy import compared_figure
from experiments.report.contents import Compared, read_run
from experiments.report.drawing import NARROW, WIDE, draw
from experiments.report.families import family_colour, readable
from experiments.report.labels import CHARACTER, LINE, Place, Point, place_labels
from experiments.report.page import write_page
from search_space.ops import operators
from strategies.budget.budget import Budget

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Elements that are open at each text, headings in order, ids, and the JSON in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.counts: dict[str, int] = {}
        self.scripts: list[str] = []
        self.captions = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a run with everything, in a folder of a nasty name."""
    run = full_run(tmp_path_factory.mktemp("pages") / "<b>run & co")
    return write_page([run], run.report)


def test_the_page_is_whole_html_with_headings_in_order(page: Path) -> None:
    parsed = Page(page.read_text(encoding="utf-8"))
    assert parsed.open == []
    assert parsed.headings[0] == 1
    assert parsed.headings.count(1) == 1
    assert all(level <= before + 1 for before, level in zip(parsed.headings, parsed.headings[1:], strict=False))
    assert parsed.counts["figure"] == parsed.counts["figcaption"]


def test_nothing_on_the_page_is_taken_for_html(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert Page(text).counts["script"] == 4  # two of data, the charts', the page's own
    assert "<script>document.title" not in text
    assert text.count("&lt;script&gt;document.title") > 2
    assert "<b>run" not in text
    specs = json.loads(Page(text).scripts[0])
    assert any(NASTY in str(dot["tip"]["title"]) for dot in specs["accuracy_macs"]["data"][0]["values"])


def test_the_page_asks_nothing_of_the_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    without = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", without)
    assert not re.findall(r"url\(|@import", without)


def test_the_page_shows_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = {"accuracy_macs", "progress", "scored", "probabilities", "ranking"}
    names |= {"curve_accuracy", "curve_loss", "curve_expected_cost", "curve_entropy"}
    assert set(json.loads(Page(text).scripts[0])) == names
    for words in ("XSepConv 3×3", "MACs ≤ 90.00k", "92.00 ± 1.41", "1.50 points ahead of", "No.", "0.10 to 0.70"):
        assert words in text, words
    assert "Not there yet" not in text
    assert "a training diverged" not in text
    assert "1 training diverged" in text


def test_figures_are_files_too(page: Path) -> None:
    names = [*json.loads(Page(page.read_text(encoding="utf-8")).scripts[0]), "winner"]
    for name in names:
        svg = page.with_name(f"{name}.svg").read_text(encoding="utf-8")
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "var(" not in svg
        with Image.open(page.with_name(f"{name}.png")) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert min(pixels.shape[:2]) > 150
        assert len({tuple(pixel) for pixel in pixels[::4, ::4].reshape(-1, 3).tolist()}) > 5


@pytest.mark.parametrize("measure", ["validation_accuracy", "negative_validation_loss"])
def test_a_search_on_its_way_has_a_page_that_says_what_is_missing(
    tmp_path: Path, said: Callable[..., str], measure: str
) -> None:
    run = unfinished_run(tmp_path / "run", measure, title="pets")
    printed = said("report", run.path)
    assert str(run.report / "index.html") in printed
    text = (run.report / "index.html").read_text(encoding="utf-8")
    assert "is not finished (8 scores)" in text
    assert "--resume" in text
    assert "The winner, block by block" not in text
    before = set(contents(run.report))
    assert str(run.report / "index.html") in said("report", run.path)  # made again unasked
    assert set(contents(run.report)) == before


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path, said: Callable[..., str]) -> None:
    run = unfinished_run(tmp_path / "run", title="pets")
    for path in (run.architectures, run.metrics, run.probabilities):
        path.unlink()
    said("report", run.path)
    text = (run.report / "index.html").read_text(encoding="utf-8")
    assert "is not finished (0 epochs)" in text
    assert json.loads(Page(text).scripts[0]) == {}


def test_compare_writes_the_page(compared: tuple[Path, Path]) -> None:
    text = (compared[0] / "report" / "index.html").read_text(encoding="utf-8")
    for name in ("gdas winner (one)", "gdas winner (two)", "mobilenetv3-small"):
        assert name in text
    assert "The winner of one, block by block" in text
    assert "The winner of two, block by block" in text


# --- refused ---


def test_a_damaged_file_is_named(refused: Refused, tmp_path: Path) -> None:
    run = full_run(tmp_path / "run")
    for path, content in (
        (run.architectures, "trial,measure,score,macs,params,architecture\n0,validation_accuracy,much,1,1,a\n"),
        (run.rank / "rank.json", "{}"),
        (run.report / "comparison.csv", "a,b\n1,2\n"),
    ):
        before = path.read_bytes()
        path.write_text(content)
        line = refused("report", run.path)
        assert line.startswith(f"report: {path} is damaged (")
        path.write_bytes(before)


def test_another_folder_keeps_its_files(refused: Refused, tmp_path: Path) -> None:
    run = unfinished_run(tmp_path / "run")
    other = tmp_path / "site"
    other.mkdir()
    (other / "index.html").write_text("mine")
    assert "already holds index.html" in refused("report", run.path, "--out", other)
    assert main(["report", str(run.path), "--out", str(other), "--overwrite"]) == 0
    assert (other / "index.html").read_text(encoding="utf-8") != "mine"
    assert "holds no run" in refused("report", tmp_path / "site")
    assert "is given twice" in refused("report", run.path, f"{run.path}/")


def test_a_page_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = unfinished_run(tmp_path / "run")
    before = write_page([run], run.report).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(page_module, "script", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_page([run], run.report, overwrite=True)
    assert (run.report / "index.html").read_bytes() == before


# --- colours ---


def contrast(one: str, other: str) -> float:
    low, high = sorted(relative_luminance(to_rgb(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_the_page_in_both_themes() -> None:
    style = Path(page_module.__file__).with_name("templates").joinpath("style.css").read_text(encoding="utf-8")
    themes = re.findall(r"--([a-z]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", style)
    for theme in (0, 1):
        colours = {name: both[theme] for name, *both in themes}
        for ground in ("page", "surface", "wash"):
            for name in ("ink", "muted", "accent"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (theme, name, ground)
        marks = [to_hex(network_colour(name)) for name in ("halving", "gdas", "mobilenetv3-small", "random", "mine")]
        for mark in [*marks, *(family_colour(name) for name in ("xsep", "depthwise", "bsconv", "even", "mine"))]:
            assert contrast(mark, colours["surface"]) >= 3, (theme, mark)


def compared_network(name: str, family: str, role: str, macs: int, accuracy: float) -> Compared:
    return Compared(name, family, role, str(network()), macs, 1000, accuracy, 0.01, 3, None)


def drawn(networks: list[Compared]) -> dict[str, tuple[str, str]]:
    """Colour and shape of each network in the figure, by its label."""
    figure = compared_figure(networks, [Budget(max_macs=BUDGET)])
    return {dot["label"]: (dot["colour"], dot["shape"]) for dot in figure.spec["data"][0]["values"]}


def test_a_network_keeps_its_colour_whatever_is_beside_it() -> None:
    winner = compared_network("gdas winner", "gdas", "winner", 80_000, 0.9)
    small = compared_network("mobilenetv3-small@fit", "mobilenetv3-small", "control", 85_000, 0.8)
    other = compared_network("mine", "mine", "trained", 70_000, 0.7)
    first, second = drawn([winner, small]), drawn([other, small, winner])
    assert first == {name: second[name] for name in first}
    assert len({colour for colour, _ in second.values()}) == 3


def test_a_winner_is_known_by_its_role_not_by_its_name() -> None:
    shapes = [
        drawn([compared_network("the winner", "a", role, 1, 0.5)])["the winner"][1] for role in ("winner", "trained")
    ]
    assert shapes == ["circle", "square"]


def test_the_front_is_what_no_other_network_beats() -> None:
    networks = [
        compared_network("a", "a", "control", 10, 0.5),
        compared_network("b", "b", "control", 20, 0.4),
        compared_network("c", "c", "control", 30, 0.6),
    ]
    dots = compared_figure(networks, []).spec["data"][0]["values"]
    assert [dot["front"] for dot in dots] == [True, False, True]


# --- labels ---


def boxes(points: list[Point], places: list[Place]) -> list[tuple[float, float, float, float]]:
    result = []
    for point, place in zip(points, places, strict=True):
        length = CHARACTER * len(point.text)
        left = point.x + place.dx - {"left": 0, "right": length, "center": length / 2}[place.align]
        middle = point.y + place.dy
        result.append((left, middle - LINE / 2, left + length, middle + LINE / 2))
    return result


def test_no_label_is_over_another() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        xs, ys = rng.uniform(60, 540, 8), rng.uniform(40, 260, 8)
        ys[:4] = ys[0] + rng.uniform(-6, 6, 4)  # as fair opponents: alike in everything
        points = [
            Point(float(x), float(y), y + 20, y - 20, "mobilenetv3-small@fit") for x, y in zip(xs, ys, strict=True)
        ]
        found = boxes(points, place_labels(points, 600, 300))
        for index, one in enumerate(found):
            for other in found[:index]:
                apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
                assert apart, (one, other)


# --- drawings ---


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_a_drawing_names_every_block(layout: Any) -> None:
    own = network("xsep_k5")
    svg = ElementTree.fromstring(draw(own, NASTY, layout))
    texts = [element.text or "" for element in svg.iter() if element.tag.endswith("text")]
    for block in own.blocks:
        assert readable(block.operator) in texts
    assert any(f"→ {own.blocks[-1].out_channels}" in text for text in texts)
    assert NASTY in svg.attrib["aria-label"]
    right = [
        float(element.attrib["x"]) + float(element.attrib["width"])
        for element in svg.iter()
        if element.tag.endswith("rect")
    ]
    assert max(right) <= layout.width


def test_every_operator_reads_well_and_differs() -> None:
    names = [readable(name) for name in operators]
    assert len(set(names)) == len(names)
    assert readable("xsep_no2x2_k5") == "XSepConv no2x2 5×5"
    assert readable("mix_k357") == "Mixed 3/5/7"
    assert readable("c4sp") == "Even-sized symmetric 4×4"


def test_only_scores_of_one_kind_are_drawn(tmp_path: Path) -> None:
    run = read_run(unfinished_run(tmp_path / "run"))
    assert [trial.rung for trial in run.trials] == [0, 0, 0, 0, 0, 1, 1, 0]
    assert [trial.score is None for trial in run.trials] == [False] * 7 + [True]
    both = ("negative_training_loss", "negative_validation_loss")
    run = read_run(unfinished_run(tmp_path / "both", *both))
    assert run.measure is not None
    assert run.measure.axis == "loss"
    assert [trial.measure.name for trial in run.trials] == [
        *["training loss"] * 5,
        *["validation loss"] * 2,
        "training loss",
    ]
    mixed = read_run(unfinished_run(tmp_path / "mixed", "validation_accuracy", "negative_validation_loss"))
    assert {trial.measure.name for trial in mixed.trials} == {"validation accuracy"}
