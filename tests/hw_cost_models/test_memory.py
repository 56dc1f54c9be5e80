"""The peak of a schedule by looking at every step."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.graph import Storage
from hw_cost_models.memory import peak_memory

_STEPS = 7

_storages = st.lists(
    st.tuples(st.integers(0, 9), st.integers(-1, _STEPS - 1), st.integers(0, 6)).map(
        lambda t: Storage(bytes=t[0], born=t[1], dies=min(t[1] + t[2], _STEPS))
    )
)


@given(storages=_storages)
def test_peak_against_looking_at_every_step(storages: list[Storage]) -> None:
    graph = nx.DiGraph(storages=tuple(storages), weight_bytes=5)
    graph.add_nodes_from((step, {"operator": f"op {step}"}) for step in range(_STEPS))
    alive = {t: sum(s.bytes for s in storages if s.born <= t <= s.dies) for t in range(-1, _STEPS)}
    profile = peak_memory(graph)
    assert profile.activation_bytes == max(alive.values())
    assert profile.peak_bytes == profile.activation_bytes + 5
    assert alive[profile.step] == profile.activation_bytes
    assert profile.operator == ("inputs" if profile.step < 0 else f"op {profile.step}")
