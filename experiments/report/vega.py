"""Charts by Vega, through the package vl-convert: its JavaScript for the page, and SVG and PNG without a browser.

Colours in specifications are CSS variables of the page (``var(--ink)``), so that a chart follows the theme; in files
they are those of the light theme.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from evaluators.data.cache import cache_folder
from experiments.runs.files import write_text
from experiments.runs.provenance import package_version
from search_space.base.atomic import replacing

#: Pixels of a PNG for one of the drawing.
_SCALE = 2.0
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        name: of its files, without suffix.
        title: what it shows, in a few words.
        caption: how to read it.
        alt: what is to be seen, for those who do not see it.
        spec: Vega's, with ``width`` and ``height``.
    """

    name: str
    title: str
    caption: str
    alt: str
    spec: dict[str, Any]


def chart(height: int, x: str, y: str, *, ticks: Sequence[float] | None = None, **parts: Any) -> dict[str, Any]:
    """A specification in the page's style with one axis below, called ``x``, and one at the left, called ``y``.

    ``ticks`` are the values on the left; by default Vega chooses. ``parts`` are ``data``, ``scales`` (of them "x" and
    "y") and ``marks``.
    """
    return {
        "$schema": "https://vega.github.io/schema/vega/v6.json",
        "width": 720,
        "height": height,
        "padding": 2,
        "autosize": {"type": "fit", "contains": "padding"},
        "background": None,
        "config": CONFIG,
        "axes": [_below(x), _left(y, ticks)],
        **parts,
    }


def _below(title: str) -> dict[str, Any]:
    several = {"signal": "max(2, min(8, width / 90))"}
    return {"scale": "x", "orient": "bottom", "title": title, "titlePadding": 8, "grid": False, "tickCount": several}


def _left(title: str, ticks: Sequence[float] | None) -> dict[str, Any]:
    # its title stands above it, level: nobody has to turn the head
    above = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleBaseline": "bottom"}
    above |= {"titleX": 0, "titleY": -10}
    values = {"tickCount": 5} if ticks is None else {"values": list(ticks), "format": "~g"}
    return {"scale": "y", "orient": "left", "title": title, **above, "domain": False, "ticks": False, **values}


def mark(kind: str, data: str | None, hover: Mapping[str, Any] | None = None, /, **update: Any) -> dict[str, Any]:
    """A mark for each datum of ``data`` (None: one). What it is encoded by is a value, or Vega's own dict."""

    def encoded(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value if isinstance(value, dict) else {"value": value} for name, value in values.items()}

    sections = {"update": encoded(update)} | ({} if hover is None else {"hover": encoded(hover)})
    return {"type": kind, "encode": sections} | ({} if data is None else {"from": {"data": data}})


def field(name: str, scale: str | None = None) -> dict[str, Any]:
    """A field of the datum, on a scale."""
    return {"field": name} | ({} if scale is None else {"scale": scale})


#: where a datum is in the plot
AT = {"x": field("x", "x"), "y": field("y", "y")}
#: how a point shows that it is pointed at
POINTED = {"stroke": "var(--ink)"}


def points(size: Any, colour: Any, **more: Any) -> dict[str, Any]:
    """A mark for each of "dots", which tells its ``tip`` when it is pointed at."""
    look = {"size": size, "fill": colour, "stroke": "var(--surface)", "tooltip": field("tip"), "cursor": "pointer"}
    return {**mark("symbol", "dots", POINTED, **AT, **look, **more), "name": "points"}


def padded(low: float, high: float, *, log: bool = False) -> list[float]:
    """An axis' domain for values from ``low`` to ``high``."""
    if log:
        return [max(low, 1e-6) / 1.25, max(high, 1e-6) * 1.25]
    rise = (high - low) or abs(high) * 0.1 or 1.0
    return [low - 0.1 * rise, high + 0.12 * rise]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones, for a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


CONFIG: dict[str, Any] = {
    "axis": {
        "labelFont": _FONT,
        "titleFont": _FONT,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--axis)",
        "tickColor": "var(--axis)",
        "labelPadding": 6,
        "grid": True,
    },
    "text": {"font": _FONT, "fontSize": 12, "fill": "var(--ink)"},
    "title": {"font": _FONT},
}


def script() -> str:
    """Vega as a script that makes ``vegaEmbed``, of the installed version; kept in the cache, as bundling takes
    seconds."""
    import vl_convert

    path = cache_folder() / f"vega-{package_version('vl-convert-python')}-{vl_convert.get_vega_version()}.js"
    try:
        text = path.read_text(encoding="utf-8")
        if text.endswith(_END):
            return text
    except (OSError, ValueError):
        pass
    text = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # nothing in it may end the script element
    text = re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE).replace("<!--", r"<\!--") + _END
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError:
        pass  # it is bundled again the next time
    return text


_END = "\n// whole\n"


def save(figure: Figure, folder: Path) -> None:
    """Write ``NAME.svg`` and ``NAME.png`` in the light theme."""
    import vl_convert

    spec = json.loads(in_light(json.dumps(figure.spec)))
    spec["background"] = light_colours()["surface"]
    spec["padding"] = 16
    save_svg(vl_convert.vega_to_svg(spec), figure.name, folder)


def save_svg(svg: str, name: str, folder: Path) -> None:
    """Write a drawing as ``NAME.svg`` and ``NAME.png``."""
    import vl_convert

    svg = in_light(svg)
    write_text(folder / f"{name}.svg", svg)
    with replacing(folder / f"{name}.png") as temporary:
        temporary.write_bytes(vl_convert.svg_to_png(svg, scale=_SCALE))


def in_light(text: str) -> str:
    """``text`` with the light theme's colours in place of CSS variables."""
    colours = light_colours()
    return re.sub(r"var\(--([a-z]+)\)", lambda found: colours.get(found[1], found[0]), text)


@functools.cache
def light_colours() -> Mapping[str, str]:
    """{variable: colour} of the light theme, as the style sheet has them."""
    style = files("experiments.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    return dict(re.findall(r"--([a-z]+): light-dark\((#[0-9a-f]{6}),", style))
