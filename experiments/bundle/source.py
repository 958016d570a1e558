"""Writes a network as PyTorch source that needs torch alone: the layers it is made of, and the network itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from experiments.bundle import layers
from experiments.bundle.expressions import expression
from experiments.runs.provenance import package_version
from search_space.architecture import Architecture
from search_space.network import build
from search_space.network_cost import cost
from search_space.weights import DIGEST, WEIGHTS_FILE, digest_of

_LAYERS = Path(layers.__file__)

_NETWORK = '''
class Network(nn.Module):
    """{channels}x{size}x{size} images, normalised as preprocessing.json says, to logits (batch, {classes}).

    With ``features_only`` it has no head and gives the list of maps of `forward_features`, for images of any size.
    """

    #: of each map: its channels, how many pixels of the image one of it stands for, and the module that makes it
    feature_info = {info}

    def __init__(self, features_only: bool = False) -> None:
        super().__init__()
{stem}
        self.blocks = nn.Sequential(
{blocks}
        )
        self.head = None
        if not features_only:
{head}

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """The last map of each size, the largest first, as `feature_info` describes them."""
        x = self.stem(x)
        maps = {first}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in {ends}:
                maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        return self.forward_features(x) if self.head is None else self.head(self.blocks(self.stem(x)))


def load(weights: str | Path | None = None, *, features_only: bool = False, fold: bool = False) -> Network:
    """The network with its weights, of the file beside this one unless given, in evaluation mode; needs safetensors.

    ``fold`` merges the batch norms into the convolutions. ValueError if the weights are not what their checksum says;
    those of others have none.
    """
    from safetensors import safe_open

    path = weights or Path(__file__).with_name("{weights}")
    with safe_open(path, "pt") as file:
        tensors = {{name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118 - a file is no dict
        digest = (file.metadata() or {{}}).get("{digest}")
    if digest is not None and digest != digest_of(tensors):
        raise ValueError(f"{{path}} is damaged: its values are not those that were written; copy it anew")
    if features_only:
        tensors = {{name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}}
    network = Network(features_only).eval()
    network.load_state_dict(tensors)
    return fold_batch_norms(network) if fold else network


{digest_of}'''


@dataclass(frozen=True)
class Feature:
    """A map that serves a detector or a segmenter: the last one of its size.

    Attributes:
        channels: of the map.
        reduction: pixels of the image, along a side, that one of the map stands for.
        block: index of the block that makes it; -1 for the stem.
    """

    channels: int
    reduction: int
    block: int


def features(architecture: Architecture) -> list[Feature]:
    """The maps in front of each down-sampling and the last one, the largest first."""
    reduction = architecture.stem.stride
    made = [Feature(architecture.stem.channels, reduction, -1)]
    for index, block in enumerate(architecture.blocks):
        reduction *= block.stride
        made.append(Feature(block.out_channels, reduction, index))
    return [one for one, after in pairwise(made) if after.reduction != one.reduction] + made[-1:]


def source(architecture: Architecture) -> str:
    """The text of ``model.py``: Python that imports nothing but torch, and safetensors where weights are loaded.

    Its ``Network`` has the state dict of `search_space.network.build`. InvalidRequest for an operator whose module is
    made of classes unknown here.
    """
    with torch.device("meta"):  # its shape is enough
        network = build(architecture)
    maps = features(architecture)
    first = "[x]" if maps[0].block < 0 else "[]"
    text = _NETWORK.format(
        channels=architecture.in_channels,
        size=architecture.image_size,
        classes=architecture.classes,
        info=_info(maps),
        stem="\n".join(expression(network.stem).lines(8, "self.stem = ")),
        blocks="\n".join(_blocks(architecture, network.blocks)),
        head="\n".join(expression(network.head).lines(12, "self.head = ")),
        first=first,
        ends="{" + ", ".join(str(one.block) for one in maps if one.block >= 0) + "}",
        weights=WEIGHTS_FILE,
        digest=DIGEST,
        digest_of=inspect.getsource(digest_of),
    )
    copied = _definitions(text)
    return f"{_heading(architecture)}\n{_imports(copied)}\n\n{copied}\n{text}"


def _heading(architecture: Architecture) -> str:
    costs, size = cost(architecture), architecture.image_size
    counted = f"{costs.macs:,} multiply-accumulates, {costs.params:,} parameters"
    return f'''"""{architecture.macro}: {counted}. Needs torch alone.

    network = load()  # of {WEIGHTS_FILE} in this folder, which needs safetensors
    logits = network(images)  # float32 (batch, {architecture.in_channels}, {size}, {size}), see preprocessing.json
    maps = load(features_only=True)(images)  # a backbone; `Network.feature_info` describes the maps

Written by sepnas {package_version("sepnas") or ""}.
"""

from __future__ import annotations'''


def _info(maps: list[Feature]) -> str:
    """A tuple of dicts with the keys that timm gives its features."""
    lines = []
    for one in maps:
        module = "stem" if one.block < 0 else f"blocks.{one.block}"
        lines.append(f'{{"num_chs": {one.channels}, "reduction": {one.reduction}, "module": "{module}"}},')
    if len(lines) == 1:
        return f"({lines[0]})"
    return "\n        ".join(["(", *lines]) + "\n    )"


def _blocks(architecture: Architecture, blocks: Iterable[nn.Module]) -> Iterable[str]:
    for index, ((block, size), module) in enumerate(zip(architecture.sized_blocks(), blocks, strict=True)):
        yield f"            # {index}: {block}, on a map of {size}x{size}"
        yield from expression(module).lines(12, after=",")


def _definitions(text: str) -> str:
    """What of the layers ``text`` names, in their order, with what those name in turn."""
    template = _LAYERS.read_text(encoding="utf-8")
    known = {node.name: node for node in ast.parse(template).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    wanted, found = [text], set[str]()
    while wanted:
        names = {node.id for node in ast.walk(ast.parse(wanted.pop())) if isinstance(node, ast.Name)}
        for name in names & known.keys() - found:
            found.add(name)
            wanted.append(ast.get_source_segment(template, known[name]) or "")
    return (
        "\n\n\n".join(ast.get_source_segment(template, node) or "" for name, node in known.items() if name in found)
        + "\n"
    )


def _imports(copied: str) -> str:
    """The import statements that the copied layers and the network need."""
    standard = ["import hashlib", *(["from collections import OrderedDict"] if "OrderedDict" in copied else [])]
    standard.append("from pathlib import Path")
    others = ["import torch", "from torch import Tensor, nn"]
    if "F." in copied:
        others.append("from torch.nn import functional as F")
    return "\n".join(["", *standard, "", *others, ""])
