"""One sampled path per step (as in GDAS, Dong & Yang 2019), and candidates that are compared by their losses."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from strategies.one_shot.base import MixedLayer, frozen_statistics, loss_of, relative_gains
from strategies.one_shot.darts import DARTS, BudgetedDartsModule
from strategies.one_shot.options import SinglePathOptions
from strategies.one_shot.together import average


class SinglePathLayer(MixedLayer):
    """A `LayerChoice` that runs one candidate, drawn by its probability."""

    _sampled: int | None = None

    def resample(self, memo: dict[str, Any]) -> dict[str, Any]:
        """Draw a path, or take what ``memo`` holds for the label: what another layer drew, or what the caller wants."""
        if self.label in memo:
            self._sampled = self.names.index(memo[self.label])
            return {}
        alpha = self._arch_alpha.detach()
        self._sampled = int((alpha + self.draws.gumbel(alpha)).argmax())  # the Gumbel-max trick
        return {self.label: self.names[self._sampled]}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._sampled is None:
            raise RuntimeError(f"label {self.label!r}: resample() before the first forward pass")
        return self[self.names[self._sampled]](*args, **kwargs)


class ContrastModule(BudgetedDartsModule):
    """Compares candidates of one block by their measured losses in an architecture step.

    GDAS weighs the output of the one candidate that it samples. The derivative by that weight says how the loss changes
    with the *scale* of the output, not how it would change with another candidate. So a step here draws a path and, for
    one block (all take turns), some candidates by their probabilities, without replacement. Each runs in the path on
    the same batch, forward only. With ``q`` their probabilities relative to each other and ``L`` their losses, the
    gradient by the parameter of candidate ``k`` is that of their expected loss, ``q_k (L_k - sum_j q_j L_j)``. What the
    batch and the rest of the path do to the loss is common to all of them and cancels.

    Choices other than `LayerChoice` are mixed as in DARTS, and get its gradient.
    """

    options: SinglePathOptions

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._turns: list[str] = []  # labels whose turn in this round is still to come

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """{label: names of the candidates} of the choices that run one candidate."""
        layers = [module for module in self.supernet_modules() if isinstance(module, SinglePathLayer)]
        return {str(layer.label): layer.names for layer in layers}  # plain text, for checkpoints

    def _set_task_gradients(self, batch: Any, batch_idx: int) -> None:
        with frozen_statistics(self.training_module):
            if self._names:
                self._compare(self._next_label(), batch, batch_idx)
            mixed = [alpha for label, alpha in self.alphas.items() if label not in self._names]
            if mixed:
                self.resample()
                loss = loss_of(self.training_module.training_step(batch, batch_idx))
                self.manual_backward(loss, inputs=mixed)

    @torch.no_grad()
    def _compare(self, label: str, batch: Any, batch_idx: int) -> None:
        alpha = self.alphas[label]
        path = {other: name for other, name in self.resample().items() if other in self._names}
        probabilities = torch.softmax(alpha.detach().cpu().double(), -1).clamp_min(1e-12)
        count = min(self.options.candidates_per_step, len(alpha))
        drawn = torch.multinomial(probabilities, count, generator=self.generator)
        losses = []
        for index in drawn.tolist():
            self.take({**path, label: self._names[label][index]})
            losses.append(loss_of(self.training_module.training_step(batch, batch_idx)))
        loss = average(torch.stack(losses)).double().cpu()
        share = probabilities[drawn] / probabilities[drawn].sum()
        gradient = torch.zeros_like(probabilities)
        gradient[drawn] = relative_gains(share, loss)
        alpha.grad = gradient.to(alpha)

    def _next_label(self) -> str:
        if not self._turns:
            labels = sorted(self._names)
            self._turns = [labels[i] for i in torch.randperm(len(labels), generator=self.generator).tolist()]
        return self._turns.pop()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["turns"] = list(self._turns)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._turns = list(checkpoint["turns"])


class GDAS(DARTS):
    """Single-path differentiable search: like `DARTS`, but a weight step runs one sampled candidate per block, as in
    GDAS (Dong & Yang 2019), whose architecture gradient does not rank candidates; see `ContrastModule` for the one
    here. The cost of a step does not grow with the number of candidates."""

    name = "gdas"
    options: SinglePathOptions
    module_class = ContrastModule

    def default_mutation_hooks(self) -> list[Any]:
        return [SinglePathLayer.mutate, *super().default_mutation_hooks()]
