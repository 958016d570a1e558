"""Image data and, on top of it, what measures one architecture.

The public names stand in ``__init__.pyi`` and are imported on first use: ``import evaluators`` loads neither torch nor
Pillow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
