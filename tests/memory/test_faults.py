"""What goes wrong on players' machines: nothing acknowledged is lost, and what was remembered comes back as it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.recall import Memory
from tests.memory.helpers import LORE, event, texts

Open = Callable[..., Memory]

TEXTS = {
    "arabic": "حارس البوابة الشمالية نائم",
    "hebrew and latin": "השומר said: שלום to Bram",
    "devanagari": "उत्तरी द्वार का पहरेदार सो रहा है",
    "chinese": "北門的守衛睡著了",
    "thai": "ยามที่ประตูทิศเหนือกำลังหลับ",
    "family": "The family \U0001f468\u200d\U0001f469\u200d\U0001f467 moved into the mill",
    "overridden": "\u202eruby\u202c below the oak",
    "nul": "the guard\x00sleeps",
    "combining": "Zu\u0308rich u\u0308ber alles",
    "long": "The guard sleeps. " * 6_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_remembered_recalled_saved_and_moved_as_it_came(
    tmp_path: Path, open_memory: Open, text: str
) -> None:
    memory = open_memory(tmp_path / "one", index="exact")
    memory.remember(event(text))
    memory.append_turn("c", "mira", "player", {"line": text})
    assert texts(memory, text) == [text]
    memory.save("here")
    memory.export_slot("here", tmp_path / "save")
    memory.close()
    other = open_memory(tmp_path / "two", index="exact")
    other.load(other.import_slot(tmp_path / "save"))
    assert texts(other, text) == [text]
    assert other.history("c") == [{"line": text}]


@pytest.mark.parametrize("text", ["half \ud83d of a pair", "\udc00"])
def test_what_is_no_text_is_refused_by_name(open_memory: Open, text: str) -> None:
    memory = open_memory(None)
    with pytest.raises(MemoryStoreError) as caught:
        memory.remember(event("good"), event(text))
    assert caught.value.code == "text_invalid"
    assert memory.records() == []


def test_a_wall_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(2_000_000_000, 0, -86_400))
    monkeypatch.setattr("npcsdk.memory.journal.time.time", lambda: float(next(clock)))
    memory = open_memory(tmp_path, index="exact")
    for number in range(5):
        memory.append_turn("c", "mira", "player", {"turn": number})
        memory.set_value("mira", "player", "trust", number)
        memory.save(f"slot {number}")
    memory.load("slot 2")
    assert [turn["turn"] for turn in memory.history("c")] == [0, 1, 2]
    assert memory.values("mira", "player") == {"trust": 2}
    memory.close()
    again = open_memory(tmp_path, index="exact")
    assert [turn["turn"] for turn in again.history("c")] == [0, 1, 2]


def test_a_full_disk_ends_the_write_not_the_game(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path, index="exact")
    memory.remember(event("The heron met a fox."))
    store = memory._journal._store
    with store.lock:
        pages = store.db.execute("PRAGMA page_count").fetchone()[0]
        store.db.execute(f"PRAGMA max_page_count = {pages + 1}")
    for write in (
        lambda: memory.remember(event("The stork met a cow. " * 5_000)),
        lambda: memory.append_turn("c", "mira", "player", {"line": "x" * 100_000}),
        lambda: memory.set_values("mira", "player", {f"value {number}": 1.0 for number in range(9_000)}),
    ):
        with pytest.raises(MemoryStoreError) as caught:
            write()
        assert caught.value.code == "disk_full"
        assert caught.value.hint
    assert texts(memory, "heron") == ["The heron met a fox."]  # recall goes on
    assert texts(memory, "stork") == []
    assert memory.history("c") == []
    with store.lock:
        store.db.execute("PRAGMA max_page_count = 1000000")
    memory.remember(event("The stork met a cow."))
    assert texts(memory, "stork") == ["The stork met a cow."]


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted there")
def test_an_index_that_is_deleted_under_a_running_game_is_made_again(
    tmp_path: Path, open_memory: Open
) -> None:
    memory = open_memory(tmp_path)
    memory.remember(event("The heron met a fox."))
    assert memory.indexed(60)
    shutil.rmtree(tmp_path / "index")
    memory.remember(event("The stork met a cow."))
    assert texts(memory, "heron") == ["The heron met a fox."]
    assert texts(memory, "stork") == ["The stork met a cow."]
    memory.close()
    again = open_memory(tmp_path)
    again.remember(event("The crane met a crow."))
    health = again.doctor(60)
    assert health.well, health
    index = again._follower.index
    assert index is not None
    assert index.positions("mira") == {1, 2, 3}


@pytest.mark.parametrize(
    "line",
    ["the northern gate", "the northren gaet", "when was the mine flooded", "what do they brew", "drowning"],
)
def test_whatever_is_recalled_says_why(open_memory: Open, line: str) -> None:
    memory = open_memory(None, LORE)
    memory.remember(event("The brewer drowned a rat in the northern vat.", importance=0.9))
    found = memory.recall(line, npc="mira", interlocutor="player", tags={"cult"}, now=10.0)
    assert found
    assert all(passage.reason and passage.source and passage.id for passage in found)


def test_weights_decide(open_memory: Open) -> None:
    """The same memories, the same question: a world that cares for what is new, and one that cares for what matters."""
    from npcsdk.memory.recall import Weights

    notes = (
        event("A pedlar sold salt at the gate.", at=0.0, importance=1.0),
        event("A pedlar sold combs at the gate.", at=1e6, importance=0.0),
    )
    first: list[str] = []
    for weights in (Weights(recency=2.0, importance=0.0), Weights(recency=0.0, importance=2.0)):
        memory = open_memory(None, weights=weights)
        memory.remember(*notes)
        first.append(texts(memory, "Which pedlar sold at the gate?", now=1e6)[0])
    assert ["combs" in first[0], "salt" in first[1]] == [True, True]
