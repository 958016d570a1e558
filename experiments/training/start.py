"""Weights that a training starts from in place of fresh ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: what they are called in the folder of the trainings, so that it needs no other to go on
START_FILE = "start.safetensors"


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Attributes:
        tensors: by name; the classifier's are missing where it is replaced.
        said: where they come from, and whether the classifier is replaced, in a line.
    """

    tensors: Mapping[str, Tensor]
    said: str

    @cached_property
    def digest(self) -> str:
        """By which results are told apart: of names, types, shapes and values."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]
