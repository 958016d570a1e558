"""The operators of the five papers, one file per family. Every module in this folder is imported and registers its own,
so a new operator is one new file (or one class in a file) and nothing else."""

import importlib
import pkgutil

from search_space.registry import operators

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["operators"]
