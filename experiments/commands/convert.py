"""The command ``sepnas convert``."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.options.parsing import Command, Namespace, Parser
from search_space.base.checks import check_int, check_seed
from search_space.base.errors import InvalidRequest


def _add_options(parser: Parser) -> None:
    parser.add_argument("network", help="module:callable that returns any torch network, such as my_models:net")
    parser.add_argument(
        "--to",
        required=True,
        help="bsconv_u, bsconv_s, sep (replace dense convolutions), xsep, xsep_sp, xsep_no2x2, xsep_b (depthwise ones),"
        " c2sp, c4sp, c2, c4 (both); bsconv_s_p4_min4: a quarter of the channels in the subspace, not a sixth, and at"
        " least 4",
    )
    parser.add_argument(
        "--init",
        choices=["fresh", "from-weights"],
        default="fresh",
        help="fresh: new weights; from-weights: those nearest to the old kernels, to fine-tune (default: %(default)s)",
    )
    parser.add_argument(
        "--between", default="none", help="batch norm and this activation between the layers of an xsep (default: none)"
    )
    parser.add_argument(
        "--only", help="convolutions to convert, as shell patterns of their names, such as 'layer[34].*,stem'"
    )
    parser.add_argument("--leave", help="convolutions to leave as they are, likewise")
    parser.add_argument("--input", type=int, default=32, help="side of the square input, pixels (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=10, help="number of classes (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=3, help="input channels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the new weights (default: %(default)s)")
    parser.add_argument("--out", help="folder for the report (JSON and text) and the weights (safetensors)")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of a conversion in OUT")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: Namespace) -> None:
    for name in ("input", "classes", "channels"):
        check_int(f"--{name}", getattr(options, name), 1, 10**6)
    check_seed("--seed", options.seed)
    if options.overwrite and options.out is None:
        raise InvalidRequest("--overwrite: goes with --out only; leave it out")
    from experiments.conversion import CONVERSION, conversion_text, convert_call, write_conversion
    from experiments.runs.claimed_folder import ClaimedFolder

    if options.out is not None:
        ClaimedFolder(Path(options.out), CONVERSION).check(overwrite=options.overwrite)
    sizes = {"image_size": options.input, "in_channels": options.channels, "classes": options.classes}
    only, leave = _patterns("--only", options.only), _patterns("--leave", options.leave)
    chosen = {name: getattr(options, name) for name in ("init", "between", "seed")}
    converted = convert_call(options.network, options.to, sizes, only=only, leave=leave, **chosen)
    if options.out is not None:
        write_conversion(converted, options.network, sizes, Path(options.out), overwrite=options.overwrite)
    print(json.dumps(converted.as_dict(), indent=2) if options.json else conversion_text(converted, options.network))


def _patterns(option: str, text: str | None) -> list[str]:
    patterns = [] if text is None else [part.strip() for part in text.split(",")]
    if "" in patterns:
        raise InvalidRequest(f"{option}: {text!r} has an empty pattern; separate patterns by single commas")
    return patterns


COMMAND = Command(
    "look at networks",
    "replace the convolutions of a network of your own by separable ones",
    _add_options,
    _run,
    details="The network is run once before and once after. A line is printed for each kind of layer that was replaced,"
    " and for each reason for which others were not. In Python, `search_space.convert` does the same; a callable of"
    " yours that returns `convert(...).model` is trained and compared like any network (`sepnas compare --baselines`).",
    alone=True,
)
