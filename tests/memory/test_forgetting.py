"""Forgetting: the least useful first, the pinned never, and a person without a trace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.forgetting import Forgotten, Kept, least_useful, tells_of
from npcsdk.memory.journal import Entry, Journal
from npcsdk.memory.recall import Fact, Memory
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]

KEPT = st.builds(
    Kept,
    seq=st.integers(1, 10**6),
    at=st.floats(-1e12, 1e12),
    importance=st.floats(0, 1),
    uses=st.integers(0, 10**6),
    pinned=st.booleans(),
)


@given(st.lists(KEPT, unique_by=lambda each: each.seq, max_size=30), st.integers(-2, 40))
def test_as_many_go_as_must_and_never_a_pinned_one(kept: list[Kept], keep: int) -> None:
    gone = least_useful(kept, keep)
    loose = {each.seq for each in kept if not each.pinned}
    assert loose.issuperset(gone)
    assert len(gone) == min(max(len(kept) - max(keep, 0), 0), len(loose))


def test_the_unimportant_the_old_and_the_unused_go_first() -> None:
    year = 365 * 86_400.0
    plain = Kept(seq=1, at=0.0, importance=0.5, uses=0, pinned=False)
    kept = [
        plain,
        Kept(seq=2, at=0.0, importance=0.9, uses=0, pinned=False),
        Kept(seq=3, at=year, importance=0.5, uses=0, pinned=False),
        Kept(seq=4, at=0.0, importance=0.5, uses=9, pinned=False),
    ]
    assert least_useful(kept, 3) == [1]


def test_what_is_trimmed_is_gone_from_recall_and_index_and_stays_gone(
    tmp_path: Path, open_memory: Open
) -> None:
    memory = open_memory(tmp_path)
    memory.remember(
        event("The heron met a fox.", importance=0.1),
        event("The heron met a cow.", importance=0.9),
        event("The heron met a bear.", importance=0.2),
    )
    memory.set_value("mira", "player", "trust", 7)
    assert memory.indexed(60)
    found = memory.recall("heron fox", npc="mira", interlocutor="player", tags=())
    (fox,) = (passage for passage in found if "fox" in passage.text)
    memory.pin(fox.id)
    assert memory.trim("mira", 2) == 1
    assert sorted(texts(memory, "heron")) == ["The heron met a cow.", "The heron met a fox."]
    assert memory.indexed(60)
    index = memory._follower.index
    assert index is not None
    assert index.positions("mira") == {1, 2}
    memory.close()
    again = open_memory(tmp_path)
    assert sorted(texts(again, "heron")) == ["The heron met a cow.", "The heron met a fox."]
    assert again.values("mira", "player") == {"trust": 7}
    again.pin(fox.id, pinned=False)
    assert again.trim("mira", 1) == 1
    assert texts(again, "heron") == ["The heron met a cow."]


def test_what_was_recalled_often_is_kept(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.remember(event("The heron met a fox."), event("The stork met a cow."))
    for _ in range(5):
        texts(memory, "heron")
    memory.trim("mira", 1)
    assert texts(memory, "the fox and the cow") == ["The heron met a fox."]


@pytest.mark.parametrize("passage", ["gate", "memory:99", "memory:", "memory:x", ""])
def test_only_memories_can_be_pinned(open_memory: Open, passage: str) -> None:
    with pytest.raises(MemoryStoreError) as caught:
        open_memory(None).pin(passage)
    assert caught.value.code == "memory_unknown"


def test_a_person_is_forgotten_without_a_trace(tmp_path: Path, open_memory: Open) -> None:
    """The files on disk are searched for the texts, while memory is open and after it is closed."""
    memory = open_memory(tmp_path)
    memory.remember(
        *(
            event(f"Quetzalcoatla bought {number} herons.", interlocutor="Quetzalcoatla")
            for number in range(80)
        ),
        event("The zanzibarium was hers.", interlocutor="Quetzalcoatla", npc="bram"),
        event("I saw quetzalcoatla steal a zanzibarium.", interlocutor="ann"),
        event("Quetzalcoatlas are another kind.", interlocutor="ann"),
        event("Ann likes herons.", interlocutor="ann"),
    )
    memory.append_turn("talk-1", "mira", "Quetzalcoatla", {"line": "zanzibarium!"})
    memory.learn(Fact(npc="mira", subject="Quetzalcoatla", attribute="hat", value="zanzibarium"))
    memory.set_value("mira", "Quetzalcoatla", "trust", 3)
    memory.save("Quetzalcoatla 1")
    memory.save("ann 1")
    assert memory.indexed(60)
    assert memory.forget("Quetzalcoatla") == Forgotten(records=85, slots=1)
    assert memory.indexed(60)
    assert memory.slots() == ["ann 1"]
    assert memory.values("mira", "Quetzalcoatla") == {}
    assert memory.history("talk-1") == []
    assert texts(memory, "zanzibarium", interlocutor="Quetzalcoatla") == []
    assert texts(memory, "herons", interlocutor="ann") == ["Ann likes herons."]
    for when in ("open", "closed"):
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert files
        for path in files:
            content = path.read_bytes().lower()
            assert b"zanzibarium" not in content, (when, path)
            assert b"quetzalcoatla\x00" not in content, (when, path)
            assert content.count(b"quetzalcoatla") == content.count(b"quetzalcoatlas"), (when, path)
        memory.close()
    again = open_memory(tmp_path)
    again.load("ann 1")
    assert texts(again, "herons", interlocutor="ann") == ["Ann likes herons."]
    assert again.indexed(60)


def test_what_was_half_forgotten_when_the_process_died_leaves_no_trace_after_the_next_start(
    tmp_path: Path, open_memory: Open
) -> None:
    memory = open_memory(tmp_path)
    memory.remember(event("The zanzibarium was hers.", interlocutor="Ada"), event("Ann likes herons."))
    assert memory.indexed(60)
    journal = memory._journal
    with pytest.MonkeyPatch.context() as patch:

        def dies() -> None:
            raise KeyboardInterrupt

        patch.setattr(journal, "scrub", dies)
        with pytest.raises(KeyboardInterrupt):
            memory.forget("Ada")
    assert journal.half_erased
    memory.close()
    before = {path.name for path in (tmp_path / "index").iterdir()}
    again = open_memory(tmp_path)
    assert again._erasing.settled(30)
    assert not again._journal.half_erased
    assert {path.name for path in (tmp_path / "index").iterdir()} != before
    assert again.indexed(60)
    assert texts(again, "herons") == ["Ann likes herons."]
    again.close()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"zanzibarium" not in path.read_bytes()


NAMES = st.sampled_from(
    [
        "Ada",
        "ada",
        "Élodie",
        "İda",
        "a-a",
        "K",
        "straße",
        "100%",
        "a_d",
        "\x00",
        "a\x00b",
        " ",
        "",
        "\\",
        '"',
        "n",
    ]
)
PARTS = st.text(st.sampled_from('aAd%_! \x00\x01\n-"\\éÉİıKſßn'), max_size=6)
TEXTS = st.builds(lambda *parts: "".join(parts), PARTS, NAMES | st.just(""), PARTS)


@settings(max_examples=30)
@given(
    person=NAMES,
    written=st.lists(
        st.builds(
            Entry,
            npc=st.just("mira"),
            interlocutor=NAMES,
            kind=st.sampled_from(["event", "transcript", "summary"]),
            origin=st.just("game"),
            text=TEXTS,
            conversation=st.sampled_from(["", "talk", "talk with Ada"]),
            turn=st.just("") | TEXTS,
            place=st.just("") | TEXTS,
            data=st.none() | st.dictionaries(TEXTS, TEXTS | st.integers(), max_size=2),
        ),
        max_size=8,
    ),
)
def test_all_that_tells_of_somebody_is_found_and_nothing_else(person: str, written: list[Entry]) -> None:
    """The quick search finds what the definition says, whatever the name and the texts are."""
    with closing(Journal()) as journal:
        journal.append(written)
        told = journal.traces(tells_of(person))
        talks = {record.conversation for record in told} - {""}
        made = journal.traces(lambda record: record.kind == "summary" and record.conversation in talks)
        assert journal.traces_of(person) == sorted({record.seq for record in told + made})


def test_forgetting_somebody_unknown_does_nothing(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.remember(event("The heron."), event("The heron of nobody in particular.", interlocutor=""))
    assert memory.forget("noone") == Forgotten(records=0, slots=0)
    assert memory.forget("") == Forgotten(records=0, slots=0)
    assert len(texts(memory, "heron")) == 2


# -- caps


def test_what_was_un_done_goes_before_what_is_remembered(open_memory: Open) -> None:
    memory = open_memory(None)
    memory._collecting.close()  # a memory at its cap does not wait for that
    memory.save("here")
    memory.remember(event("The heron met a fox.", importance=1.0))
    memory.load("here")
    memory.remember(event("The heron met a cow.", importance=0.0))
    assert memory.trim("mira", 1) == 1
    assert texts(memory, "heron") == ["The heron met a cow."]


def test_a_memory_stays_within_its_cap_by_itself(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path, index="exact", cap=20)
    memory.remember(
        event("The heron met a fox.", importance=0.9), event("The stork met a cow.", importance=0.0)
    )
    memory.pin("memory:2")
    for number in range(60):
        memory.remember(event(f"Cart {number} rolled by.", at=float(number), importance=0.1))
    memory.remember(event("The crane met a crow.", npc="bram", importance=0.0))
    assert memory.capped(30)
    kept = [record.text for record in memory.records("mira")]
    assert len(kept) <= 20
    assert kept[:2] == ["The heron met a fox.", "The stork met a cow."]  # important; pinned
    assert kept[-1] == "Cart 59 rolled by."
    assert len(memory.records("bram")) == 1
    memory.close()
    again = open_memory(tmp_path, index="exact", cap=10)  # it has become smaller
    again.remember(event("The last cart rolled by.", at=60.0))
    assert again.capped(30)
    assert len(again.records("mira")) <= 10
    assert texts(again, "stork") == ["The stork met a cow."]


def test_more_pinned_than_the_cap_stay_and_are_not_looked_at_with_every_write(open_memory: Open) -> None:
    memory = open_memory(None, cap=30)
    memory.remember(*(event(f"Heron {number} flew.") for number in range(30)))
    for number in range(30):
        memory.pin(f"memory:{number + 1}")
    looked: list[int] = []
    kept = memory._journal.kept
    memory._journal.kept = lambda npc: looked.append(1) or kept(npc)  # type: ignore[method-assign,func-returns-value]
    for number in range(30):
        memory.remember(event(f"Cart {number} rolled by."))
        assert memory.capped(30)
    assert len(looked) <= 11
    assert sum(record.text.startswith("Heron") for record in memory.records("mira")) == 30
    assert len(memory.records("mira")) < 36


def test_what_is_written_while_a_memory_is_trimmed_counts(open_memory: Open) -> None:
    memory = open_memory(None, cap=10)
    assert memory._caps is not None
    count = memory._journal.count
    late = iter([True])

    def slow(npc: str) -> int:
        held = count(npc)
        if next(late, False):  # between the counting and the trimming
            memory.remember(*(event(f"Late cart {number} rolled by.") for number in range(10)))
        return held

    memory._caps._count = slow
    memory.remember(*(event(f"Cart {number} rolled by.") for number in range(8)))
    assert memory.capped(30)
    assert len(memory.records("mira")) <= 10


@pytest.mark.parametrize("held", [1, 19, 20, 21])
def test_a_cap_holds_however_many_there_are_when_they_are_counted_first(open_memory: Open, held: int) -> None:
    memory = open_memory(None, cap=20)
    assert memory._caps is not None
    count, written = memory._caps._count, threading.Event()

    def late(npc: str) -> int:
        written.wait(30)
        return count(npc)

    memory._caps._count = late
    memory.remember(event("Cart 1 rolled by."))
    memory.remember(*(event(f"Cart {number} rolled by.") for number in range(1, held)))
    written.set()
    assert memory.capped(30)
    for number in range(held, 25):
        memory.remember(event(f"Cart {number} rolled by."))
        assert memory.capped(30)
        assert len(memory.records("mira")) <= 20


def test_a_cap_that_cannot_be_kept_now_is_kept_later(
    open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory(None, cap=10)
    with monkeypatch.context() as patch:

        def full(*args: object) -> None:
            raise MemoryStoreError("full", hint="", code="disk_full")

        patch.setattr(memory._journal, "remove", full)
        memory.remember(*(event(f"Heron {number} flew.") for number in range(15)))
        assert memory.capped(30)
        assert len(memory.records("mira")) == 15
    memory.remember(event("The last heron flew."))
    assert memory.capped(30)
    assert len(memory.records("mira")) <= 10
