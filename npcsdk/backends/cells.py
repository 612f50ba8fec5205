"""Which cells the sequences of a runtime hold, and which of them they share. Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Cells"]


class Cells:
    """``size`` cells, each held by any number of sequences. A sequence is a number; it holds its cells in order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = list(range(size))
        self._holders = [0] * size
        self._held: dict[int, list[int]] = {}

    @property
    def free(self) -> int:
        """How many cells nobody holds."""
        return len(self._free)

    @property
    def used(self) -> int:
        """How many cells somebody holds; shared ones count once."""
        return self.size - len(self._free)

    def grow(self, sequence: int, count: int) -> None:
        """Take ``count`` free cells.

        Raises:
            ValueError: there are not so many.
        """
        if count > len(self._free):
            raise ValueError(f"{count} cells are wanted and {len(self._free)} are free")
        if not count:
            return
        taken = self._free[-count:]
        del self._free[-count:]
        for cell in taken:
            self._holders[cell] = 1
        self._held.setdefault(sequence, []).extend(taken)

    def share(self, source: int, sequence: int, count: int) -> None:
        """Hold the first ``count`` cells of ``source`` as well. The sequence is empty before."""
        shared = self._held[source][:count]
        for cell in shared:
            self._holders[cell] += 1
        self._held[sequence] = shared

    def cut(self, sequence: int, length: int) -> None:
        """Let go of all but the first ``length`` cells."""
        held = self._held.get(sequence)
        if held is None:
            return
        for cell in held[length:]:
            self._holders[cell] -= 1
            if not self._holders[cell]:
                self._free.append(cell)
        del held[length:]
        if not held:
            del self._held[sequence]

    def union(self, sequences: Iterable[int], source: int | None = None, count: int = 0) -> int:
        """How many different cells these sequences hold, together with the first ``count`` of ``source``."""
        cells: set[int] = set()
        for sequence in sequences:
            cells.update(self._held.get(sequence, ()))
        if source is not None:
            cells.update(self._held.get(source, ())[:count])
        return len(cells)
