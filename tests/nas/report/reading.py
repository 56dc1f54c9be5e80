"""Reads a report back as a browser would: tags, links, words and figures."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """What `html.parser` finds in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.sections: list[str] = []
        self.figures: list[dict[str, Any]] = []
        self.words = ""
        self._open: tuple[str, str | None] = ("", None)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.links += [known[key] or "" for key in ("src", "href", "srcset", "action") if key in known]
        if tag == "section":
            self.sections.append(str(known["id"]))
        self._open = (tag, known.get("class"))

    def handle_endtag(self, tag: str) -> None:
        self._open = ("", None)

    def handle_data(self, data: str) -> None:
        if self._open == ("script", "figure"):
            self.figures.append(json.loads(data))
        elif self._open[0] not in ("script", "style"):
            self.words += data

    def drawn(self, axis: str, title: str) -> dict[str, Any]:
        """The first figure whose axis is titled so."""
        titles = (f["layout"][axis].get("title", {}).get("text") for f in self.figures)
        return self.figures[list(titles).index(title)]

    def traces(self, x_title: str) -> dict[str, dict[str, Any]]:
        """The traces, by name, of the first figure whose x axis is titled so."""
        return {trace["name"]: trace for trace in self.drawn("xaxis", x_title)["data"]}
