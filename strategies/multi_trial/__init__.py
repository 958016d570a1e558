"""Strategies that score one architecture after the other, one file each.

Every module in this folder whose name has no leading underscore is imported, so a new strategy is one new file and
nothing else. None of them may import torch, NNI or pymoo before a search begins.
"""

import importlib
import pkgutil

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
