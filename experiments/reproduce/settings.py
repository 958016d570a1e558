"""Data sets of the papers, to which each paper's tables add its recipe."""

from __future__ import annotations

from functools import partial

from experiments.reproduce.table import Setting

CIFAR10 = partial(Setting, "CIFAR-10", 10, 50_000, 10_000, 32)
CIFAR100 = partial(Setting, "CIFAR-100", 100, 50_000, 10_000, 32)
#: XSepConv trains on the 73,257 training and the 531,131 extra images.
SVHN = partial(Setting, "SVHN with its extra images", 10, 604_388, 26_032, 32)
#: The test images have no public labels: figures are of the validation images.
TINY_IMAGENET = partial(Setting, "Tiny-ImageNet", 200, 100_000, 10_000, 56, stored_size=64)
STANFORD_DOGS = partial(Setting, "Stanford Dogs", 120, 12_000, 8_580, 224, stored_size=256)
STANFORD_CARS = partial(Setting, "Stanford Cars", 196, 8_144, 8_041, 224, stored_size=256)
OXFORD_FLOWERS = partial(Setting, "Oxford 102 Flowers", 102, 2_040, 6_149, 224, stored_size=256)
IMAGENET_299 = partial(Setting, "ImageNet", 1000, 1_281_167, 50_000, 299, stored_size=320)
