"""The source files that a kit carries: what runs on the board, and whatever of this package that imports."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent
SCRIPT = "kit/board/measure.py"
"""What is run by hand; it lies at the top of the kit."""
_STARTED = ("kit/board/timing.py", "runtimes/onnxruntime_memory.py")
"""What runs in processes of its own, imported by nothing."""


def sources() -> list[str]:
    """Paths inside the package, in order, the script's apart. Of an `__init__` an empty file is enough."""
    found: set[str] = set()
    left = [SCRIPT, *_STARTED]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(_imported(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))))
    return sorted(found - {SCRIPT})


def _imported(node: ast.AST) -> Iterator[str]:
    """The modules of this package that are imported when the code runs."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        home, *inner = node.module.split(".")
        if home == PACKAGE.name and not node.level:
            yield "/".join(inner) + ".py"
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)
