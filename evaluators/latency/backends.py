"""What runs a network for timing: PyTorch or ONNX Runtime on the CPU, or PyTorch on a GPU."""

from __future__ import annotations

import logging
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from evaluators.latency.names import BACKENDS, CUDA, ONNX_CPU, PYTORCH_CPU
from search_space.base.atomic import replacing
from search_space.base.checks import check_choice, check_int
from search_space.base.errors import InvalidRequest

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

#: Takes a number of calls and returns the milliseconds of each of about that many (see `timed`).
Timer = Callable[[int], list[float]]

#: Largest difference to PyTorch's outputs, in units of the largest of them, that counts as rounding.
_TOLERANCE = 1e-3
#: Calls made at most, as a multiple of the calls asked for.
_TRIES = 4


class Backend(ABC):
    """Turns a module into something that can be timed, inside a ``with backend.active()`` block.

    Attributes:
        threads: CPU threads.
        version: of the software, and the device if that is not the CPU.
    """

    name: ClassVar[str]
    version: str

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    @abstractmethod
    def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
        """A timer of forward passes of ``module`` on ``images`` (batch, channels, height, width).

        The module is set to evaluation mode. An exported model is read from the file ``kept`` if it is there, and
        written there if not.
        """

    @contextmanager
    def active(self) -> Iterator[None]:
        """Set the number of threads of PyTorch's CPU operations, and set it back at the end."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)


class PyTorchCPU(Backend):
    """Eager PyTorch, channels last."""

    name = PYTORCH_CPU
    version = f"torch {torch.__version__}"
    device = "cpu"

    def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
        network = module.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        images = images.to(self.device, memory_format=torch.channels_last)

        def call() -> None:
            network(images)
            if self.device == "cuda":
                torch.cuda.synchronize()

        return lambda calls: timed(call, calls)


class Cuda(PyTorchCPU):
    """Eager PyTorch on the current GPU, channels last; a call lasts until the GPU has finished.

    At small batches the time is that of launching kernels from the CPU, as it is in use.
    """

    name = CUDA
    device = "cuda"

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        if not torch.cuda.is_available():
            raise InvalidRequest("backend: cuda, but torch sees no GPU here; use pytorch-cpu or onnx-cpu")
        self.version = f"{PyTorchCPU.version}, {torch.cuda.get_device_name()}"


class OnnxCPU(Backend):
    """ONNX Runtime with all its graph optimisations. Inputs and outputs stay where they are: nothing is copied."""

    name = ONNX_CPU

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
            raise InvalidRequest(
                f"backend: onnx-cpu needs {', '.join(missing)}; pip install 'sepnas[onnx]', or use pytorch-cpu"
            )
        import onnxruntime

        self.version = f"onnxruntime {onnxruntime.__version__}"

    def prepare(self, module: nn.Module, images: Tensor, kept: Path | None = None) -> Timer:
        from onnxruntime import GraphOptimizationLevel, InferenceSession, OrtValue, SessionOptions

        model = kept.read_bytes() if kept is not None and kept.exists() else to_onnx(module.eval(), images)
        options = SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_ortvalue_input(session.get_inputs()[0].name, OrtValue.ortvalue_from_numpy(images.numpy()))
        output = OrtValue.ortvalue_from_numpy(np.empty(session.get_outputs()[0].shape, np.float32))
        binding.bind_ortvalue_output(session.get_outputs()[0].name, output)
        session.run_with_iobinding(binding)
        check_outputs(module(images), torch.from_numpy(output.numpy()))
        if kept is not None and not kept.exists():
            with replacing(kept) as temporary:
                temporary.write_bytes(model)
        return lambda calls: timed(lambda: session.run_with_iobinding(binding), calls)


_BACKENDS: dict[str, type[Backend]] = {cls.name: cls for cls in (PyTorchCPU, OnnxCPU, Cuda)}


def make_backend(name: str, threads: int = 1) -> Backend:
    """The backend called ``name`` on ``threads`` CPU threads; InvalidRequest if it is unknown or cannot run here."""
    check_choice("backend", name, BACKENDS)
    return _BACKENDS[name](check_int("threads", threads, 1))


def timed(call: Callable[[], Any], calls: int) -> list[float]:
    """Milliseconds of ``calls`` calls that nothing interrupted.

    If the operating system gives the CPU to another process during a call, its time says little about the network, and
    long calls are hit most. Such calls do not count and are made again, up to `_TRIES` times as many calls in all.
    If less than a quarter of what was asked for is undisturbed, all calls count.
    """
    undisturbed: list[float] = []
    every: list[float] = []
    while len(undisturbed) < calls and len(every) < _TRIES * calls:
        interruptions = _interruptions()
        start = time.perf_counter_ns()
        call()
        every.append((time.perf_counter_ns() - start) / 1e6)
        if _interruptions() == interruptions:
            undisturbed.append(every[-1])
    return undisturbed if 4 * len(undisturbed) >= calls else every


def _interruptions() -> int:
    """How often the operating system has taken the CPU from this process; 0 where it does not say."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def to_onnx(module: nn.Module | ExportedProgram, images: Tensor, **options: Any) -> bytes:
    """``module`` in evaluation mode as an ONNX model for inputs of the shape of ``images``, or a program for those that
    it was exported for; ``options`` are those of ``torch.onnx.export``."""
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # it warns that torchvision, which we do not need, is missing
    # tensors of inference mode cannot be traced
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter uses names that torch itself has renamed
        program = torch.onnx.export(module, (images.clone(),), dynamo=True, verbose=False, **options)
    assert program is not None
    return program.model_proto.SerializeToString()


def check_outputs(expected: Tensor, exported: Tensor) -> None:
    """RuntimeError if the outputs of an exported network are not those of the network."""
    difference = float((expected - exported).abs().max())
    scale = float(expected.abs().max())
    if not difference <= _TOLERANCE * scale:
        raise RuntimeError(
            f"ONNX Runtime's outputs differ from PyTorch's by up to {difference:.3g} (largest output {scale:.3g});"
            " please report this with the architecture"
        )
