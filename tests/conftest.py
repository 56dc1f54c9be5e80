"""What every test stands on: one thread, the same examples, no cache of the person who runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)
# The same examples every time: a failure is the change's own. `--hypothesis-profile=search` seeks new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measured tables go to a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DNAS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
