"""The command ``sepnas analyse``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.checks import check_choice, check_int
from search_space.base.errors import InvalidRequest

#: What can be analysed, in words, and which options beside those of all go with it.
ANALYSES = {
    "correlations": ("how well one blueprint explains each filter, for any weights (BSConv, figure 3)", ("stage",)),
    "shift": (
        "how even-sized kernels shift and erase the maps of untrained networks (Wu et al., figure 3)",
        ("kernels", "depth", "seeds", "images", "data"),
    ),
    "receptive-field": (
        "what each block of a network sees, and how far it is shifted (XSepConv, section 3.2)",
        ("input", "width"),
    ),
}


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "what",
        choices=list(ANALYSES),
        help="which analysis: " + "; ".join(f"{name}: {words}" for name, (words, _) in ANALYSES.items()),
    )
    parser.add_argument(
        "subject",
        nargs="?",
        help="for correlations: weights (safetensors, or a state dict of torch.save), a run, a training, a bundle or"
        " module:callable; for receptive-field: a network as `sepnas describe` takes it; none for shift",
    )
    parser.add_argument("--out", help="folder for the table (CSV), all figures (JSON) and a plot (PNG)")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of that analysis in OUT")
    parser.add_argument("--json", action="store_true", help="print JSON")
    of_correlations, of_shift, of_fields = (f"{name}: options" for name in ANALYSES)
    parser.add_argument(
        "--stage",
        heading=of_correlations,
        help="regular expression for the part of a layer's name that says its stage, such as 'layer(.)' (default:"
        " consecutive layers with equally many filters are a stage)",
    )
    parser.add_argument("--kernels", heading=of_shift, help="some of C2,C3,C4,C2sp,C4sp (default: all)")
    parser.add_argument("--depth", heading=of_shift, type=int, help="depth of the ResNet, 6n + 2 (default: 56)")
    parser.add_argument("--seeds", heading=of_shift, type=int, help="how many seeds, from 0 (default: 10)")
    parser.add_argument("--images", heading=of_shift, type=int, help="how many validation images (default: 16)")
    parser.add_argument("--data", heading=of_shift, help="name or path, see `sepnas list datasets` (default: digits)")
    parser.add_argument("--input", heading=of_fields, type=int, help="side of the input, pixels (default: 32)")
    parser.add_argument(
        "--width", heading=of_fields, type=float, help="channel multiplier of a baseline (default: 1.0)"
    )


def _run(options: Namespace) -> None:
    own = ANALYSES[options.what][1]
    for name in {option for _, options_of in ANALYSES.values() for option in options_of} - {*own}:
        if getattr(options, name) is not None:
            homes = [what for what, (_, options_of) in ANALYSES.items() if name in options_of]
            raise InvalidRequest(f"--{name}: goes with {homes[0]} only; leave it out")
    if options.overwrite and options.out is None:
        raise InvalidRequest("--overwrite: goes with --out only; leave it out")
    if (options.subject is None) != (options.what == "shift"):
        wrong = f"{options.subject!r}, but shift has none; leave it out"
        missing = f"missing; name what to analyse (`sepnas analyse --help` says what {options.what} takes)"
        raise InvalidRequest(f"subject: {missing if options.subject is None else wrong}")
    _RUNNERS[options.what](options)


def _correlations(options: Namespace) -> None:
    from experiments.analyses import correlations as analysis

    _check(options, analysis.NAME)
    found = analysis.correlations(analysis.read_tensors(options.subject), options.subject, options.stage)
    _finish(options, analysis, [one.as_row() for one in found], options.subject, found)


def _shift(options: Namespace) -> None:
    depth, seeds, images = (
        check_int(f"--{name}", default if getattr(options, name) is None else getattr(options, name), 1, most)
        for name, default, most in (("depth", 56, 2000), ("seeds", 10, 1000), ("images", 16, 10_000))
    )
    from experiments.analyses import shift as analysis

    named = analysis.KERNELS if options.kernels is None else [name.strip() for name in options.kernels.split(",")]
    kernels = [check_choice("--kernels", name, analysis.KERNELS) for name in dict.fromkeys(named)]
    _check(options, analysis.NAME)
    data = "digits" if options.data is None else options.data
    found = analysis.measure(analysis.load_images(data, images), data, kernels, range(seeds), depth)
    _finish(options, analysis, list(found.rows()), found)


def _receptive_field(options: Namespace) -> None:
    from experiments.analyses import receptive_field as analysis
    from experiments.commands.networks import named_network

    named = Namespace(network=options.subject, input=options.input, width=options.width, classes=None, channels=None)
    network = named_network(named)
    _check(options, analysis.NAME)
    found = analysis.receptive_fields(network)
    _finish(options, analysis, [one.as_row() for one in found], options.subject, found)


_RUNNERS: dict[str, Callable[[Namespace], None]] = {
    "correlations": _correlations,
    "shift": _shift,
    "receptive-field": _receptive_field,
}


def _check(options: Namespace, name: str) -> None:
    if options.out is not None:
        from experiments.analyses.folder import folder_of

        folder_of(name, Path(options.out)).check(overwrite=options.overwrite)


def _finish(options: Namespace, analysis: ModuleType, rows: list[dict[str, Any]], *found: Any) -> None:
    """Write what is asked for, and print: ``found`` is what the functions of ``analysis`` take."""
    facts = analysis.as_json(*found)
    if options.out is not None:
        from experiments.analyses.folder import write_analysis

        draw = partial(analysis.draw, *found)
        write_analysis(analysis.NAME, Path(options.out), rows, facts, draw, overwrite=options.overwrite)
    print(json.dumps(facts, indent=2) if options.json else analysis.as_text(*found))


COMMAND = Command(
    "look at networks",
    "why the papers' operators work: kernel correlations, shifts, receptive fields",
    _add_options,
    _run,
    details="Prints a table; with --out it also leaves CSV, JSON and a plot.",
    alone=True,
)
