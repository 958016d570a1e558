"""Weights of a network on disk: safetensors beside the architecture, nothing to unpickle."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
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
#: the tensors of a network whose shapes depend on the number of classes
CLASSIFIER = ("head.classifier.weight", "head.classifier.bias")
#: the entry of a file's metadata with the `digest_of` its tensors; the only one, as safetensors keeps no order of them
DIGEST = "sha256"


def _names_of_tensors(module: nn.Module) -> list[tuple[torch.Tensor, list[str]]]:
    """Every tensor of the state dict once, with all the names it goes by (candidates of a supernet share some)."""
    groups: dict[int, tuple[torch.Tensor, list[str]]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), (tensor, []))[1].append(name)
    return list(groups.values())


def save_weights(module: nn.Module, path: Path | str) -> None:
    """Write parameters and buffers to ``path``, whole or not at all; a shared tensor is written once."""
    # safetensors' own save_model and load_model stumble over batch norms that are shared
    save_tensors({names[0]: tensor for tensor, names in _names_of_tensors(module)}, path)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path | str) -> None:
    """Write ``tensors`` to ``path``, whole or not at all, with a checksum."""
    with replacing(Path(path)) as temporary:
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(own, str(temporary), {DIGEST: digest_of(own)})


def digest_of(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the names, types, shapes and values of contiguous ``tensors`` on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights(module: nn.Module, path: Path | str, *, optional: Collection[str] = ()) -> None:
    """Fill ``module`` from ``path``; tensors that are ``optional`` stay as they are where the file lacks them.

    InvalidRequest if the file is missing, damaged or of another architecture.
    """
    module.load_state_dict(fitted(module, read_weights(path), path, optional), strict=not optional)


def read_weights(path: Path | str) -> dict[str, torch.Tensor]:
    """The tensors in ``path`` by name; InvalidRequest if it is missing, damaged or not what its checksum says.

    Files of others have none.
    """
    if not Path(path).is_file():
        raise InvalidRequest(f"weights: {plain(path)} {'is not a file' if Path(path).exists() else 'does not exist'}")
    try:
        with safetensors.safe_open(path, "pt") as content:
            names = content.keys()
            tensors = {name: content.get_tensor(name) for name in names}
            digest = (content.metadata() or {}).get(DIGEST)
    except safetensors.SafetensorError as error:
        raise InvalidRequest(
            f"weights: {plain(path)} is damaged or not a safetensors file ({plain(error, 80)})"
        ) from None
    if digest is not None and digest != digest_of(tensors):
        raise InvalidRequest(
            f"weights: {plain(path)} is damaged: its values are not those that were written; create or copy it again"
        )
    return tensors


def fitted(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path | str, optional: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """The state of ``module`` that ``tensors`` from ``path`` make, without those ``optional`` ones that are missing.

    InvalidRequest names the first tensor that is missing, unknown or of another shape.
    """
    rest, state = dict(tensors), {}
    for own, names in _names_of_tensors(module):
        tensor = rest.pop(names[0], None)
        if tensor is None and names[0] in optional:
            continue
        if tensor is None or tensor.shape != own.shape:
            fault = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}, not {tuple(own.shape)}"
            raise InvalidRequest(f"weights: {plain(path)} is of another architecture: {names[0]} is {fault}")
        state.update(dict.fromkeys(names, tensor))
    if rest:
        raise InvalidRequest(
            f"weights: {plain(path)} is of another architecture: {plain(min(rest), 60)} is unknown to this one"
        )
    return state


def load_network(folder: Path | str) -> Network:
    """The network that ``sepnas export`` wrote to ``folder``, in evaluation mode."""
    network = build(load_architecture(Path(folder) / ARCHITECTURE_FILE))
    load_weights(network, Path(folder) / WEIGHTS_FILE)
    return network.eval()
