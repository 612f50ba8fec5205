"""Facts over time, and numbers that belong to the timeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.recall import Fact, Hearsay, Knowledge, Memory, group_owner
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]


def gate(value: str, **fields: Any) -> Fact:
    given: dict[str, Any] = {"npc": "mira", "subject": "the iron gate", "attribute": "state"}
    return Fact(value=value, text=f"The iron gate is {value}.", **{**given, **fields})


def test_the_newest_fact_is_recalled_and_the_journal_keeps_both(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path)
    memory.learn(gate("closed"))
    assert texts(memory, "what of the iron gate?") == ["The iron gate is closed."]
    memory.learn(gate("open", subject="The Iron Gate"))
    assert texts(memory, "what of the iron gate?") == ["The iron gate is open."]
    assert memory.indexed(60)
    assert texts(memory, "what of the iron gate?") == ["The iron gate is open."]
    assert [record.text for record in memory._journal.of_npc("mira")] == [
        "The iron gate is closed.",
        "The iron gate is open.",
    ]
    memory.close()
    assert texts(open_memory(tmp_path), "what of the iron gate?") == ["The iron gate is open."]


def test_other_attributes_and_subjects_stay(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.learn(gate("closed"), gate("rusty", attribute="look"), gate("open", subject="the iron gate below"))
    assert len(texts(memory, "the iron gate")) == 3


def test_a_fact_without_a_text_is_a_sentence(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.learn(Fact(npc="mira", subject="the mill", attribute="owner", value="Oda"))
    assert texts(memory, "who is the owner of the mill?") == ["the mill: owner is Oda."]


def test_loading_a_save_brings_the_older_fact_back(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.learn(gate("closed"))
    memory.save("before")
    memory.learn(gate("open"))
    memory.load("before")
    assert texts(memory, "the iron gate") == ["The iron gate is closed."]
    memory.learn(gate("broken"))
    assert texts(memory, "the iron gate") == ["The iron gate is broken."]


def test_a_fact_that_one_cannot_know_replaces_nothing(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.learn(gate("closed"), gate("open", interlocutor="ann"), gate("gone", npc="bram"))
    assert texts(memory, "the iron gate", interlocutor="bo") == ["The iron gate is closed."]
    assert texts(memory, "the iron gate", interlocutor="ann") == ["The iron gate is open."]


def test_news_replaces_what_was_known_when_it_arrives(open_memory: Open) -> None:
    knowledge = Knowledge(hearsay=(Hearsay(speaker="bram", listener="mira", delay=60.0),))
    memory = open_memory(None, knowledge=knowledge)
    memory.learn(gate("closed", at=0.0), gate("open", npc="bram", at=100.0))
    assert texts(memory, "the iron gate", now=159.0) == ["The iron gate is closed."]
    assert texts(memory, "the iron gate", now=160.0) == ["The iron gate is open."]
    assert texts(memory, "the iron gate", npc="bram", now=100.0) == ["The iron gate is open."]


def test_old_news_does_not_vanish_while_new_news_is_under_way(open_memory: Open) -> None:
    knowledge = Knowledge(hearsay=(Hearsay(speaker="bram", listener="mira", delay=60.0),))
    memory = open_memory(None, knowledge=knowledge)
    memory.learn(gate("closed", npc="bram", at=0.0), gate("open", npc="bram", at=100.0))
    assert texts(memory, "the iron gate", now=110.0) == ["The iron gate is closed."]
    assert texts(memory, "the iron gate", now=170.0) == ["The iron gate is open."]


def test_a_groups_fact_replaces_a_members(open_memory: Open) -> None:
    knowledge = Knowledge(groups=(group("watch", "mira"),))
    memory = open_memory(None, knowledge=knowledge)
    memory.learn(gate("closed"), gate("open", npc=group_owner("watch")))
    assert texts(memory, "the iron gate") == ["The iron gate is open."]


def group(name: str, *members: str) -> Any:
    from npcsdk.memory.recall import Group

    return Group(id=name, members=members)


# -- values


def test_values_follow_the_timeline_and_outlive_the_process(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path)
    assert memory.values("mira", "ann") == {}
    memory.set_value("mira", "ann", "trust", 20)
    memory.set_value("mira", "ann", "mood", -0.5)
    memory.set_value("mira", "bo", "trust", 90)
    memory.save("slot")
    memory.append_turn("talk", "mira", "ann", {}, values={"trust": 35})
    assert memory.values("mira", "ann") == {"trust": 35, "mood": -0.5}
    memory.load("slot")
    assert memory.values("mira", "ann") == {"trust": 20, "mood": -0.5}
    assert memory.values("bram", "ann") == {}
    memory.close()
    assert open_memory(tmp_path).values("mira", "bo") == {"trust": 90}


def test_values_are_never_recalled(open_memory: Open) -> None:
    memory = open_memory(None)
    memory.set_value("mira", "player", "trust", 20)
    memory.remember(event("A heron came."))
    assert texts(memory, "trust") == []
    assert memory.indexed(60)
    assert memory._journal.counts(upto=99) == {"mira": 1}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, [1]])
def test_a_value_that_cannot_be_compared_is_refused(open_memory: Open, value: Any) -> None:
    with pytest.raises(MemoryStoreError) as caught:
        open_memory(None).set_value("mira", "player", "trust", value)
    assert caught.value.code == "data_invalid"


@given(
    st.lists(
        st.tuples(st.sampled_from("vsl"), st.sampled_from(["trust", "mood"]), st.integers()), max_size=30
    )
)
@settings(max_examples=60, deadline=None)
def test_values_are_those_of_the_moment(steps: list[tuple[str, str, int]]) -> None:
    memory = Memory.open(None)
    now: dict[str, float] = {}
    saved: dict[str, dict[str, float]] = {}
    for step, name, number in steps:
        number %= 1000
        if step == "v":
            memory.set_value("mira", "ann", name, number)
            now[name] = number
        elif step == "s":
            memory.save(name)
            saved[name] = dict(now)
        elif name in saved:
            memory.load(name)
            now = dict(saved[name])
        assert memory.values("mira", "ann") == now
    memory.close()
