"""The report: a run, told in one HTML file."""

from nas.report.page import render
from nas.report.record import RunRecord

__all__ = ["RunRecord", "render"]
