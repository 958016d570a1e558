"""The forms that a network is exported in. Imports nothing heavy: the command line offers them."""

from __future__ import annotations

from typing import Literal, get_args

#: forms of the network beside architecture.json and weights.safetensors: each computes the same
Format = Literal["source", "pt2", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: those that need no package of the extra [onnx]
DEFAULT_FORMATS: tuple[Format, ...] = ("source", "pt2")

#: what classifies pictures: the weights in PyTorch, or an ONNX model in ONNX Runtime
Runtime = Literal["torch", "onnx", "int8"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
