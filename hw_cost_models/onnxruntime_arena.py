"""ONNX Runtime's arena: a best-fit allocator with coalescing that grows by exactly what is asked for.

Every request is rounded up to 256 bytes and takes the smallest free chunk that holds it, of equal ones that
of the lowest address; what is left of the chunk becomes a free one. Only where none fits does the arena grow,
by a region of the rounded request; chunks of different regions never merge. So the arena may hold more than
was ever alive at once, and where its regions lie may decide by how much.

ONNX Runtime, core/framework/bfc_arena.cc, with arena_extend_strategy kSameAsRequested and
max_dead_bytes_per_chunk 1; its default grows by powers of two. Addresses are those of a heap that takes large
blocks from the system (`hw_cost_models.runtimes.heap`): Linux gives them out from the top down.
"""

from __future__ import annotations

from dataclasses import dataclass

_STEP = 256
_FROM_THE_SYSTEM = 64 * 1024


@dataclass(eq=False)
class Chunk:
    """A stretch of a region."""

    region: list[Chunk]
    bytes: int
    free: bool = True


class Arena:
    """Not thread-safe; a chunk that was given back must not be given back again."""

    def __init__(self) -> None:
        self._regions: list[list[Chunk]] = []
        """By address: small ones, in the order of their making, then large ones, the latest first."""
        self._small = 0
        self.bytes = 0
        """Of all regions: it never shrinks."""

    def allocate(self, size: int) -> Chunk:
        """A chunk of at least `size` bytes; of size 0 an empty one that belongs nowhere."""
        wanted = rounded(size)
        if not wanted:
            return Chunk([], 0)
        chunk = self._best_fit(wanted) or self._grow(wanted)
        if chunk.bytes > wanted:
            rest = Chunk(chunk.region, chunk.bytes - wanted)
            chunk.region.insert(chunk.region.index(chunk) + 1, rest)
            chunk.bytes = wanted
        chunk.free = False
        return chunk

    def give_back(self, chunk: Chunk) -> None:
        """It merges with its free neighbours."""
        if not chunk.region:
            return
        chunk.free = True
        region, place = chunk.region, chunk.region.index(chunk)
        if place + 1 < len(region) and region[place + 1].free:
            chunk.bytes += region.pop(place + 1).bytes
        if place > 0 and region[place - 1].free:
            region[place - 1].bytes += region.pop(place).bytes

    def _best_fit(self, wanted: int) -> Chunk | None:
        fitting = (c for region in self._regions for c in region if c.free and c.bytes >= wanted)
        return min(fitting, key=lambda chunk: chunk.bytes, default=None)

    def _grow(self, wanted: int) -> Chunk:
        region: list[Chunk] = []
        region.append(Chunk(region, wanted))
        self._regions.insert(self._small, region)
        self._small += wanted < _FROM_THE_SYSTEM
        self.bytes += wanted
        return region[0]


def rounded(size: int) -> int:
    """What a request of so many bytes takes of the arena."""
    return -(-size // _STEP) * _STEP
