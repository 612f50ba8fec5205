"""Who knows what. A character never recalls what it could not know: every pair is tried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from npcsdk.memory.knowledge import Channel
from npcsdk.memory.recall import WORLD, Experience, Group, Hearsay, Knowledge, Memory, group_owner
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]

NPCS = ("guard", "captain", "reeve", "baker", "miller", "thief")
PLAYERS = ("ann", "bo")
WATCH = Group(id="watch", members=("guard", "captain"))
GUILD = Group(id="guild", members=("baker", "miller"))
RULES = Knowledge(
    groups=(WATCH, GUILD),
    hearsay=(
        Hearsay(speaker="guard", listener="captain", delay=100.0, certainty=0.8),
        Hearsay(speaker="captain", listener="reeve", delay=1000.0, certainty=0.5),
        Hearsay(speaker="guild", listener="thief", delay=10.0, certainty=0.9),
        Hearsay(speaker="thief", listener="watch", delay=5.0, certainty=0.6, importance=0.8),
    ),
)


@dataclass(frozen=True)
class Told:
    """Whose memories reach a listener, and how long that takes; written by hand, not taken from the code."""

    delay: float
    importance: float = 0.0


# listener -> owner -> when. What is not here must never be known.
ALLOWED: dict[str, dict[str, Told]] = {
    "guard": {"guard": Told(0), "watch": Told(0), "thief": Told(5, 0.8), "baker": Told(15, 0.8)}
    | {"miller": Told(15, 0.8), "guild": Told(15, 0.8)},
    "captain": {"captain": Told(0), "watch": Told(0), "guard": Told(100), "thief": Told(5, 0.8)}
    | {"baker": Told(15, 0.8), "miller": Told(15, 0.8), "guild": Told(15, 0.8)},
    "reeve": {"reeve": Told(0), "captain": Told(1000), "guard": Told(1100), "thief": Told(1005, 0.8)}
    | {"baker": Told(1015, 0.8), "miller": Told(1015, 0.8), "guild": Told(1015, 0.8)},
    "baker": {"baker": Told(0), "guild": Told(0)},
    "miller": {"miller": Told(0), "guild": Told(0)},
    "thief": {"thief": Told(0), "baker": Told(10), "miller": Told(10), "guild": Told(10)},
}
OWNERS = {**{npc: npc for npc in NPCS}, "watch": group_owner("watch"), "guild": group_owner("guild")}
AT = 50.0


CASES = list(product(OWNERS, (*PLAYERS, ""), ("event", "turn"), (0.5, 0.9)))


def word(number: int) -> str:
    """A word that no other memory has."""
    return "".join("bdfgklmnprstvz"[int(digit)] + "aeiouaeiou"[int(digit)] for digit in f"{number:03}") + "k"


LIVED = [
    Experience(
        npc=OWNERS[name],
        interlocutor=about,
        kind=kind,  # type: ignore[arg-type]
        origin="game",
        text=f"The {word(number)} flew over the mill.",
        at=AT,
        importance=importance,
    )
    for number, (name, about, kind, importance) in enumerate(CASES)
]


def known(listener: str, player: str, now: float) -> set[str]:
    """The words that the listener may know."""
    expected = {"heron"}
    for number, (name, about, kind, importance) in enumerate(CASES):
        told = ALLOWED[listener].get(name)
        if told is None or about not in (player, "") or AT + told.delay > now:
            continue
        if told.delay and (kind == "turn" or importance < told.importance):
            continue
        expected.add(word(number))
    return expected


def recalled(memory: Memory, listener: str, player: str, now: float, asked: Iterable[str]) -> set[str]:
    """The words that come to the listener's mind."""
    return {
        text.split()[1]
        for each in asked
        for text in texts(memory, each, npc=listener, interlocutor=player, now=now)
    }


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    memory = Memory.open(tmp_path_factory.mktemp("memory"), index="exact", knowledge=RULES)
    memory.remember(*LIVED, event("The heron flew over the mill.", npc=WORLD, interlocutor="", at=AT))
    assert memory.indexed(60)
    yield memory
    memory.close()


