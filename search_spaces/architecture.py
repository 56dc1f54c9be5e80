"""Architecture: one decision for every choice that is reached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from search_spaces.errors import SearchSpaceError


class Architecture(Mapping[str, str]):
    """Choice path → option name. Frozen, hashable, ordered by path, and plain JSON outside.

    A choice nested in an option that is not taken has no entry.
    """

    __slots__ = ("_decisions",)

    def __init__(self, decisions: Mapping[str, str]) -> None:
        self._decisions = dict(sorted(decisions.items()))

    def __getitem__(self, path: str) -> str:
        return self._decisions[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decisions)

    def __len__(self) -> int:
        return len(self._decisions)

    def __hash__(self) -> int:
        return hash(tuple(self._decisions.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._decisions == other._decisions

    def __repr__(self) -> str:
        return f"Architecture({self._decisions})"

    @property
    def name(self) -> str:
        """Eight hexadecimal digits that stay the same across processes: for file names and tables."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]

    def to_json(self) -> str:
        return json.dumps(self._decisions)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Raises SearchSpaceError when the text is not an object of strings."""
        try:
            decisions = json.loads(text)
        except json.JSONDecodeError as error:
            raise SearchSpaceError(f"an architecture must be a JSON object: {error}") from None
        if not isinstance(decisions, dict) or not all(isinstance(v, str) for v in decisions.values()):
            raise SearchSpaceError(f"an architecture maps choice paths to option names, not {text[:80]!r}")
        return cls(decisions)
