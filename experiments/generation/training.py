"""The training of a generator against its discriminator: non-saturating losses, resume points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluators.base.devices import to_device
from evaluators.base.progress import progress_bar
from evaluators.data.batches import mixed_seed
from evaluators.data.images import Images
from evaluators.training.run import TrainingDiverged
from evaluators.training.trainer import read_state
from experiments.generation.networks import Discriminator, Generator
from experiments.generation.options import GenerationOptions
from experiments.runs.files import Table
from search_space.base.atomic import replacing

LOSSES_FILE, CHECKPOINT_FILE = "losses.csv", "resume.pt"
_COLUMNS = ("step", "discriminator_loss", "generator_loss")


def as_reals(images: Tensor) -> Tensor:
    """uint8 images as the networks see them, between -1 and 1."""
    return images.float() / 127.5 - 1


class Match:
    """A generator and its discriminator in training on the images of ``images``.

    What is drawn at a step follows from seed and step alone: a resumed training goes on as if it had not been killed.
    """

    def __init__(self, options: GenerationOptions, images: Images, seed: int, device: str, folder: Path) -> None:
        self.options, self.images, self.seed = options, images, seed
        self.device, self.folder = torch.device(device), folder
        colours, side, _ = images.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(seed, 0))
            self.generator = Generator(options, side, colours).to(self.device)
            self.discriminator = Discriminator(options, side, colours).to(self.device)
        self.optimizers = {
            "generator": self._adam(self.generator),
            "discriminator": self._adam(self.discriminator),
        }
        self.step = 0
        self._losses = Table(folder / LOSSES_FILE, _COLUMNS)
        if (folder / CHECKPOINT_FILE).exists():
            self._load()

    def train(self, title: str) -> None:
        """Go on to the last step. TrainingDiverged if a loss is no longer finite."""
        options = self.options
        with progress_bar(options.steps, title, "step", initial=self.step) as bar:
            while self.step < options.steps:
                losses = self._take_step()
                if not all(map(math.isfinite, losses.values())):
                    raise TrainingDiverged(f"{title}: a loss is not finite at step {self.step}; lower learning_rate")
                bar.update(1)
                if self.step % options.save_every == 0 or self.step == options.steps:
                    self._losses.append({"step": self.step, **{name: f"{v:.6g}" for name, v in losses.items()}})
                    self._save()

    @torch.no_grad()
    def generate(self, count: int, purpose: int) -> Tensor:
        """``count`` images, uint8 on the CPU; the same for the same ``purpose`` at the same step."""
        random = torch.Generator().manual_seed(mixed_seed(self.seed, 1, purpose))
        latents = torch.randn(count, self.options.latent, generator=random)
        made = [self.generator(part.to(self.device)).cpu() for part in latents.split(256)]
        return ((torch.cat(made) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def _take_step(self) -> dict[str, float]:
        """One of the discriminator and, after every ``critic_steps`` of them, one of the generator."""
        self.step += 1
        random = torch.Generator().manual_seed(mixed_seed(self.seed, 2, self.step))
        chosen = torch.randint(len(self.images), (self.options.batch_size,), generator=random)
        real = as_reals(to_device(self.images.gather(chosen), self.device))
        with torch.no_grad():
            made = self.generator(self._latents(random))
        # together: the spectral norms of a step are those of one forward pass
        told = self.discriminator(torch.cat([real, made]))
        of_real, of_made = told.chunk(2)
        loss = F.softplus(-of_real).mean() + F.softplus(of_made).mean()
        self._descend("discriminator", loss)
        losses = {"discriminator_loss": loss.item()}
        if self.step % self.options.critic_steps == 0:
            own = F.softplus(-self.discriminator(self.generator(self._latents(random)))).mean()
            self._descend("generator", own)
            losses["generator_loss"] = own.item()
        return losses

    def _latents(self, random: torch.Generator) -> Tensor:
        drawn = torch.randn(self.options.batch_size, self.options.latent, generator=random)
        return to_device(drawn, self.device)

    def _descend(self, name: str, loss: Tensor) -> None:
        self.optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[name].step()

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), lr=self.options.learning_rate, betas=(0.5, 0.999))

    def _parts(self) -> dict[str, Any]:
        return {"generator": self.generator, "discriminator": self.discriminator} | {
            f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()
        }

    def _save(self) -> None:
        states = {name: part.state_dict() for name, part in self._parts().items()}
        with replacing(self.folder / CHECKPOINT_FILE) as temporary:
            torch.save({"step": self.step, **states}, temporary)

    def _load(self) -> None:
        parts = self._parts()
        states = read_state(self.folder / CHECKPOINT_FILE, {"step", *parts}, self.device)
        self.step = states["step"]
        for name, part in parts.items():
            part.load_state_dict(states[name])
        # a row that was written before a kill, but whose resume point was not
        self._losses.keep([row for row in self._losses.rows if int(row["step"]) <= self.step])