@pytest.mark.parametrize("listener", NPCS)
@pytest.mark.parametrize("player", PLAYERS)
def test_everybody_knows_what_it_may_and_nothing_else(memory: Memory, listener: str, player: str) -> None:
    words = ["heron", *map(word, range(len(CASES)))]
    for now in (54.0, 1e9):
        assert recalled(memory, listener, player, now, words) == known(listener, player, now)
    late = known(listener, player, 1e9) - known(listener, player, 54.0)
    for now in (60.0, 65.0, 150.0):  # what takes its time to come
        assert recalled(memory, listener, player, now, late) - {"heron"} == known(
            listener, player, now
        ).intersection(late)


def test_nor_does_anybody_in_the_first_turn_while_memories_are_still_being_read(
    tmp_path: Path, open_memory: Open, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npcsdk.memory.recaller._READING", 0.0)
    monkeypatch.setattr("npcsdk.memory.recaller._GLIMPSE_PATIENCE", 60.0)
    memory = open_memory(tmp_path, index="exact", knowledge=RULES)
    memory.remember(*LIVED)
    assert memory.indexed(60)
    told = [number for number, case in enumerate(CASES) if case[2:] == ("event", 0.9)]
    for listener in NPCS:
        expected = known(listener, "ann", 54.0).intersection(map(word, told))
        assert recalled(memory, listener, "ann", 54.0, map(word, told)) & set(map(word, told)) == expected


def test_hearsay_says_from_whom_and_counts_less(open_memory: Open) -> None:
    memory = open_memory(None, knowledge=RULES)
    memory.remember(event("The heron flew over the mill.", npc="guard", at=0.0))
    asked = {"npc": "captain", "interlocutor": "player", "tags": (), "now": 200.0}
    heard = memory.recall("the heron over the mill", **asked)[0]  # type: ignore[arg-type]
    there = memory.recall("the heron over the mill", **{**asked, "npc": "guard"})[0]  # type: ignore[arg-type]
    assert "heard from guard" in heard.reason
    assert "heard" not in there.reason
    assert heard.score == pytest.approx(0.8 * there.score)


def test_hearsay_is_un_done_with_what_it_tells(open_memory: Open) -> None:
    memory = open_memory(None, knowledge=RULES)
    memory.save("slot")
    memory.remember(event("The heron flew over the mill.", npc="guard", at=0.0))
    assert texts(memory, "heron", npc="captain", now=500.0)
    memory.load("slot")
    assert texts(memory, "heron", npc="captain", now=500.0) == []


def test_word_comes_the_quickest_way_and_never_in_circles() -> None:
    rules = Knowledge(
        hearsay=(
            Hearsay(speaker="a", listener="b", delay=10.0, certainty=0.5),
            Hearsay(speaker="b", listener="c", delay=10.0, certainty=0.5),
            Hearsay(speaker="a", listener="c", delay=100.0, certainty=1.0),
            Hearsay(speaker="c", listener="a", delay=1.0, certainty=0.9),
        )
    )
    ways = {channel.owner: channel for channel in rules.channels("c")}
    kinds = frozenset({"event", "fact", "note"})
    assert ways["a"] == Channel(owner="a", heard_from="b", delay=20.0, certainty=0.25, kinds=kinds)
    assert set(ways) == {"a", "b", "c", WORLD}
    assert ways["c"] == Channel(owner="c")


def test_what_is_hardly_certain_is_not_told_on() -> None:
    chain = tuple(
        Hearsay(speaker=str(number), listener=str(number + 1), certainty=0.5) for number in range(9)
    )
    known = {channel.owner for channel in Knowledge(hearsay=chain).channels("9")}
    assert known == {"9", "8", "7", "6", "5", WORLD}


def test_conversations_are_gossip_only_where_a_rule_says_so(tmp_path: Path, open_memory: Open) -> None:
    rule = Hearsay(speaker="guard", listener="captain", kinds=("turn",))
    memory = open_memory(None, knowledge=Knowledge(hearsay=(rule,)))
    memory.remember(event("ann said: I stole the heron.", npc="guard", kind="turn", origin="player"))
    memory.remember(event("The heron was found.", npc="guard"))
    assert texts(memory, "the heron", npc="captain") == ["ann said: I stole the heron."]
