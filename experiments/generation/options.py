"""How a generator is trained. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from search_space.base.checks import check_options, option

Kernel = Literal["c3", "c2", "c4", "c2sp", "c4sp"]
#: Channels of the generator by its kernel, as a share of those of c3: about as many parameters (section 4.4).
WIDTHS: dict[Kernel, float] = {"c3": 1.0, "c2": 1.5, "c2sp": 1.5, "c4": 0.75, "c4sp": 0.75}


@dataclass(frozen=True)
class GenerationOptions:
    """A generator and its discriminator, by default as in the even-sized kernels' paper on CIFAR-10 (section 4.5).

    Attributes:
        kernel: kernels of the generator: c3, or even-sized ones with symmetric padding (c2sp, c4sp) or padded
            right and bottom only (c2, c4).
        channels: channels of the generator with c3; others have 1.5 times (c2, c2sp) or 0.75 times (c4, c4sp) as many.
        critic_channels: channels of the discriminator, which is the same for every kernel.
        latent: length of the random vector that an image is made from.
        steps: training steps of the discriminator.
        critic_steps: steps of the discriminator for one of the generator.
        batch_size: real images in a step, beside as many generated ones.
        learning_rate: learning rate of Adam; the paper prints 0.2, its source (Kurach et al.) uses 0.0002.
        save_every: steps between two resume points, at which the losses are logged too.
        samples: generated images to measure, against at most as many real ones.
        classifier_epochs: epochs of the classifier whose features the measures use.
    """

    kernel: Kernel = "c2sp"
    channels: int = option(256, least=8, most=4096)
    critic_channels: int = option(128, least=4, most=4096)
    latent: int = option(128, least=1, most=4096)
    steps: int = option(200_000, least=1)
    critic_steps: int = option(5, least=1)
    batch_size: int = option(64, least=2)
    learning_rate: float = option(2e-4, above=0)
    save_every: int = option(1000, least=1)
    samples: int = option(2000, least=10)
    classifier_epochs: int = option(10, least=1)

    def __post_init__(self) -> None:
        check_options(self)
