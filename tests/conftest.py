"""Settings of all tests."""

from __future__ import annotations

import torch

# the networks of the tests are so small that a second thread costs more than it brings
torch.set_num_threads(1)
