"""The README's Python example, in fewer steps and with fewer options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import search_spaces
from tests.search_spaces.narrowed import narrowed

if TYPE_CHECKING:
    from collections.abc import Callable


KEPT = {"attention", "state_space", "convolution", "swiglu_2x", "swiglu_4x", "moe_shared", "skip"}


@pytest.mark.measured
@pytest.mark.timeout(900)  # half a minute, or several beside other work
def test_it_ends_within(said_by: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search_spaces.hybrid_lm
    monkeypatch.setattr(search_spaces, "hybrid_lm", lambda **sizes: narrowed(whole(**sizes), KEPT))
    assert "within" in said_by("quickstart.py")
