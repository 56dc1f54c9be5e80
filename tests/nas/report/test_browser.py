"""The page in a real browser: every figure drawn, nothing on the console."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from nas.report import RunRecord, render

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="the page's scripts run only in a Chromium, none found"
)


def browse(text: str, folder: Path) -> tuple[str, str]:
    """The page as the browser left it, and what its console said."""
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    quiet = "--disable-gpu --disable-background-networking --disable-sync --disable-component-update"
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--no-first-run",
            *quiet.split(),
            "--enable-logging=stderr",
            "--v=0",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(said)


def test_a_finished_run_is_drawn_without_a_word_on_the_console(run: RunRecord, tmp_path: Path) -> None:
    drawn, console = browse(render(run), tmp_path)
    assert console == ""
    assert drawn.count('class="figure"') == drawn.count('class="plot js-plotly-plot"') > 10


def test_an_empty_run_too(tmp_path: Path) -> None:
    _, console = browse(render(RunRecord()), tmp_path)
    assert console == ""


def test_the_page_itself_forbids_requests(tmp_path: Path) -> None:
    """The policy holds even against a script that asks: so no figure can ever fetch anything."""
    asking = render(RunRecord()).replace("<main>", '<main><script>fetch("https://example.org")</script>')
    _, console = browse(asking, tmp_path)
    assert "Content Security Policy" in console
