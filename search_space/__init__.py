"""sepnas's search space: operators, architectures, networks and their costs. Needs torch, `search_space.space` also
NNI.

The public names stand in ``__init__.pyi`` and are imported on first use, so that what needs no torch does not wait for
it. No module may bear the name of one of them: importing it would shadow the name.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
