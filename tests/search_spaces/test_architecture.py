"""Architectures: frozen values that are JSON outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Architecture, SearchSpaceError


@given(st.dictionaries(st.text(), st.text()))
def test_json_round_trip(decisions: dict[str, str]) -> None:
    architecture = Architecture(decisions)
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.name == architecture.name


def test_order_of_decisions_does_not_matter() -> None:
    forth, back = Architecture({"a": "x", "b": "y"}), Architecture({"b": "y", "a": "x"})
    assert forth == back
    assert len({forth, back}) == 1
    assert list(back) == ["a", "b"]
    assert forth != Architecture({"a": "x", "b": "z"})


def test_name_is_the_same_in_every_process() -> None:
    assert Architecture({"a": "x"}).name == "79b5877c"  # printf %s '{"a": "x"}' | sha256sum


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": null}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(SearchSpaceError, match="architecture"):
        Architecture.from_json(text)
