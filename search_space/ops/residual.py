"""The two convolutions of a residual block as one operator, so that ResNets and Wide ResNets can be searched."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import nn

from search_space.layer_cost import Cost
from search_space.layered.joined import Series, residual
from search_space.layered.layer import Layer, Map
from search_space.layered.residual import keeps_shape, pair, preactivated, preactivated_pair, shortcut
from search_space.layered.simple import Act, Norm
from search_space.padding import Direction
from search_space.registry import Operator, Slot, operators

#: forms of the two convolutions (`search_space.layered.forms`)
FORMS = ("k3", "bsconv_u_k3", "bsconv_s_p4_k3", "sep_k3", "c2sp")


class Pair(Operator):
    """Two convolutions with `Slot.inner_channels` channels between them. Where the shape changes, the shortcut belongs
    to the operator; where it is kept, it is the block's residual."""

    scope = "block"
    has_inner = True

    @abstractmethod
    def layers(self, slot: Slot) -> tuple[Layer, ...]:
        """What it is made of."""

    def cost(self, slot: Slot) -> Cost:
        return Series(self.layers(slot)).cost(Map(slot.in_channels, slot.height, slot.width))

    def module(self, slot: Slot, directions: tuple[Direction, ...]) -> nn.Module:
        return Series(self.layers(slot)).module(Map(slot.in_channels, slot.height, slot.width))


@operators.register("res_{form}", form=FORMS)
@dataclass(frozen=True)
class PostActivation(Pair):
    """A ResNet's block: convolution, batch norm, activation, convolution, batch norm; the activation behind the sum."""

    source = "BSConv, section 5.1; even-sized kernels (Wu et al.), section 4.1"
    summary = "two convolutions with BN and act; 1x1 shortcut where the shape changes, act after the residual"
    activation_after_residual = True

    form: str

    def layers(self, slot: Slot) -> tuple[Layer, ...]:
        shape = slot.in_channels, slot.out_channels, slot.stride
        own = pair(self.form, slot.inner_channels or slot.out_channels, *shape[1:], slot.activation)
        return own if keeps_shape(*shape) else (residual(*own, shortcut=shortcut(*shape)),)


@operators.register("preres_{form}", form=FORMS)
@dataclass(frozen=True)
class PreActivation(Pair):
    """A Wide ResNet's block: batch norm and activation in front of each convolution."""

    source = "BSConv, section 5.1 (Wide ResNets)"
    summary = "BN and act in front of each of two convolutions; 1x1 shortcut where the shape changes"

    form: str

    def layers(self, slot: Slot) -> tuple[Layer, ...]:
        inner, out, act = slot.inner_channels or slot.out_channels, slot.out_channels, slot.activation
        if keeps_shape(slot.in_channels, out, slot.stride):
            return (Norm(), Act(act), *preactivated_pair(self.form, inner, out, slot.stride, act))
        return (preactivated(slot.in_channels, self.form, inner, out, slot.stride, act),)
