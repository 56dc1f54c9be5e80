"""How the figures came about, in sentences, and the processes behind the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.headline import workload
from nas.report.markup import Html, escape, listed, missing, number, percent, section, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nas.report.record import Json, RunRecord

PROPOSERS = {
    "scores": "the scores, a predictor of quality that knows no cost",
    "filling scores": "the scores, asked to fill the budget",
    "controller": "the controller, by its distribution",
}


def protocol(run: RunRecord) -> Html:
    sentences = "".join(f"<li>{sentence}</li>" for sentence in _sentences(run))
    told = Html(f"<ul>{sentences}</ul>") if sentences else missing("Nothing has been measured yet.")
    return section("protocol", "How it was measured", told, _processes(run))


def _sentences(run: RunRecord) -> Iterator[Html]:
    yield from _conditions(run)
    yield from _calibration(run.part("calibration"))
    yield from _scores(run.part("scores"))
    source = run.result.get("winner_source")
    if source:
        proposers = [PROPOSERS.get(name, name) for name in str(source).split(", ")]
        yield escape(f"The winner was proposed by {listed(proposers)}.")
    parity = run.part("parity")
    if parity:
        yield escape(
            f"The exported file differs from PyTorch by at most {number(parity.get('max_difference'), 2)}, "
            f"{_compared_on(run, parity)}."
        )


def _compared_on(run: RunRecord, parity: Json) -> str:
    """The inputs on which two runtimes were compared."""
    shapes = parity.get("shapes") or []
    if run.part("workload").get("unit") == "examples":
        return f"in batches of {listed([str(batch) for batch, _ in shapes])}"
    told = ", ".join(" × ".join(str(side) for side in shape) for shape in shapes)
    return f"on inputs of shape {told or 'unstated'}"


def _conditions(run: RunRecord) -> Iterator[Html]:
    device = run.part("device")
    if device:
        threads, runtime = (
            device.get("threads", "an unstated number of"),
            device.get("runtime", "an unstated runtime"),
        )
        description = f" ({device['description']})" if device.get("description") else ""
        yield escape(
            f"On {device.get('name', 'an unnamed device')}{description}, in {runtime} with {threads} "
            f"thread{'' if threads == 1 else 's'}; workload: {workload(run.part('workload')) or 'unstated'}."
        )
    verification = run.part("verification")
    if verification:
        yield escape(
            f"The verdict is on the {run.result.get('statistic', 'stated statistic')} of "
            f"{verification.get('rounds', 'an unstated number of')} interleaved rounds, fixed beforehand, "
            f"in each of {len(verification.get('processes') or [])} fresh processes that selected nothing."
        )


def _calibration(calibration: Json) -> Iterator[Html]:
    if calibration:
        yield escape(
            f"The cost table was fitted to {len(calibration.get('networks') or [])} whole networks timed in "
            f"the same rounds; its residual is {percent(calibration.get('residual'))}, and the solver aims "
            "that far below the limit."
        )


def _scores(scores: Json) -> Iterator[Html]:
    if scores:
        pairs = ", adjacent pairs of options included" if scores.get("pairs") else ""
        yield escape(
            f"The scores were fitted to {scores.get('evaluations', 'an unstated number of')} shared-weight "
            f"evaluations{pairs}; on held-out ones they rank with "
            f"Kendall τ {number(scores.get('held_out_kendall'), 2)} "
            f"and Spearman ρ {number(scores.get('held_out_spearman'), 2)}."
        )


def _processes(run: RunRecord) -> Html:
    verification = run.part("verification")
    if not verification.get("processes"):
        return missing("There are no verification processes in this record.")
    found = {"forward": verification, **(verification.get("beside") or {})}
    statistic = str(run.result.get("statistic", "latency"))
    headings = (
        "workload",
        "process",
        f"{statistic} ms",
        "before drift correction",
        "drift",
        "p10 ms",
        "p95 ms",
        "memory MB",
    )
    rows = (
        (
            kind,
            index,
            number(process.get("latency_ms"), 4),
            number(process.get("raw_latency_ms"), 4),
            number(process.get("drift"), 4),
            number(process.get("p10_ms"), 4),
            number(process.get("p95_ms"), 4),
            number(process.get("memory_mb"), 4),
        )
        for kind, one in found.items()
        for index, process in enumerate(one.get("processes") or [], start=1)
    )
    return table(headings, rows, "figures")
