"""Erases a person from a journal so that nothing is left of it in its files, whatever happens meanwhile."""

from __future__ import annotations

from npcsdk.memory.forgetting import Forgotten, mentions
from npcsdk.memory.journal import Journal

__all__ = ["erase"]


def erase(journal: Journal, person: str) -> Forgotten:
    """Removes what was shared with ``person`` or names them, the summaries of such talks, and their slots.

    Deleted rows are overwritten as they go (``secure_delete``), and the file is written anew at the end (``VACUUM``,
    then the log is cut off), since SQLite leaves copies of rows behind that it has moved. Damaged files of an earlier
    journal are deleted: nobody can say of whom they tell.

    Until `Journal.erased` is called, the journal says that something made of it (the index) may still tell of them.
    """
    gone = journal.traces_of(person)
    slots = list(filter(mentions(person), journal.slots()))
    if gone or slots:
        journal.erasing()
    for slot in slots:
        journal.delete_slot(slot)
    journal.remove(gone)
    if gone or slots:
        journal.scrub()
    if person.strip():
        journal.drop_damaged()
    return Forgotten(records=len(gone), slots=len(slots))
