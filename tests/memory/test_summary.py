"""What stands for the oldest turns: the lines that say most, by who said them, and only what was said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.recall import Memory, Summary, Told, condense, usable
from npcsdk.memory.summary import summary_of
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]

TALK = (
    Told(origin="player", text="Good day to you!", turn="1"),
    Told(origin="npc", text="And to you.", turn="1"),
    Told(origin="player", text="My dog is called Wolfgang. It is fine weather.", turn="2"),
    Told(origin="npc", text="A good name for a dog.", turn="2"),
    Told(origin="game", text="The bridge over the Ash collapsed.", turn="3"),
    Told(origin="player", text="Is there another bridge?", turn="4"),
    Told(origin="npc", text="The ferryman Oswin takes travellers across for two pennies.", turn="4"),
)
TOLD = st.builds(Told, origin=st.sampled_from(["game", "player", "npc"]), text=st.text(max_size=60))


def letters(most: int) -> Callable[[Sequence[Told]], bool]:
    return lambda lines: sum(len(line.text) for line in lines) <= most


def test_what_says_something_is_kept_in_order_and_small_talk_is_not() -> None:
    kept = [line.text for line in condense(TALK, letters(150))]
    assert kept == [
        "My dog is called Wolfgang.",
        "The bridge over the Ash collapsed.",
        "The ferryman Oswin takes travellers across for two pennies.",
    ]


def test_what_the_game_told_goes_first() -> None:
    (only,) = condense(TALK, letters(40))
    assert only.origin == "game"


def test_what_was_said_before_is_not_kept_twice() -> None:
    again = [*TALK, *TALK]
    assert len(condense(again, letters(10_000))) == len(condense(TALK, letters(10_000)))


@given(st.lists(TOLD, max_size=12), st.integers(0, 200))
def test_it_always_fits_and_every_line_is_somebodys(told: list[Told], most: int) -> None:
    kept = condense(told, letters(most))
    assert sum(len(line.text) for line in kept) <= most
    for line in kept:
        assert any(line.origin == each.origin and line.text in " ".join(each.text.split()) for each in told)


def test_a_text_says_who_said_what() -> None:
    text = Summary(lines=TALK[2:5], prose="They spoke of dogs.", upto="3", turns=3).text("anselm")
    assert "anselm said: My dog" in text
    assert "You said: A good name" in text
    assert "It happened: The bridge" in text
    assert "You remember it so: They spoke of dogs." in text
    assert Summary().text("anselm") == ""


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("Anselm has a dog called Wolfgang. The bridge collap", "Anselm has a dog called Wolfgang."),
        ("Anselm has a dog called Wolfgang", ""),  # it may go on with "who is dead"
        ("The dragon Smaug burnt the harbour and the temple.", ""),
        ("Good day. And to you.", ""),
        ("A dog. " * 30, ""),
        ("", ""),
    ],
)
def test_only_whole_sentences_about_what_was_said_are_believed(written: str, used: str) -> None:
    assert usable(written, [*(line.text for line in TALK), "Anselm"]) == used


def test_a_summary_follows_the_timeline_and_outlives_the_process(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path)
    first = Summary(lines=TALK[2:5], upto="3", turns=3)
    second = Summary(lines=TALK[4:5], prose="They spoke of dogs.", upto="4", turns=4)
    memory.append_summary("c", "mira", "player", first)
    memory.save("here")
    memory.append_summary("c", "mira", "player", second)
    assert memory.summary("c") == second
    assert memory.summary("another") is None
    memory.close()
    again = open_memory(tmp_path)
    assert again.summary("c") == second
    timeline = again.timeline
    again.load("here")
    assert again.summary("c") == first
    with pytest.raises(MemoryStoreError, match="timeline"):
        again.append_summary("c", "mira", "player", second, timeline=timeline)


def test_a_models_words_are_nobodys_fact_and_are_never_recalled(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.append_summary("c", "mira", "player", Summary(lines=TALK[4:5], upto="3", turns=3))
    memory.append_summary("c", "mira", "player", Summary(prose="The bridge is of gold.", upto="3", turns=3))
    memory.append_summary("c", "mira", "player", Summary(lines=TALK[2:5], upto="3", turns=3))
    assert [record.origin for record in memory.records()] == ["game", "npc", "npc"]
    assert texts(memory, "bridge") == []


def test_a_person_is_forgotten_from_summaries_too_also_where_it_is_not_named(
    tmp_path: Path, open_memory: Open
) -> None:
    memory = open_memory(tmp_path)
    memory.append_turn("c", "mira", "ann", {"turn": "1", "line": "Quetzalcoatla owns a zanzibarium."})
    memory.append_summary("c", "mira", "ann", Summary(prose="She has a zanzibarium.", upto="1", turns=1))
    memory.append_summary("d", "mira", "ann", Summary(lines=TALK, upto="9", turns=9))
    memory.remember(event("Ann likes herons.", interlocutor="ann"))
    memory.forget("Quetzalcoatla")
    assert memory.summary("c") is None
    assert memory.summary("d") is not None
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"zanzibarium" not in path.read_bytes().lower()


def test_a_damaged_summary_is_read_as_far_as_it_goes() -> None:
    data = {"lines": [{"origin": "god", "text": "x"}, "y", {"origin": "npc", "text": "z"}], "turns": "many"}
    assert summary_of(data) == Summary(lines=(Told(origin="npc", text="z"),))
    assert summary_of({}) == Summary()
