"""The small pieces of HTML that every section is made of. Whatever is not `Html` is escaped on its way in."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ABSENT = "–"

_UNITS = {"ms": "ms", "mb": "MB", "m": "M", "mj": "mJ"}
_NAMES = {"params": "parameters"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(value: object) -> Html:
    """HTML stays as it is; anything else becomes text that no browser takes for a tag."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[object]) -> Html:
    return Html("".join(escape(part) for part in parts))


def number(value: object, significant: int = 3) -> str:
    """`3.91`, `12,400`, `2.1e-06`; a whole number as it is, a dash for what is absent or not finite."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ABSENT
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4:
        return f"{value:.{significant - 1}g}"
    return f"{value:,.{max(0, significant - 1 - magnitude)}f}"


def percent(fraction: object, signed: bool = False) -> str:
    if not isinstance(fraction, int | float) or not math.isfinite(fraction):
        return ABSENT
    return f"{100 * fraction:{'+' if signed else ''}.1f} %"


def metric_name(key: str) -> str:
    """`peak_activation_mb` → `peak activation`."""
    stem = key.rpartition("_")[0] or key
    return _NAMES.get(stem, stem).replace("_", " ")


def metric_unit(key: str) -> str:
    """`memory_mb` → `MB`; empty where the key carries no unit."""
    stem, _, unit = key.rpartition("_")
    return _UNITS.get(unit, unit) if stem else ""


def quantity(key: str, value: object, significant: int = 3) -> str:
    """`latency_ms`, 3.912 → `3.91 ms`."""
    return f"{number(value, significant)} {metric_unit(key)}".strip()


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def breakable(name: str) -> Html:
    """A name that may wrap after its underscores."""
    return Html(escape(name).replace("_", "_<wbr>"))


def code(name: str) -> Html:
    """The name of an option in a sentence."""
    return Html(f"<code>{escape(name)}</code>")


def section(anchor: str, title: str, *parts: object) -> Html:
    return Html(f'<section id="{anchor}"><h2>{escape(title)}</h2>{join(parts)}</section>')


def paragraph(*parts: object) -> Html:
    return Html(f"<p>{join(parts)}</p>")


def note(*parts: object) -> Html:
    """A quiet line under a figure or a heading."""
    return Html(f'<p class="note">{join(parts)}</p>')


def missing(what: str) -> Html:
    """What the page says where the run has nothing to show."""
    return Html(f'<p class="missing">{escape(what)}</p>')


def panels(*figures: object, width: int = 420) -> Html:
    """Figures side by side, as many as fit at `width` pixels or more."""
    return Html(f'<div class="panels" style="--panel:{width}px">{join(figures)}</div>')


def panel(title: object, figure: Html) -> Html:
    return Html(f'<figure class="panel"><figcaption>{escape(title)}</figcaption>{figure}</figure>')


def swatch(colour: str) -> Html:
    return Html(f'<i class="swatch" style="background:{escape(colour)}"></i>')


def table(headings: Sequence[object], rows: Iterable[Sequence[object]], style: str = "") -> Html:
    """A table that scrolls where the page is too narrow; the first column heads its row."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(_row(row) for row in rows)
    return Html(
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[object]) -> str:
    first, *others = cells
    return (
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(c)}</td>" for c in others)
        + "</tr>"
    )
