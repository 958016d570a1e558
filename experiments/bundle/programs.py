"""A network as programs that run without its source: of PyTorch (``.pt2``) and of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from evaluators.latency.backends import to_onnx
from search_space.base.checks import plain
from search_space.base.errors import InvalidRequest

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: The newest operator set that torch's exporter reaches by its own converter; it begins at an older one.
OPSET = 25
INPUT, OUTPUT, BATCH = "images", "logits", "batch"


def to_program(network: nn.Module, image_shape: tuple[int, int, int]) -> ExportedProgram:
    """``network`` in evaluation mode as a graph of PyTorch's operators, for batches of any size of such images."""
    example = torch.zeros(2, *image_shape)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim(BATCH)},))
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)  # which names files of this machine
    return program


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write the ``.pt2`` file, which ``torch.export.load`` reads."""
    torch.export.save(program, path)


def read_program(path: Path) -> nn.Module:
    """The program in a ``.pt2`` file that was written just now: reading one runs what its writer wants."""
    return torch.export.load(path).module()


def check_packages(needs: str, names: Sequence[str] = ("onnx", "onnxscript", "onnxruntime")) -> None:
    """InvalidRequest, beginning with what ``needs`` them, unless these packages of the extra [onnx] are there."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise InvalidRequest(f"{needs} needs {', '.join(missing)}; pip install 'sepnas[onnx]', or leave it out")


def write_onnx(program: ExportedProgram, image_shape: tuple[int, int, int], path: Path) -> None:
    """Write the ONNX model of ``program`` for batches of any size, checked by ``onnx.checker``."""
    import onnx

    names = {"input_names": [INPUT], "output_names": [OUTPUT]}
    text = to_onnx(program, torch.zeros(2, *image_shape), opset_version=OPSET, **names)
    model = onnx.load_model_from_string(text)
    # the exporter numbers the symbol of the batch
    symbol = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == symbol:
                dimension.dim_param = BATCH
    for node in model.graph.node:
        del node.metadata_props[:]  # traces of the exporter's code, larger than the weights of a small network
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


class OnnxNetwork:
    """An ONNX model in ONNX Runtime on the CPU: images, float32 (batch, channels, size, size), to logits.

    InvalidRequest for a file that is no such model, or not one for images of ``image_shape`` and ``classes`` classes.
    """

    def __init__(self, path: Path, image_shape: tuple[int, int, int], classes: int) -> None:
        self.path = path
        self._session = _session(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shapes = [list(value.shape[1:]) for value in (*inputs, *outputs)]
        if shapes != [list(image_shape), [classes]] or inputs[0].type != "tensor(float)":
            raise InvalidRequest(f"bundle: {plain(path)} is not of this network; export it again")
        self._input = inputs[0].name

    def __call__(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._run(images.numpy()))

    def _run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            logits: NDArray[np.float32] = self._session.run(None, {self._input: images})[0]
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise InvalidRequest(f"bundle: {plain(self.path)} cannot be run ({plain(error, 80)})") from None
        return logits


def _session(path: Path) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise InvalidRequest(f"bundle: {plain(path)} cannot be loaded ({plain(error, 80)}); export it again") from None
