"""Erases a person from a journal so that nothing is left of it in its files, whatever happens meanwhile."""

from __future__ import annotations

from npcsdk.memory.forgetting import Forgotten, mentions, tells_of
from npcsdk.memory.journal import Journal

__all__ = ["erase"]


def erase(journal: Journal, person: str) -> Forgotten:
    """Removes what was shared with ``person`` or names them, the summaries of such talks, and their slots.

    Until `Journal.erased` is called, the journal says that something made of it (the index) may still tell of them.
    """
    found = journal.traces(tells_of(person))
    # What a model made of what is erased may tell of it in other words.
    gone = {record.seq for record in found}
    for talk in {record.conversation for record in found} - {""}:
        gone |= {record.seq for record in journal.summaries(talk)}
    slots = list(filter(mentions(person), journal.slots()))
    if gone or slots:
        journal.erasing()
    for slot in slots:
        journal.delete_slot(slot)
    journal.remove(sorted(gone))
    if gone or slots:
        journal.scrub()
    return Forgotten(records=len(gone), slots=len(slots))
