"""The winner beside what is easy to find: is it worth the search?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.report.contenders import Contender, contenders, in_words, strip
from nas.report.markup import (
    Html,
    escape,
    join,
    missing,
    note,
    number,
    paragraph,
    percent,
    section,
    swatch,
    table,
)

if TYPE_CHECKING:
    from nas.report.record import RunRecord

NOISE = 0.005
"""A difference of losses below this fraction is within what another seed changes."""


def baselines(run: RunRecord, colours: dict[str, str]) -> Html:
    networks = contenders(run)
    if not networks:
        return section("baselines", "Beside the winner", missing("There is no network to compare yet."))
    metric = str(run.part("task").get("metric", "task metric"))
    losses = ("test loss", "validation loss", "shared-weight loss")
    headings = ("", "architecture", f"test, {metric}", "test errors", *losses)
    return section(
        "baselines",
        "Beside the winner",
        paragraph(conclusion(networks)),
        table(
            (*headings, "predicted ms", "measured ms"),
            (_row(run, c, colours) for c in networks.values()),
            "figures",
        ),
        note(
            "Losses are in nats, lower is better. The trained columns come from training each network apart; "
            f"the shared-weight loss is the supernet's, and is not comparable with them.{_tested(run)}"
        ),
    )


def _tested(run: RunRecord) -> str:
    examples = run.part("quality").get("test_examples")
    return f" Test figures are of {number(examples)} examples of the test data." if examples else ""


def _row(run: RunRecord, network: Contender, colours: dict[str, str]) -> list[object]:
    words = Html(f'<span class="words">{escape(in_words(run, network.architecture))}</span>')
    return [
        join([swatch(network.role.colour), network.name]),
        join([strip(run, network.architecture, colours), words]),
        number(network.test_metric, 4),
        percent(network.test_error),
        number(network.test_loss, 4),
        number(network.validation_loss, 4),
        number(network.shared_loss, 4),
        number(network.predicted.get("latency_ms")),
        number(network.measured.get("latency_ms")),
    ]


def conclusion(networks: dict[str, Contender]) -> Html:
    """Whether the winner beats the best of the random architectures that fill the same budget."""
    winner, rival = networks.get("winner"), networks.get("best_random")
    if winner is None or rival is None:
        return Html("There is no best random architecture in this record to hold the winner against.")
    if winner.architecture == rival.architecture:
        return Html(
            "<strong>The same network</strong>: the best of the random architectures is the winner itself, "
            "so that a random search would have found it, too."
        )
    for kind, ours, theirs in (
        ("test", winner.test_loss, rival.test_loss),
        ("validation", winner.validation_loss, rival.validation_loss),
    ):
        if ours is not None and theirs:
            return _compared(kind, (ours - theirs) / theirs)
    return Html("The winner and the best random architecture have not both been trained yet.")


def _compared(kind: str, difference: float) -> Html:
    size = percent(abs(difference))
    seed = "This is one seed of each."
    if abs(difference) < NOISE:
        return Html(
            "<strong>No clear difference</strong> between the winner and the best random architecture: "
            f"their {kind} losses are {size} apart, which a single seed cannot tell from noise."
        )
    if difference < 0:
        return Html(
            f"<strong>The winner is better</strong> than the best random architecture, trained the same way: "
            f"its {kind} loss is {size} lower. {seed}"
        )
    return Html(
        f"<strong>The winner loses</strong> to the best random architecture, trained the same way: "
        f"its {kind} loss is {size} higher. {seed}"
    )
