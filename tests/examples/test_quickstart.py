"""The README's Python example, in fewer steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.measured
@pytest.mark.timeout(900)  # every option is exported: a minute, or several beside other work
def test_it_ends_within(said_by: Callable[[str], str]) -> None:
    assert "within" in said_by("quickstart.py")
