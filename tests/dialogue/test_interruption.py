"""What the game's director and an impatient player do: interrupt, prepare, set values, save and load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.formats import load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.dialogue.history import heard_messages
from npcsdk.errors import ActionError, MemoryStoreError, WorldError
from npcsdk.events import Action, End, Refused
from npcsdk.prompt.templates import ChatMessage

FORMAT = load_format("nemotron")
WAVE = FORMAT.render_call("wave", {})
BOW = FORMAT.render_call("bow", {})
SPOKEN = "The silver lies behind the mill. Tell nobody of the amber crown."


# -- a client's own actions


def test_a_clients_actions_are_offered_in_its_conversations_only(open_world: Any) -> None:
    world, _ = open_world([BOW, BOW])
    mine = [ActionDefinition(name="bow", description="Bow.")]
    first = list(world.open("bram", actions=lambda: mine).say("Bow to me!"))
    second = list(world.open("bram").say("Bow to me!"))
    assert [event.name for event in first if isinstance(event, Action)] == ["bow"]
    assert [event.code for event in second if isinstance(event, Refused)] == ["unknown_action"]


def test_a_clients_actions_are_checked_against_the_worlds(open_world: Any) -> None:
    world, _ = open_world([])
    with pytest.raises(ActionError):
        world.actions_with([ActionDefinition(name="Wave")])
    names = [
        action.name for action in world.actions_with([ActionDefinition(name="wave", description="mine")])
    ]
    assert names.count("wave") == 1


# -- what was said is what was heard


def test_a_finished_turn_is_remembered_as_far_as_it_was_heard(open_world: Any, tmp_path: Path) -> None:
    heard = "The silver lies behind the mill."
    world, backend = open_world([SPOKEN, "What?", "Hm."], memory=tmp_path)
    talk = world.open("mara", conversation="c")
    list(talk.say("Where is it?", turn="t1"))
    assert talk.heard("t1", len(heard))
    list(talk.say("I heard nothing more.", turn="t2"))
    assert heard in backend.requests[-1].prompt.text
    assert "nobody" not in backend.requests[-1].prompt.text
    other = world.open("mara", conversation="another")
    found = list(other.say("What did you say of silver, the mill and the amber crown, tell nobody?"))[-1]
    texts = [item.text for item in found.recalled]
    assert any(heard in text for text in texts)
    assert not any("Tell nobody" in text for text in texts)
    world.close()
    world, backend = open_world(["Yes."], memory=tmp_path)
    list(world.open("mara", conversation="c").say("Go on."))
    assert heard in backend.requests[-1].prompt.text
    assert "nobody" not in backend.requests[-1].prompt.text


def test_a_running_turn_is_kept_as_far_as_it_was_heard(open_world: Any) -> None:
    world, backend = open_world([SPOKEN, "What?"])
    talk = world.open("mara")
    for number, _ in enumerate(talk.say("Where is it?", turn="t1")):
        if number == 5:
            assert talk.heard("t1", 10)
            talk.cancel()
    list(talk.say("Go on.", turn="t2"))
    assert "The silver" in backend.requests[-1].prompt.text
    assert "The silver lies" not in backend.requests[-1].prompt.text


def test_a_turn_that_nobody_knows_cannot_be_cut(open_world: Any) -> None:
    world, _ = open_world(["Yes."])
    talk = world.open("mara")
    assert not talk.heard("t9", 3)
    list(talk.say("Hello", turn="t1"))
    assert talk.heard("t1", 100)


@given(st.lists(st.sampled_from(["Go away! ", "Well. ", WAVE, "Ünï 門 "]), max_size=6), st.integers(0, 60))
def test_what_is_cut_is_a_prefix_of_the_speech_and_keeps_earlier_calls(parts: list[str], heard: int) -> None:
    raw = "".join(parts)
    whole = (ChatMessage.of("assistant", raw),)
    spoken = raw.replace(WAVE, "")
    kept = "".join(message.text for message in heard_messages(whole, heard, FORMAT))
    speech = kept.replace(WAVE, "").strip()
    assert spoken.replace(" ", "").startswith(speech.replace(" ", ""))
    assert len(speech.replace(" ", "")) <= heard or heard >= len(spoken.strip())


# -- preparing


def test_a_prepared_character_has_its_prompt_in_the_cache(open_world: Any) -> None:
    world, backend = open_world(["x", "Good day."])
    talk = world.open("mara")
    prepared = talk.prepare()
    assert prepared.computed > 0
    last = list(talk.say("Hello!"))[-1]
    assert isinstance(last, End)
    assert last.tokens.cached > prepared.computed // 2
    assert backend.requests[0].priority < backend.requests[1].priority


def test_preparing_leaves_no_trace(open_world: Any) -> None:
    world, backend = open_world(["x", "Good day.", "Yes."])
    talk = world.open("mara")
    talk.prepare("Where is the sil")
    list(talk.say("Hello!"))
    assert "Where is the sil" not in backend.requests[1].prompt.text


# -- values and state


def test_values_are_part_of_the_state_and_outlive_the_world(open_world: Any, tmp_path: Path) -> None:
    world, backend = open_world(["Hm.", "Hm."], memory=tmp_path)
    talk = world.open("mara")
    world.set_values("mara", {"trust": 70})
    list(talk.say("Hello."))
    assert "spare key" in backend.requests[0].prompt.text
    world.close()
    world, backend = open_world(["Hm."], memory=tmp_path)
    list(world.open("mara").say("Hello."))
    assert "spare key" in backend.requests[0].prompt.text
    assert world.values("mara") == {"trust": 70}
    assert world.values("mara", player="Ada") == {}


def test_state_without_a_line_holds_for_the_next(open_world: Any) -> None:
    world, backend = open_world(["Hm."])
    talk = world.open("mara")
    talk.update({"trust": 99})
    list(talk.say("Hello."))
    assert "spare key" in backend.requests[0].prompt.text


def test_a_note_is_recalled(open_world: Any) -> None:
    world, _ = open_world(["Hm."])
    world.remember("mara", "The player paid for the broken window.", player="player")
    last = list(world.open("mara").say("Who paid for the broken window?"))[-1]
    assert any("broken window" in item.text for item in last.recalled)
    with pytest.raises(WorldError):
        world.remember("nobody", "Nothing.")


# -- saving and loading


def test_what_was_undone_is_neither_remembered_nor_in_the_prompt(open_world: Any) -> None:
    world, backend = open_world(["One.", "Two.", "Three."])
    talk = world.open("mara")
    list(talk.say("The first line."))
    world.set_values("mara", {"trust": 20})
    world.save("here")
    world.set_values("mara", {"trust": 80})
    list(talk.say("The second line."))
    world.load("here")
    assert world.slots() == ["here"]
    list(talk.say("The third line."))
    prompt = backend.requests[-1].prompt.text
    assert "The first line." in prompt
    assert "The second line." not in prompt
    assert "spare key" not in prompt


def test_a_load_in_mid_turn_ends_it_and_what_it_said_is_gone(open_world: Any) -> None:
    world, backend = open_world(["One.", SPOKEN, "Three."])
    talk = world.open("mara")
    list(talk.say("The first line."))
    world.save("here")
    events = []
    for number, event in enumerate(talk.say("The second line.")):
        events.append(event)
        if number == 3:
            world.load("here")
    assert events[-1].event in ("end", "error")
    list(talk.say("The third line."))
    prompt = backend.requests[-1].prompt.text
    assert "The first line." in prompt
    assert "The second line." not in prompt
    assert "behind the mill" not in prompt


def test_a_slot_that_is_not_there_changes_nothing(open_world: Any) -> None:
    world, _ = open_world(["One."])
    with pytest.raises(MemoryStoreError, match="nowhere"):
        world.load("nowhere")


def test_a_conversation_cannot_have_the_journals_own_names(open_world: Any) -> None:
    world, _ = open_world([])
    with pytest.raises(WorldError):
        world.open("mara", conversation="\x01values/mara/player")
