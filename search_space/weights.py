"""Weights of a network on disk: safetensors beside the architecture, nothing to unpickle."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from search_space.base.atomic import replacing
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest
from search_space.network import Network, build
from search_space.serialization import load_architecture

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.safetensors"


def _names_of_tensors(module: nn.Module) -> list[tuple[torch.Tensor, list[str]]]:
    """Every tensor of the state dict once, with all the names it goes by (candidates of a supernet share some)."""
    groups: dict[int, tuple[torch.Tensor, list[str]]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), (tensor, []))[1].append(name)
    return list(groups.values())


def save_weights(module: nn.Module, path: Path | str) -> None:
    """Write parameters and buffers to ``path``, whole or not at all; a shared tensor is written once."""
    path = Path(path)
    # safetensors' own save_model and load_model stumble over batch norms that are shared
    tensors = {names[0]: tensor.detach().cpu().contiguous() for tensor, names in _names_of_tensors(module)}
    with replacing(path) as temporary:
        safetensors.torch.save_file(tensors, str(temporary))


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Fill ``module`` from ``path``; InvalidRequest if the file is missing, damaged or of another architecture."""
    if not Path(path).is_file():
        raise InvalidRequest(f"weights: {plain(path)} {'is not a file' if Path(path).exists() else 'does not exist'}")
    try:
        tensors = safetensors.torch.load_file(str(path))
    except safetensors.SafetensorError as error:
        raise InvalidRequest(
            f"weights: {plain(path)} is damaged or not a safetensors file ({plain(error, 80)})"
        ) from None
    state = {}
    for own, names in _names_of_tensors(module):
        tensor = tensors.pop(names[0], None)
        if tensor is None or tensor.shape != own.shape:
            fault = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}, not {tuple(own.shape)}"
            raise InvalidRequest(f"weights: {plain(path)} is of another architecture: {names[0]} is {fault}")
        state.update(dict.fromkeys(names, tensor))
    if tensors:
        raise InvalidRequest(
            f"weights: {plain(path)} is of another architecture: {plain(min(tensors), 60)} is unknown to this one"
        )
    module.load_state_dict(state)


def load_network(folder: Path | str) -> Network:
    """The network that ``sepnas export`` wrote to ``folder``, in evaluation mode."""
    network = build(load_architecture(Path(folder) / ARCHITECTURE_FILE))
    load_weights(network, Path(folder) / WEIGHTS_FILE)
    return network.eval()
