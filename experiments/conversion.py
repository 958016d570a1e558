"""``sepnas convert``: a network of the user's own with other convolutions, its report and its weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import nn

from experiments.runs.claimed_folder import ClaimedFolder, FolderKind
from experiments.runs.files import write_json, write_text
from experiments.tables import table
from search_space.base.checks import nearest, refusal
from search_space.conversion.convert import Init, convert
from search_space.conversion.report import Changed, Conversion, Skipped
from search_space.own_model import make_module
from search_space.weights import WEIGHTS_FILE, save_weights
from strategies.budget.budget import format_count

REPORT = "conversion.json"
TEXT = "conversion.txt"
CONVERSION = FolderKind("a conversion", (REPORT, TEXT, WEIGHTS_FILE))
#: names that a row of the text gives of a group of layers
_SHOWN = 4


def convert_call(
    call: str,
    to: str,
    sizes: Mapping[str, int],
    *,
    only: Sequence[str] = (),
    leave: Sequence[str] = (),
    init: Init = "fresh",
    between: str = "none",
    seed: int = 0,
) -> Conversion:
    """The network that ``call`` makes (`search_space.own_model.make_module`), converted.

    ``sizes`` has ``image_size``, ``in_channels`` and ``classes``. Patterns as of shells choose among the names of its
    convolutions: ``only`` those of some, and none that ``leave`` has. ``seed`` decides all weights that are drawn.
    InvalidRequest as of `search_space.convert`, for a pattern that no convolution matches, and if none can be replaced.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_module(call, sizes, "network")
        names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
        for field, patterns in (("--only", only), ("--leave", leave)):
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise refusal(field, pattern, "matches no convolution", nearest(pattern, names))

        def chosen(name: str, layer: nn.Conv2d) -> bool:
            wanted = not only or any(fnmatchcase(name, pattern) for pattern in only)
            return wanted and not any(fnmatchcase(name, pattern) for pattern in leave)

        shape = (sizes["in_channels"], sizes["image_size"], sizes["image_size"])
        converted = convert(model, to, chosen, init=init, between=between, inputs=shape)
        if not converted.changed:
            first = "".join(f": {row.names[0]} {row.why}" for row in converted.skipped[:1])
            raise refusal("network", call, f"has no layer that {to} can replace{first}")
        return converted


def write_conversion(converted: Conversion, call: str, sizes: Mapping[str, int], out: Path, *, overwrite: bool) -> None:
    """Write weights, text and, last, ``conversion.json`` to the folder ``out``."""
    ClaimedFolder(out, CONVERSION).claim(overwrite=overwrite)
    save_weights(converted.model, out / WEIGHTS_FILE)
    write_text(out / TEXT, conversion_text(converted, call) + "\n")
    write_json(out / REPORT, {"network": call, **sizes, **converted.as_dict()})


def conversion_text(converted: Conversion, call: str) -> str:
    """What was changed and what was not, layers alike in one row; costs before and after."""
    c = converted
    lines = [f"{call}: {_count(c.changed)} converted to {c.to}, {_count(c.skipped)} left as they are", ""]
    lines.append(_changed_table(c.changed))
    if c.skipped:
        groups: dict[str, list[str]] = defaultdict(list)
        for row in c.skipped:
            groups[row.why].append(row.names[0])
        left = [(len(names), why, _some(names)) for why, names in groups.items()]
        lines += ["", table(left, ("layers", "left, as each", "names"), right=(0,))]
    costs = [("params", c.params_before, c.params_after)]
    if c.macs_before is not None and c.macs_after is not None:
        costs.insert(0, ("MACs", c.macs_before, c.macs_after))
    rows = [(name, format_count(old), format_count(new), f"{new / max(old, 1):.1%}") for name, old, new in costs]
    return "\n".join([*lines, "", table(rows, ("", "before", "after", "share"), right=(1, 2, 3))])


def _changed_table(changed: Sequence[Changed]) -> str:
    groups: dict[tuple[str, int, int], list[Changed]] = defaultdict(list)
    for row in changed:
        groups[row.was, row.params_before, row.params_after].append(row)
    header = ["layers", "convolution", "params", "now"]
    with_errors = any(row.error is not None for row in changed)
    rows = []
    for (was, before, after), alike in groups.items():
        cells = [str(len(alike)), was, format_count(before), format_count(after)]
        if with_errors:
            errors = [each.error for each in alike if each.error is not None]
            cells.append(f"{min(errors):.3f} to {max(errors):.3f}" if len(errors) > 1 else f"{errors[0]:.3f}")
        rows.append([*cells, _some([each.names[0] for each in alike])])
    if with_errors:
        header.append("error of the kernels")
    return table(rows, [*header, "names"], right=(0, 2, 3))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _count(rows: Sequence[Changed] | Sequence[Skipped]) -> str:
    return f"{len(rows)} convolution{'' if len(rows) == 1 else 's'}"
