"""`Memory`: what a world's characters know and have lived through, and the passages of it that fit a line.

    memory = Memory.open(folder, world.lore)
    memory.remember(Experience(npc="mira", interlocutor="player", kind="event", origin="game",
                               text="The player paid for the broken window."))
    memory.recall("do you remember the window?", npc="mira", interlocutor="player", tags={"village"})

Writes go to the journal and are on disk when they return. Words are searched in memory and vectors in an
index that follows in the background; while it is missing, damaged or slow, recall goes on by words.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from npcsdk.errors import MemoryStoreError
from npcsdk.memory import savegame
from npcsdk.memory.caps import Caps
from npcsdk.memory.collecting import ByAndBy
from npcsdk.memory.doctor import Health, examine
from npcsdk.memory.erasing import erase
from npcsdk.memory.experience import (
    Experience,
    Fact,
    Passage,
    entry_of,
    fact_entry,
    timeline_of,
    value_entries,
)
from npcsdk.memory.files import read_file, write_file
from npcsdk.memory.focus import nearest_sentences
from npcsdk.memory.follower import Follower
from npcsdk.memory.forgetting import Forgotten, least_useful
from npcsdk.memory.journal import TRANSCRIPT, Entry, Journal
from npcsdk.memory.knowledge import WORLD, Group, Hearsay, Knowledge, group_owner
from npcsdk.memory.lore import LoreLike, LoreShelf
from npcsdk.memory.places import Place, place_of
from npcsdk.memory.recaller import Recaller, position_of, vectors_or
from npcsdk.memory.records import SILENT, VALUE, Record
from npcsdk.memory.registry import DEFAULT_EMBEDDER, Embedder, Vectors, make_embedder, make_index
from npcsdk.memory.scoring import Weights
from npcsdk.memory.summary import Summary, Told, condense, summary_entry, summary_of, usable

__all__ = [
    "DEFAULT_EMBEDDER",
    "WORLD",
    "Embedder",
    "Experience",
    "Fact",
    "Forgotten",
    "Group",
    "Hearsay",
    "Knowledge",
    "LoreLike",
    "Memory",
    "Passage",
    "Place",
    "Summary",
    "Told",
    "Weights",
    "condense",
    "group_owner",
    "place_of",
    "usable",
]

_log = logging.getLogger("npcsdk.memory")

_DRAIN = 5.0  # seconds that close gives the index; the rest is done at the next start


class Memory:
    """Made by `open`. Every method may be called from any thread; a closed memory raises ``memory_closed``."""

    def __init__(
        self,
        journal: Journal,
        lore: Iterable[LoreLike],
        *,
        directory: Path | None,
        embedder: str | Embedder,
        index: str,
        weights: Weights,
        knowledge: Knowledge,
        cap: int | None,
    ) -> None:
        self._journal = journal
        self._embedder = made = make_embedder(embedder)
        self._follower = Follower(
            journal,
            made,
            lambda: make_index(index, directory, journal=journal.id, embedder=made, warn=_log.warning),
            warn=_log.warning,
        )
        self._recaller = Recaller(
            journal, LoreShelf(lore, made), made, self._follower, weights=weights, knowledge=knowledge
        )
        self._follower.start(self._recaller.settle)
        self._caps = (
            None if cap is None else Caps(cap, count=journal.count, trim=self.trim, warn=_log.warning)
        )
        self._collecting = ByAndBy(self.collect, name="npcsdk-memory-collect", warn=_log.warning)
        self._erasing = ByAndBy(self._end_erasing, name="npcsdk-memory-erase", warn=_log.warning)
        self._lock = threading.Lock()
        if journal.half_erased:
            self._erasing.soon()
        if journal.forked:
            self._collecting.soon()  # what was un-done the last time
        self._values: dict[tuple[int, str, str], dict[str, float]] = {}

    @classmethod
    def open(
        cls,
        directory: Path | None,
        lore: Iterable[LoreLike] = (),
        *,
        embedder: str | Embedder = DEFAULT_EMBEDDER,
        index: str | None = None,
        weights: Weights | None = None,
        knowledge: Knowledge | None = None,
        cap: int | None = None,
    ) -> Memory:
        """Opens the memory kept in ``directory``; with None nothing is kept on disk.

        ``knowledge`` says who else knows what a character lived through: groups, hearsay.
        ``cap`` is how many records a character may have: the least useful go, by and by, as `trim` has it.
        ``embedder`` is one by name (see `npcsdk.memory.registry`) or an object of your own.
        ``index`` names another vector index than the usual one (Chroma, or exact search with no directory).

        Raises MemoryStoreError: see `Journal` for the codes, and ``embedder_unknown``. A missing or damaged
        index is no error; an unknown ``index`` is a warning, and recall goes by words.
        """
        journal = Journal(directory)
        try:
            return cls(
                journal,
                lore,
                directory=None if directory is None else directory / "index",
                embedder=embedder,
                index=index or ("exact" if directory is None else "chroma"),
                weights=weights or Weights(),
                knowledge=knowledge or Knowledge(),
                cap=cap,
            )
        except BaseException:
            journal.close()
            raise

    # -- writing

    def remember(self, *experiences: Experience) -> None:
        """Writes experiences, all or none; on disk when this returns. The vector index follows later."""
        if experiences:
            self._append([entry_of(experience) for experience in experiences], timeline_of(experiences))

    def learn(self, *facts: Fact) -> None:
        """Writes facts, all or none. For recall each replaces what was known of its subject's attribute."""
        if facts:
            self._append([fact_entry(fact) for fact in facts], timeline_of(facts))

    def append_turn(
        self,
        conversation: str,
        npc: str,
        interlocutor: str,
        turn: Mapping[str, Any],
        *,
        experiences: Sequence[Experience] = (),
        values: Mapping[str, float] | None = None,
        timeline: int | None = None,
    ) -> None:
        """Writes a whole turn (JSON-able) for `history`, and with it, in one commit, what was experienced.

        ``values`` are set by the same commit, see `set_value`.
        """
        at = max((experience.at for experience in experiences), default=0.0)
        place = experiences[-1].place if experiences else ""
        transcript = Entry(
            npc=npc,
            interlocutor=interlocutor,
            conversation=conversation,
            kind=TRANSCRIPT,
            origin="npc",
            at=at,
            place=place,
            data=turn,
        )
        if timeline is None:
            timeline = timeline_of(experiences)
        set_now = value_entries(npc, interlocutor, values or {}, at)
        self._append([transcript, *set_now, *map(entry_of, experiences)], timeline)

    def append_summary(
        self,
        conversation: str,
        npc: str,
        interlocutor: str,
        summary: Summary,
        *,
        at: float = 0.0,
        timeline: int | None = None,
    ) -> None:
        """Writes what stands for the oldest turns of a conversation from now on; the turns stay."""
        entry = summary_entry(summary, npc=npc, interlocutor=interlocutor, conversation=conversation, at=at)
        self._append([entry], timeline)

    def set_value(
        self,
        npc: str,
        interlocutor: str,
        name: str,
        value: float,
        *,
        at: float = 0.0,
        timeline: int | None = None,
    ) -> None:
        """Sets a number that ``npc`` has for ``interlocutor``: trust, mood, a relationship.

        It belongs to the timeline: loading a saved game brings back what it was then.
        """
        self.set_values(npc, interlocutor, {name: value}, at=at, timeline=timeline)

    def set_values(
        self,
        npc: str,
        interlocutor: str,
        values: Mapping[str, float],
        *,
        at: float = 0.0,
        timeline: int | None = None,
    ) -> None:
        """Several of them in one commit.

        Raises MemoryStoreError ``data_invalid`` for what is no finite number; then none is set.
        """
        if values:
            self._append(value_entries(npc, interlocutor, values, at), timeline)

    def take_in(self, fields: Iterable[Mapping[str, Any]]) -> int:
        """Writes records that were exported as fields (`savegame.fields_of`), all or none; how many.

        Raises MemoryStoreError ``import_invalid``, with the number of the one that is wrong.
        """
        entries = savegame.entries_of(fields)
        self._append(entries, None)
        return len(entries)

    # -- reading

    def values(self, npc: str, interlocutor: str) -> dict[str, float]:
        """The numbers that ``npc`` has for ``interlocutor`` now, by name."""
        key = self._journal.timeline, npc, interlocutor
        with self._lock:
            known = self._values.get(key)
            if known is None:
                found: dict[str, float] = {}
                for record in self._journal.values(npc, interlocutor):
                    found.update(cast("Mapping[str, float]", record.data or {}))
                known = self._values[key] = found
            return dict(known)

    def history(self, conversation: str) -> list[dict[str, Any]]:
        """The turns of a conversation as `append_turn` got them, oldest first, on this timeline only."""
        return [dict(record.data or {}) for record in self._journal.transcript(conversation)]

    def summary(self, conversation: str) -> Summary | None:
        """What stands for the oldest turns of a conversation on this timeline, if anything does."""
        record = self._journal.summary(conversation)
        return None if record is None or record.data is None else summary_of(record.data)

    def recall(
        self,
        query: str,
        *,
        npc: str,
        interlocutor: str,
        tags: Collection[str],
        limit: int = 4,
        sentences: int = 0,
        known: Sequence[str] = (),
        now: float | None = None,
        without_turns: Collection[str] = (),
    ) -> list[Passage]:
        """The passages that fit ``query`` best: lore that meets ``tags``, and memories of this interlocutor.

        ``sentences``: only so many of their sentences, those nearest to ``query``, and of what the character has
        ``known`` all along; 0 gives passages whole.

        ``now`` is game time (the newest that was remembered, by default). ``without_turns`` names turns
        whose memories are not wanted because the prompt holds them already. Nothing that fits: [].
        """
        found = self._recaller.recall(
            query,
            npc=npc,
            interlocutor=interlocutor,
            tags=tags,
            limit=limit,
            now=now,
            without_turns=without_turns,
        )
        return nearest_sentences(query, found, sentences, self._near, known) if sentences else found

    def _near(self, texts: Sequence[str]) -> Vectors:
        """Vectors at once: an embedder that takes its time is for the index, not for a turn."""
        nothing = np.zeros((1, 1), np.float32)
        if self._embedder.instant:
            return vectors_or(nothing, self._embedder, texts)
        return np.tile(nothing, (len(texts), 1))

    def records(self, npc: str | None = None, *, interlocutor: str | None = None) -> list[Record]:
        """What the journal holds for an npc (or everybody) and an interlocutor on this timeline, oldest first."""
        return [
            record
            for record in self._journal.visible(npc)
            if interlocutor is None or record.interlocutor in (interlocutor, "")
        ]

    # -- timelines and saved games

    @property
    def timeline(self) -> int:
        """The timeline that is being lived now."""
        return self._journal.timeline

    def save(self, slot: str) -> None:
        """Names this moment, to come back to."""
        self._steer(lambda: self._journal.save(slot))

    def load(self, slot: str) -> None:
        """Goes back to a named moment: what happened after it is not remembered, and not written late.

        What no saved moment can reach now is removed by and by, off the reply path.
        """
        self._steer(lambda: self._journal.load(slot))

    def slots(self) -> list[str]:
        """The names of the saved moments, sorted."""
        return self._journal.slots()

    def delete_slot(self, slot: str) -> None:
        """Forgets the name of a saved moment. What only it could reach is removed by and by."""
        self._steer(lambda: self._journal.delete_slot(slot))

    def export_slot(self, slot: str, file: Path) -> int:
        """Writes all that a saved moment remembers into one file, to ship inside the game's save.

        A file that exists is replaced, whole or not at all. Returns the number of records.

        Raises MemoryStoreError ``slot_unknown`` or ``save_unwritable``.
        """
        records = self._journal.slot_records(slot)
        write_file(file, savegame.encode(slot, records))
        return len(records)

    def import_slot(self, file: Path, slot: str | None = None) -> str:
        """Takes in a file of `export_slot`, also from another machine, and returns the name to `load`.

        ``slot`` is the name it gets; by default the one it had. The same file again costs nothing.

        Raises MemoryStoreError ``save_unreadable``, ``save_foreign``, ``save_newer`` or ``save_damaged``.
        """
        saved = savegame.decode(read_file(file))
        name = saved.slot if slot is None else slot
        self._steer(lambda: self._journal.graft(saved, name))
        self._recaller.put_away()
        self._follower.wake()
        return name

    def collect(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Removes what neither the present nor a saved moment can reach; how many records. Happens by itself, too."""
        removed = self._journal.collect(stop)
        self._follower.removed(removed)
        return sum(removed.values())

    def collected(self, timeout: float) -> bool:
        """Waits until nothing is left to `collect`; False if not in time."""
        return self._collecting.settled(timeout)

    # -- forgetting

    def pin(self, passage: str, *, pinned: bool = True) -> None:
        """Keeps the memory with this passage id for good, or no longer; `trim` passes over it."""
        if (position := position_of(passage)) not in self._journal.read([position]):
            raise MemoryStoreError(
                f"There is no memory {passage!r}.",
                hint="Give the id of a recalled passage, such as memory:12; lore is never forgotten.",
                code="memory_unknown",
            )
        self._journal.mark({}, {position: pinned})

    def trim(self, npc: str, keep: int) -> int:
        """Forgets the least useful memories of ``npc`` until ``keep`` are left; how many were forgotten.

        What is important, recent or often recalled is kept before what is not, and what is pinned always.
        """
        self._journal.mark(self._recaller.take_uses())
        gone = least_useful(self._journal.kept(npc), keep)
        if gone:
            self._journal.remove(gone, [npc])
            self._recaller.remove(npc, gone)
            self._follower.removed([npc])
        return len(gone)

    def capped(self, timeout: float) -> bool:
        """Waits until nobody is over the ``cap`` of `open`, but for what is pinned; False if not in time."""
        return self._caps is None or self._caps.settled(timeout)

    def forget(self, person: str, *, timeout: float = 30.0) -> Forgotten:
        """Erases every trace of a player: what was shared with them or names them, anywhere, and their slots.

        When it returns, nothing of them is in the folder's files any more; files of `export_slot` are the game's to
        delete. Who goes by an id and a name is forgotten by both, one after the other. What a turn that still runs
        writes later is a new record: `npcsdk.dialogue.world.World.forget` sees to those.

        Raises MemoryStoreError ``forget_unfinished`` when the index could not be begun again in time.
        """
        found = erase(self._journal, person)
        self._recaller.put_away()
        with self._lock:
            self._values.clear()
        if found.records and not self._follower.rebuild(timeout):
            raise MemoryStoreError(
                f"The records of {person!r} are erased, but the index that was made of them is not.",
                hint="Close the world and delete the folder `index`; it is made again.",
                code="forget_unfinished",
            )
        self._journal.erased()
        return found

    # -- care

    def warm(self, npc: str) -> None:
        """Begins to make ready to recall for ``npc``, so that its first turn need not; returns at once.

        A turn that comes before much has been read goes by what is newest, the facts, and what the index finds.
        """
        with contextlib.suppress(MemoryStoreError):  # its first turn will say what is wrong
            self._recaller.warm(npc)

    def doctor(self, timeout: float = 600.0) -> Health:
        """Checks the journal's file, compares the index with it record by record, and repairs the index."""
        self._collecting.settled(timeout)  # or it would change while it is compared
        return examine(self._journal, self._follower, timeout)

    def indexed(self, timeout: float) -> bool:
        """Waits until the vector index holds everything written so far; False when it does not in time."""
        return self._follower.wait(timeout)

    def close(self) -> None:
        """Lets the index catch up (a few seconds at most) and the folder go. May be called again."""
        self._collecting.close()
        self._erasing.close()
        if self._caps is not None:
            self._caps.close()
        with contextlib.suppress(MemoryStoreError):  # a count that is lost does no harm
            self._journal.mark(self._recaller.take_uses())
        self._follower.close(_DRAIN)
        self._recaller.close()
        self._journal.close()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside

    def _steer(self, change: Callable[[], object]) -> None:
        before = self._journal.changes
        change()
        if self._journal.changes != before:
            self._collecting.soon()

    def _end_erasing(self, stop: Callable[[], bool]) -> None:
        """A process died while it forgot somebody: what it had removed leaves the files and the index, too."""
        self._journal.scrub()
        while not stop():
            if self._follower.rebuild(1.0):
                self._journal.erased()
                return

    def _append(self, entries: Sequence[Entry], timeline: int | None) -> None:
        self._recaller.write(lambda: self._journal.append(entries, timeline=timeline))
        with self._lock:
            for entry in entries:
                if entry.kind == VALUE:
                    self._values.pop((self._journal.timeline, entry.npc, entry.interlocutor), None)
        self._follower.wake()
        if self._caps is not None:
            self._caps.wrote(Counter(entry.npc for entry in entries if entry.kind not in SILENT))
