"""What a training step must compute and move at least, layer by layer: an estimate for the roofline model.

The intensity, MACs a byte, says what limits a step: a device that does P MACs a second and moves B bytes a second is
limited by its memory where the intensity is below P / B, by its arithmetic where it is above. The estimate is of each
layer by itself, a call of a leaf module, with x its inputs, y its outputs, w its weights, and d the gradient of each:

=================  ================================  ====================================================
layer              forward pass                      backward pass
=================  ================================  ====================================================
convolution,       reads x and w, writes y           reads dy, x and w; writes dx and dw
linear, norm
activation         reads x, writes y                 reads dy and x (or y, of the same size); writes dx
pooling, padding   reads x, writes y                 reads dy, writes dx
identity           nothing                           nothing
=================  ================================  ====================================================

dx is not written where nobody asks for it: in the layer that sees the images. All of these are of the given element
size. SGD with momentum then reads weights, gradients and momentum, and writes weights and momentum: five times the
trainable parameters, of 4 bytes each in mixed precision too. MACs are those of convolutions and linear layers, three
times the forward pass: y, dx and dw take as many each.

What it leaves out makes a step slower than the estimate: norms read x twice in either direction, once for statistics;
sums and products between modules (residuals, the scaling of squeeze-and-excitation), the loss, casts between
precisions, changes of layout, workspaces of convolutions, and what is read again because it has left the cache; and all
arithmetic that is no MAC of a convolution or linear layer. The other way round, two things make a step need less: a
layer that finds its input in the cache, or that a compiler fuses with the one before, does not read it from memory, so
a compiled step can move fewer bytes than are counted here; and dx of the layer that sees the images is among the MACs,
though nobody computes it. Nor does the model know of launching kernels, which limits small networks on GPUs: then both
achieved figures are far below what the device can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from experiments.bench.clock import Row
from experiments.bench.precision import FAST, PLAIN, PrecisionSpeeds
from search_space.hand_designed import baseline
from search_space.layers import EvenPad
from search_space.network import build

BATCH = 128
#: Bytes of an element by precision.
SIZES = {"fp32": 4, "bf16": 2}
_FP32 = 4

#: They are linear and have no weights, so their gradient does not depend on what they saw.
_FORGETFUL = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, EvenPad)


@dataclass(frozen=True)
class StepWork:
    """One training step.

    Attributes:
        macs: multiply-accumulates.
        moved: elements that layers read and write.
        trained: parameters that the optimizer changes.
    """

    macs: int
    moved: int
    trained: int

    def bytes(self, element_size: int) -> int:
        """Bytes that are read and written if layers take ``element_size`` bytes for an element."""
        # the optimizer: weights, gradients and momentum are read, weights and momentum written
        return element_size * self.moved + 5 * _FP32 * self.trained


def step_work(network: nn.Module, images: Tensor) -> StepWork:
    """Count one training step on ``images`` in a forward pass with hooks on all leaf modules.

    The pass is one of training: norms that keep running statistics see the images.
    """
    macs = moved = 0

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal macs, moved
        if isinstance(layer, nn.Identity):
            return
        x = sum(one.numel() for one in inputs if isinstance(one, Tensor))
        dx = sum(one.numel() for one in inputs if isinstance(one, Tensor) and one.requires_grad)
        y, weights = output.numel(), sum(one.numel() for one in layer.parameters())
        macs += 3 * _forward_macs(layer, output)
        moved += x + weights + y
        moved += y + weights + (0 if isinstance(layer, _FORGETFUL) else x) + dx + weights

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    try:
        # with gradients, so that tensors know which of theirs will be asked for
        with torch.enable_grad():
            network.train()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return StepWork(macs, moved, sum(one.numel() for one in network.parameters() if one.requires_grad))


def roofline_rows(measured: list[PrecisionSpeeds]) -> list[Row]:
    """The estimate for MobileNetV3-Small at 32 x 32 and batch 128, and what the steps ``measured`` there achieved."""
    torch.manual_seed(0)
    network = build(baseline("mobilenetv3-small"))
    work = step_work(network, torch.randn(BATCH, 3, 32, 32))
    rows: list[Row] = [{"name": "retrain: roofline, MACs a step", "value": work.macs, "unit": "MACs"}]
    for precision, size in SIZES.items():
        rows.append({"name": f"retrain: roofline, bytes a step {precision}", "value": work.bytes(size), "unit": "B"})
    for precision, size in SIZES.items():
        intensity = work.macs / work.bytes(size)
        rows.append({"name": f"retrain: roofline, intensity {precision}", "value": intensity, "unit": "MACs/B"})
    for speeds in (one.speeds for one in measured if one.batch == BATCH):
        for name, images_a_second, size in (
            (PLAIN, speeds.theirs, SIZES["fp32"]),
            (FAST, speeds.ours, SIZES["bf16"]),
        ):
            steps = images_a_second / BATCH
            rows += [
                {"name": f"retrain: roofline, achieved by {name}", "value": steps * work.macs, "unit": "MACs/s"},
                {"name": f"retrain: roofline, moved by {name}", "value": steps * work.bytes(size), "unit": "B/s"},
            ]
    return rows


def _forward_macs(layer: nn.Module, output: Tensor) -> int:
    """Multiply-accumulates of convolutions and linear layers, by the convention of `search_space.layer_cost`."""
    if isinstance(layer, nn.Conv2d):
        return layer.weight.numel() * output.shape[0] * output.shape[2] * output.shape[3]
    if isinstance(layer, nn.Linear):
        return layer.in_features * output.numel()
    return 0
