"""Which random changes are made to training images. Imports no torch, so that configs can be read without it."""

from __future__ import annotations

from dataclasses import dataclass

from search_space.base.calls import check_call
from search_space.base.checks import check_number, check_options, option, require


@dataclass(frozen=True)
class AugmentationOptions:
    """Random changes to training images, made in the order of these fields.

    Attributes:
        crop_padding: pixels of black border around an image, from which a window of the original size is cut at random;
            0 for none (Lee et al., Deeply-Supervised Nets, 2015; XSepConv section 4.1 on CIFAR takes 4).
        flip: mirror each image left to right with probability 1/2.
        resized_crop_area: [least, most] share of the image that a random box covers, which is then resized to the input
            size, such as [0.08, 1]; null for no such crop (Szegedy et al., Going Deeper with Convolutions, 2015,
            section 6; XSepConv section 4.1 on Tiny-ImageNet).
        aspect: [least, most] ratio of width to height of that box.
        color_jitter: largest relative change of brightness, contrast and saturation, or a list of three; 0 for none.
        rand_augment: [operations, magnitude] of RandAugment, such as [2, 9]: to each image so many random ones of 14
            operations, as strong as the magnitude from 0 to 30 says; null for none. Needs kornia (Cubuk et al.,
            RandAugment, 2020).
        transform: your own change to a batch, as module:callable; null for none. It gets float32 (images, channels,
            height, width) between 0 and 1, not normalised, and returns the like; what it draws from torch's generator
            follows the seed.
        cutout: side in pixels of a square that is blanked around a uniformly drawn pixel of each image, so that it may
            reach beyond the image; 0 for none (DeVries & Taylor, Cutout, 2017).
        erasing: probability that a random box of an image, 2 to 40 % of its area, is blanked (Zhong et al., Random
            Erasing, 2020).
        mixup: alpha of the Beta distribution by which pairs of images and of their labels are blended; 0 for none
            (Zhang et al., mixup, 2018).
        cutmix: alpha of the Beta distribution of the share of an image that stays where a box of another one is pasted
            in, and so of its label; 0 for none. Beside mixup each batch gets one of the two (Yun et al., CutMix, 2019).
    """

    crop_padding: int = option(0, least=0)
    flip: bool = False
    resized_crop_area: list[float] | None = option(None, above=0, most=1)
    aspect: list[float] = option(factory=lambda: [3 / 4, 4 / 3], above=0)
    color_jitter: float | list[float] = 0.0
    rand_augment: list[int] | None = option(None, least=0, most=30)
    transform: str | None = None
    cutout: int = option(0, least=0)
    erasing: float = option(0.0, least=0, most=1)
    mixup: float = option(0.0, least=0)
    cutmix: float = option(0.0, least=0)

    def __post_init__(self) -> None:
        check_options(self, "augmentation")
        self.check_augmentation("augmentation")

    def check_augmentation(self, where: str) -> None:
        """InvalidRequest for what `check_options` cannot check; ``where`` is what errors call these options."""
        for name in ("resized_crop_area", "aspect"):
            pair = getattr(self, name)
            ordered = pair is None or (len(pair) == 2 and pair[0] <= pair[1])
            require(ordered, f"{where}.{name}", pair, "must be [least, most]")
        once, why = self.resized_crop_area is None or not self.crop_padding, "beside resized_crop_area would crop twice"
        require(once, f"{where}.crop_padding", self.crop_padding, why, "set it to 0, or the other to null")
        pair, why = self.rand_augment, "must be [operations, magnitude], one operation at least"
        require(pair is None or (len(pair) == 2 and pair[0] >= 1), f"{where}.rand_augment", pair, why)
        if self.transform is not None:
            check_call(f"{where}.transform", self.transform, "my_transforms:soften")
        several = isinstance(self.color_jitter, (list, tuple))
        why = "must be a number, or a list of three for brightness, contrast and saturation"
        require(not several or len(self.jitter) == 3, f"{where}.color_jitter", self.color_jitter, why)
        for strength in self.jitter:
            check_number(f"{where}.color_jitter", strength, least=0)

    @property
    def jitter(self) -> tuple[float, ...]:
        """Largest relative changes of brightness, contrast and saturation."""
        given = self.color_jitter
        return tuple(given) if isinstance(given, (list, tuple)) else (given,) * 3
