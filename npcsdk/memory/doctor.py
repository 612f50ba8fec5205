"""Checks the index against the journal, and has it repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from npcsdk.memory.follower import Follower
from npcsdk.memory.journal import Journal

__all__ = ["Health", "examine"]


@dataclass(frozen=True, slots=True)
class Health:
    """What `npcsdk.memory.recall.Memory.doctor` found, and whether all is well now."""

    records: int
    """What characters lived through, on every timeline."""
    journal: Sequence[str]
    """What SQLite finds wrong with the journal's file: see `npcsdk.memory.salvage`."""
    missing: int
    """Records that the index lacked."""
    strangers: int
    """Vectors in the index of records that the journal does not have."""
    repaired: bool
    """Whether the index agrees with the journal now."""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong now."""
        return not self.journal and self.repaired


def examine(journal: Journal, follower: Follower, timeout: float) -> Health:
    """Compares record by record; the follower repairs what differs, for at most ``timeout`` seconds."""
    wrong = journal.check()
    settled = follower.wait(timeout)
    counts = journal.counts(upto=journal.last)
    missing = strangers = 0
    index = follower.index
    if index is not None and not wrong:
        for npc in counts:
            wanted, held = set(journal.positions(npc, upto=journal.last)), index.positions(npc)
            missing += len(wanted - held)
            strangers += len(held - wanted)
        if missing or strangers:
            follower.removed(counts)
            settled = follower.wait(timeout)
    nothing_to_index = not counts
    return Health(
        records=sum(counts.values()),
        journal=wrong,
        missing=missing,
        strangers=strangers,
        repaired=nothing_to_index or (settled and index is not None),
    )
