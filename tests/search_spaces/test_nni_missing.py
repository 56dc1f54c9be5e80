"""Without NNI, one line says how to have it."""

from __future__ import annotations

import sys

import pytest
from torch import nn

from search_spaces import SearchSpaceError
from search_spaces.nni_spaces import from_nni


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nni", None)
    with pytest.raises(SearchSpaceError, match=r"needs the extra nni: pip install 'dnas\[nni\]'"):
        from_nni(nn.Identity(), lambda batch, length: ())
