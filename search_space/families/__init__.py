"""The families of networks that the papers compare with or convert, one file per family. Every module in this folder is
imported and registers its own, so a new family is one new file and nothing else."""

import importlib
import pkgutil

from search_space.families.family import families, family_names, family_network, is_family_name

for _module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["families", "family_names", "family_network", "is_family_name"]
