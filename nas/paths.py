"""Paths of choices as people read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def together(paths: Iterable[str]) -> str:
    """Many in few, with a star where numbers differ: `layers.*.mixer, layers.*.feedforward`."""
    alike: dict[str, list[list[str]]] = {}
    for path in paths:
        alike.setdefault(re.sub(r"\d+", "*", path), []).append(path.split("."))
    return ", ".join(".".join(map(_one, zip(*parts, strict=True))) for parts in alike.values())


def _one(names: tuple[str, ...]) -> str:
    return names[0] if len(set(names)) == 1 else re.sub(r"\d+", "*", names[0])
