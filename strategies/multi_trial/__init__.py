"""Strategies that score one architecture after the other, one file each: every module here without a leading underscore
is imported. None of them may import torch, NNI or pymoo before a search begins."""

import importlib
import pkgutil

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
