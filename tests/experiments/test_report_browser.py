"""The page in a real browser, headless: it works, on its own, in both themes, at the width of a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.pages import NASTY, full_run
from PIL import Image

from experiments.report.page import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (on Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = full_run(tmp_path_factory.mktemp("browsed") / "run")
    return write_page([run], run.report)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as api:
        # a sandbox needs rights that containers lack; only our own page is opened
        found = api.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, page_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page at a width, in a theme; afterwards there must have been no complaint and no request."""
    complaints: list[str] = []
    contexts = []

    def asked(request: Any) -> None:
        if request.url != page_path.as_uri() and not request.url.startswith("data:"):
            complaints.append(f"asked for {request.url}")

    def look(width: int = 1100, theme: str = "light") -> Any:
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", asked)
        page.goto(page_path.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        return page

    yield look
    for context in contexts:
        context.close()
    assert complaints == []


def test_the_table_sorts_by_click_and_by_keyboard(opened: Callable[..., Any]) -> None:
    page = opened()

    def column(index: int) -> list[str]:
        return page.eval_on_selector_all(
            f"#networks tbody tr > :nth-child({index})", "all => all.map(e => e.textContent)"
        )

    def sorting() -> list[str | None]:
        return page.eval_on_selector_all("#networks thead th", "all => all.map(e => e.getAttribute('aria-sort'))")

    heads = page.locator("#networks thead button")
    macs = heads.all_text_contents().index("MACs")
    heads.nth(1).click()
    accuracies = [float(text.split()[0]) for text in column(2)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert sorting()[1] == "descending"
    heads.nth(macs).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    costs = [float(text.removesuffix("k").removesuffix("M")) for text in column(macs + 1)]
    assert costs == sorted(costs)
    assert sorting() == [None if index != macs else "ascending" for index in range(heads.count())]
    heads.nth(0).click()
    assert column(1) == sorted(column(1), key=str.lower)


def test_pointing_at_a_network_shows_it(opened: Callable[..., Any]) -> None:
    page = opened()
    # scrolling hides what was pointed at: it must be over before
    page.evaluate("document.querySelector('#chart-accuracy_macs').scrollIntoView({ block: 'center' })")
    page.evaluate("new Promise(done => setTimeout(() => requestAnimationFrame(done), 150))")
    points = page.locator("#chart-accuracy_macs .mark-symbol path")
    shown = []
    for index in range(points.count()):
        page.mouse.move(0, 0)
        page.wait_for_selector("#tip", state="hidden")
        points.nth(index).hover()
        page.wait_for_selector("#tip:not([hidden])")
        shown.append(page.locator("#tip b").text_content())
        assert page.locator("#tip li").count() > 5
    assert {"gdas winner", "random 1", f"{NASTY}@fit (width 0.25)"} <= set(shown)
    assert page.title() != "owned"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


@pytest.mark.parametrize("width", [390, 700, 1100])
def test_no_label_is_over_another_and_nothing_scrolls_sideways(opened: Callable[..., Any], width: int) -> None:
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = page.eval_on_selector_all(
        "#chart-accuracy_macs svg .labels text",
        "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })",
    )
    assert len(boxes) == 5
    for index, one in enumerate(boxes):
        for other in boxes[:index]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] + 3 or other[3] <= one[1] + 3
            assert apart, (one, other)
    drawings = page.locator("#winner-1 figure svg")
    assert [drawings.nth(index).is_visible() for index in range(2)] == [width > 640, width <= 640]


def test_themes_follow_the_system_and_the_switch(opened: Callable[..., Any]) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = opened(theme="light"), opened(theme="dark")
    colours = [light.evaluate(ground), dark.evaluate(ground)]
    assert colours == ["rgb(246, 246, 243)", "rgb(16, 19, 22)"]
    text = "getComputedStyle(document.querySelector('#chart-accuracy_macs .labels text')).fill"
    assert light.evaluate(text) != dark.evaluate(text)
    light.get_by_role("button", name="Dark").press("Enter")
    assert light.evaluate(ground) == colours[1]
    assert light.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    light.get_by_role("button", name="System").click()
    assert light.evaluate(ground) == colours[0]


def test_charts_follow_the_width(opened: Callable[..., Any]) -> None:
    page = opened(1100)
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function("document.querySelector('#chart-progress svg').getBoundingClientRect().width < 480")
    assert page.evaluate("document.documentElement.scrollWidth") == 500


def test_it_can_be_looked_at(opened: Callable[..., Any], tmp_path: Path) -> None:
    for theme, width in (("light", 1100), ("dark", 390)):
        path = tmp_path / "page.png"
        opened(width, theme).screenshot(path=path, full_page=True)
        with Image.open(path) as picture:
            colours = picture.convert("RGB").resize((width // 4, picture.height // 4)).getcolors(10**6)
        assert colours is not None
        assert len(colours) > 200, "charts, text and bars"
