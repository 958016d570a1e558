"""A user's own model as a value: any PyTorch network, named by the callable that makes it."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from search_space.base.calls import ERRORS, imported, said
from search_space.base.checks import refusal
from search_space.blueprint import Blueprint
from search_space.layer_cost import Cost

#: images of the pass that counts: more than one, so that a network must keep them apart
_IMAGES = 2


@dataclass(frozen=True)
class OwnModel(Blueprint):
    """A network that ``module:callable`` makes; `of` makes the value.

    Nothing is imported to read, count or compare it: only `build` does that.

    Attributes:
        call: ``module:callable``; the module is looked for in the working directory first.
        structure: hash of its layers, tensors and operations: a network of another structure is another value.
        macs: counted by torch's flop counter.
        params: trainable ones.
    """

    FORMAT: ClassVar[str] = "sepnas-own-model"

    call: str
    image_size: int
    in_channels: int
    classes: int
    structure: str
    macs: int
    params: int

    @classmethod
    def of(cls, call: str, *, image_size: int, in_channels: int, classes: int, where: str = "model") -> OwnModel:
        """The network that ``call`` makes, for these images.

        The callable is given those of the keyword arguments ``in_channels``, ``classes`` and ``image_size`` that it
        accepts.
        torch's random state stays as it is. InvalidRequest, for the field ``where``, if it fails, returns no module, or
        one that does not turn such images into a score for each class.
        """
        sizes = {"in_channels": in_channels, "classes": classes, "image_size": image_size}
        with torch.random.fork_rng(devices=[]):
            module, structure, macs = _made(call, sizes, where)
        params = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        if params == 0:
            raise refusal(where, call, "returns a network without trainable parameters")
        return cls(call=call, **sizes, structure=structure, macs=macs, params=params)

    def build(self) -> nn.Module:
        """InvalidRequest if the callable makes a network of another structure by now."""
        sizes = {"in_channels": self.in_channels, "classes": self.classes, "image_size": self.image_size}
        module, structure, _ = _made(self.call, sizes, "model")
        if structure != self.structure:
            raise refusal("model", self.call, "returns another network than it did at first")
        return module

    def cost(self) -> Cost:
        return Cost(self.macs, self.params)

    def __str__(self) -> str:
        size = f"{self.in_channels}x{self.image_size}x{self.image_size}"
        return f"{self.call} {size} {self.classes} structure {self.structure}"


def _made(call: str, sizes: dict[str, int], where: str) -> tuple[nn.Module, str, int]:
    """What ``call`` makes, the hash of its structure, and its MACs for one image."""
    with torch.inference_mode(False):  # in which operations are others
        module = make_module(call, sizes, where)
        return module, *_looked_at(module, call, sizes, where)


def make_module(call: str, sizes: Mapping[str, int], where: str) -> nn.Module:
    """What ``call`` makes, given those of ``sizes`` that it takes by keyword; errors as of `OwnModel.of`."""
    function = imported(call, where, "my_models:small_net")
    try:
        takes = inspect.signature(function).parameters
        any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
        by_name = [name for name, parameter in takes.items() if parameter.kind is not parameter.POSITIONAL_ONLY]
        made = function(**{name: value for name, value in sizes.items() if any_name or name in by_name})
    except ERRORS as error:
        raise refusal(where, call, f"fails ({said(error)})") from None
    if not isinstance(made, nn.Module):
        raise refusal(where, call, f"returns {type(made).__name__}, not a torch.nn.Module")
    return made


def _looked_at(module: nn.Module, call: str, sizes: dict[str, int], where: str) -> tuple[str, int]:
    """Hash of the structure of ``module``, and its MACs for one image; it stays as it is, but for lazy layers."""
    shape = (_IMAGES, sizes["in_channels"], sizes["image_size"], sizes["image_size"])
    operations = _Operations()
    was_training = module.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            module.eval()(torch.zeros(shape))  # lazy layers get their shapes before anything is counted
            with counter, operations:
                scores = module(torch.zeros(shape))
    except ERRORS as error:
        why = f"cannot take images of {'x'.join(map(str, shape[1:]))} ({said(error)})"
        raise refusal(where, call, why, "does it need another size or number of channels?") from None
    finally:
        module.train(was_training)
    if not isinstance(scores, Tensor) or scores.shape != (_IMAGES, sizes["classes"]):
        got = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
        why = f"gives outputs of {got} for {_IMAGES} images of {sizes['classes']} classes"
        raise refusal(where, call, why, "it must give one score for each class, as its keyword argument `classes` says")
    tensors = [(name, str(value.dtype), tuple(value.shape)) for name, value in module.state_dict().items()]
    # functions and the like are shown with where they lie in memory
    layers = re.sub(r" at 0x[0-9a-f]+", "", repr(module))
    facts = json.dumps([layers, tensors, operations.lines])
    return hashlib.sha256(facts.encode()).hexdigest()[:16], counter.get_total_flops() // 2 // _IMAGES


class _Operations(TorchDispatchMode):
    """Notes each operation on tensors: its name, the shapes it gets, and its other arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        shown = tree_map(lambda each: tuple(each.shape) if isinstance(each, Tensor) else each, (args, kwargs or {}))
        self.lines.append(f"{func} {shown}")
        return func(*args, **(kwargs or {}))
