"""The arena against one that looks at every cell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hw_cost_models.onnxruntime_arena import Arena, Chunk, rounded

_CELL = 256


class _Cells:
    """Regions as strings of cells, a letter where one is taken: the naive twin."""

    def __init__(self) -> None:
        self.regions: list[list[int]] = []
        self.number = 0

    def allocate(self, size: int) -> int:
        cells = -(-size // _CELL)
        self.number += 1
        runs = [
            (length, address, region, start)
            for address, region in enumerate(self._by_address())
            for start, length in _free_runs(region)
            if length >= cells
        ]
        if not runs:
            self.regions.append([0] * cells)
            region, start = self.regions[-1], 0
        else:
            _, _, region, start = min(runs, key=lambda run: (run[0], run[1], run[3]))
        region[start : start + cells] = [self.number] * cells
        return self.number

    def give_back(self, number: int) -> None:
        for region in self.regions:
            region[:] = [0 if cell == number else cell for cell in region]

    def _by_address(self) -> list[list[int]]:
        """Those of less than 64 KiB first, in order; then the others, the latest first."""
        small = [region for region in self.regions if len(region) < 256]
        return small + [region for region in reversed(self.regions) if len(region) >= 256]

    @property
    def bytes(self) -> int:
        return sum(map(len, self.regions)) * _CELL


def _free_runs(region: list[int]) -> list[tuple[int, int]]:
    runs, start = [], None
    for place, cell in enumerate([*region, -1]):
        if cell == 0 and start is None:
            start = place
        elif cell != 0 and start is not None:
            runs.append((start, place - start))
            start = None
    return runs


_orders = st.lists(st.tuples(st.booleans(), st.integers(1, 120_000)), max_size=40)


@given(orders=_orders)
def test_against_cells(orders: list[tuple[bool, int]]) -> None:
    arena, twin = Arena(), _Cells()
    taken: list[tuple[Chunk, int]] = []
    for give_back, number in orders:
        if give_back and taken:
            chunk, other = taken.pop(number % len(taken))
            arena.give_back(chunk)
            twin.give_back(other)
        else:
            taken.append((arena.allocate(number), twin.allocate(number)))
        assert arena.bytes == twin.bytes


def test_by_hand() -> None:
    arena = Arena()
    first, second = arena.allocate(1000), arena.allocate(1)
    assert (first.bytes, second.bytes, arena.bytes) == (1024, 256, 1280)
    arena.give_back(first)
    halves = arena.allocate(512), arena.allocate(512)
    assert arena.bytes == 1280, "what is left of a chunk is free"
    for half in halves:
        arena.give_back(half)
    assert arena.allocate(1024).bytes == 1024
    assert arena.bytes == 1280, "neighbours merge"
    arena.allocate(300)
    assert arena.bytes == 1280 + 512


def test_nothing_takes_nothing() -> None:
    arena = Arena()
    arena.give_back(arena.allocate(0))
    assert arena.bytes == 0
    assert [rounded(size) for size in (0, 1, 256, 257)] == [0, 256, 256, 512]
