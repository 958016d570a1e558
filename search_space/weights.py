"""Weights of a network on disk: safetensors beside the architecture, nothing to unpickle."""

from __future__ import annotations

import os
from pathlib import Path

import safetensors.torch
from torch import nn

from search_space.errors import InvalidRequest
from search_space.network import Network, build
from search_space.serialization import load_architecture

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.safetensors"


def save_weights(module: nn.Module, path: Path | str) -> None:
    """Write parameters and buffers to ``path``, whole or not at all; tensors that are shared are written once."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        safetensors.torch.save_model(module, str(temporary))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Fill ``module`` from ``path``; InvalidRequest if the file is missing, damaged or of another architecture."""
    if not Path(path).is_file():
        raise InvalidRequest(f"weights: {path} does not exist")
    try:
        safetensors.torch.load_model(module, str(path), strict=True)
    except (RuntimeError, safetensors.SafetensorError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise InvalidRequest(f"weights: {path} does not fit this architecture or is damaged ({first_line})") from None


def load_network(folder: Path | str) -> Network:
    """The network that ``sepnas export`` wrote to ``folder``, in evaluation mode."""
    network = build(load_architecture(Path(folder) / ARCHITECTURE_FILE))
    load_weights(network, Path(folder) / WEIGHTS_FILE)
    return network.eval()
