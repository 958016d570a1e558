"""A network run once on an empty image: whether it works, what it costs, and in which order its layers are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_space.base.calls import ERRORS, said
from search_space.base.checks import refusal, require

M = TypeVar("M", bound=nn.Module)


def batch_of(model: nn.Module, inputs: Sequence[int] | Tensor) -> Tensor:
    """What ``model`` is run on: ``inputs`` itself, or one image of zeros of that shape (channels, height, width)."""
    if isinstance(inputs, Tensor):
        return inputs
    shape = list(inputs)
    good = len(shape) == 3 and all(type(size) is int and size > 0 for size in shape)
    require(good, "inputs", inputs, "must be (channels, height, width) of one image, or a tensor")
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device)


def run_once(model: nn.Module, batch: Tensor, watched: Sequence[M]) -> tuple[int, list[M]]:
    """MACs of one image of ``batch``, and those of ``watched`` that are called, in the order of their first calls.

    The model is run in evaluation mode and left in the modes in which it was. torch's random state stays as it is.
    InvalidRequest if it fails.
    """
    called: dict[M, None] = {}

    def note(module: M) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            called.setdefault(module)

        return hook

    hooks = [module.register_forward_pre_hook(note(module)) for module in watched]
    counter = FlopCounterMode(display=False)
    try:
        with evaluating(model), torch.random.fork_rng(devices=[]), torch.no_grad(), counter:
            model(batch)
    except ERRORS as error:
        why = f"cannot take inputs of {'x'.join(map(str, batch.shape[1:]))} ({said(error)})"
        raise refusal("model", type(model).__name__, why) from None
    finally:
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops() // 2 // len(batch), list(called)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put ``model`` in evaluation mode; afterwards each of its modules is in the mode in which it was."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in training:
            module.training = mode
