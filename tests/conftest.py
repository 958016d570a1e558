"""Settings of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

# the networks of the tests are so small that a second thread costs more than it brings
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images of all tests, and of the processes they start, out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEPNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
