"""What a conversation offers: relevant actions in the prompt, cooldowns, who may, and the explanation at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from npcsdk.actions.formats import load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.dialogue.conversation import Limits
from npcsdk.errors import ActionError, ModelError
from npcsdk.events import Action, End, Event, Explanation, Refused

FORMAT = load_format("nemotron")
WAVE = FORMAT.render_call("wave", {})
BOW = FORMAT.render_call("bow", {})
MANY = [
    ActionDefinition(name=name, description=description)
    for name, description in {
        "ring_bell": "Ring the alarm bell.",
        "heal_player": "Heal wounds.",
        "sell_item": "Sell one of your wares.",
        "follow_player": "Go along with the player.",
        "brew_potion": "Make a potion.",
        "read_letter": "Read a letter.",
    }.items()
]


def explained(events: list[Event]) -> Explanation:
    assert isinstance(events[-1], End), events[-1]
    return events[-1].explanation


def made(events: list[Event]) -> list[str]:
    return [event.name for event in events if isinstance(event, Action)]


def in_prompt(backend: Any) -> set[str]:
    head = backend.requests[-1].prompt.text.split("<extra_id_1>")[0]
    return {part.split('"')[3] for part in head.split("<tool>")[1:]}


def test_of_many_actions_the_relevant_ones_stand_in_the_prompt(open_world: Any) -> None:
    world, backend = open_world(lambda request: "Hm.", limits=Limits(actions=4))
    world.add_actions(MANY)
    talk = world.open("bram")
    events = list(talk.say("Brew me a potion!"))
    first = in_prompt(backend)
    assert len(first) == 4
    assert "brew_potion" in first
    assert set(explained(events).offered) <= first
    reasons = {item.name: item.reason for item in explained(events).withheld}
    assert "not relevant" in reasons["ring_bell"]
    assert "lists nothing" in reasons["open_gate"]
    events = list(talk.say("How are you?"))
    assert in_prompt(backend) == first
    assert explained(events).tool_changes == 0
    events = list(talk.say("Ring the bell!"))
    assert "ring_bell" in in_prompt(backend)
    assert "brew_potion" in in_prompt(backend)
    assert explained(events).tool_changes == 1


def test_what_does_not_stand_in_the_prompt_cannot_be_called(open_world: Any) -> None:
    world, _ = open_world([FORMAT.render_call("ring_bell", {})], limits=Limits(actions=2))
    world.add_actions(MANY)
    events = list(world.open("bram").say("Brew me a potion!"))
    refused = [event for event in events if isinstance(event, Refused)]
    assert [event.code for event in refused] == ["unknown_action"]
    assert "not relevant" in refused[0].message


def test_limits_come_as_an_option_too(open_world: Any) -> None:
    world, backend = open_world(lambda request: "Hm.", options={"limits": {"actions": 2}})
    list(world.open("bram").say("Hello"))
    assert len(in_prompt(backend)) == 2
    with pytest.raises(ModelError) as caught:
        open_world([], options={"limits": {"action": 2}})
    assert caught.value.code == "bad_option"


def test_for_a_model_too_small_to_choose_the_words_choose(open_world: Any) -> None:
    world, backend = open_world(
        [f"Aye. {FORMAT.render_call('brew_potion', {})}", "Aye.", "Aye.", "Aye."],
        options={"limits": {"choose": "words"}},
    )
    world.add_actions(MANY)
    talk = world.open("bram")
    events = list(talk.say("Ring the bell!"))
    assert explained(events).offered == ("ring_bell",)
    assert [event.code for event in events if isinstance(event, Refused)] == ["unknown_action"]
    assert (
        "too small to choose"
        in {item.name: item.reason for item in explained(events).withheld}["brew_potion"]
    )
    hint = '<context> Asked for: {"name": "ring_bell", "arguments": {}} </context>\nRing the bell!'
    assert hint in backend.requests[-1].prompt.text
    assert explained(list(talk.say("Now, please."))).offered == ("ring_bell",), "the line before"
    assert backend.requests[-1].prompt.text.count("Asked for") == 1, "of the line before"
    shown = in_prompt(backend)
    assert explained(list(talk.say("You look tired."))).offered == ()
    assert in_prompt(backend) == shown, "the prompt stays: nothing is computed again"


def test_what_the_line_before_asked_for_outlasts_typing_and_the_world(
    open_world: Any, tmp_path: Path
) -> None:
    limits = {"limits": {"choose": "words"}}
    world, backend = open_world(["Aye.", "", "", "Aye."], memory=tmp_path, options=limits)
    world.add_actions(MANY)
    talk = world.open("bram", conversation="gate")
    list(talk.say("Ring the bell!"))
    for typed in ("Yes", "Yes, do"):
        talk.prepare(typed)
    assert explained(list(talk.say("Yes, do it."))).offered == ("ring_bell",)
    assert len(backend.requests) == 4
    world.close()
    world, _ = open_world(["Aye."] * 3, memory=tmp_path, options=limits)
    world.add_actions(MANY)
    world.save("morning")
    talk = world.open("bram", conversation="gate")
    list(talk.say("Heal my wounds."))
    world.load("morning")
    assert explained(list(talk.say("Please do."))).offered == (), "'Yes, do it.' is the line before again"


def test_for_a_model_too_small_to_choose_free_strings_are_plain_words(open_world: Any) -> None:
    calls = [FORMAT.render_call("whisper", {"who": who}) for who in ("Tom", "}} </toolcall> Aye", "")]
    world, backend = open_world(calls, options={"limits": {"choose": "words"}})
    schema = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}
    world.add_actions([ActionDefinition(name="whisper", description="Whisper.", parameters=schema)])
    talk = world.open("bram")
    assert [made(list(talk.say("Whisper to Tom!"))) for _ in calls] == [["whisper"], [], []]
    assert "pattern" not in backend.requests[-1].prompt.text


def test_for_a_model_too_small_to_choose_numbers_are_those_of_the_line(open_world: Any) -> None:
    calls = [FORMAT.render_call("ring", {"times": times}) for times in (3, 12, 7)]
    world, _ = open_world(calls, options={"limits": {"choose": "words"}})
    times = {"type": "integer", "minimum": 1, "maximum": 20}
    schema = {"type": "object", "properties": {"times": times}, "required": ["times"]}
    world.add_actions([ActionDefinition(name="ring", description="Ring.", parameters=schema)])
    talk = world.open("bram")
    lines = ("Ring a dozen times!", "Ring a dozen times, not ninety!", "Ring as often as you like!")
    assert [made(list(talk.say(line))) for line in lines] == [[], ["ring"], ["ring"]]


def test_an_action_cools_down_in_the_turn_and_over_conversations(open_world: Any) -> None:
    world, _ = open_world([f"{BOW} {BOW}", BOW, BOW])
    world.add_actions([ActionDefinition(name="bow", cooldown=3600)])
    events = list(world.open("bram").say("Bow!"))
    assert made(events) == ["bow"]
    refused = [event for event in events if isinstance(event, Refused)]
    assert "3600 seconds" in refused[0].message
    events = list(world.open("bram", player="another").say("Bow!"))
    assert made(events) == []
    assert "bow" in {item.name for item in explained(events).withheld}
    assert made(list(world.open("mara").say("Bow!"))) == ["bow"]


def test_an_action_for_some_characters(open_world: Any) -> None:
    world, backend = open_world([BOW, BOW])
    world.add_actions([ActionDefinition(name="bow", who=("mara",))])
    assert made(list(world.open("bram").say("Bow!"))) == []
    assert "bow" not in in_prompt(backend)
    assert made(list(world.open("mara").say("Bow!"))) == ["bow"]


def test_in_sequence_by_limits(open_world: Any) -> None:
    ask = FORMAT.render_call("ask", {})
    world, _ = open_world([f"{ask} {WAVE}", f"{WAVE} Well."], limits=Limits(order="sequence"))
    events = list(world.open("bram").say("Ask!"))
    assert made(events) == ["ask", "wave"]
    assert [type(event) for event in events].count(End) == 1


def test_a_call_that_the_length_limit_cut_is_not_guessed(open_world: Any) -> None:
    half = '<toolcall> {"name": "wave", "arguments": {}'
    world, _ = open_world([half, half + "}} and on" * 300])
    events = list(world.open("bram").say("Wave!"))
    assert [event.repaired for event in events if isinstance(event, Action)] == [True], (
        "it ended of its own will"
    )
    words = FORMAT.render_call("wave", {"x": "word " * 400})
    world, _ = open_world([words])
    events = list(world.open("bram").say("Wave!"))
    assert [event.code for event in events if isinstance(event, Refused)] == ["unclosed"]


def test_the_explanation(open_world: Any) -> None:
    world, _ = open_world([f"Yes. {WAVE} <toolcall> fly </toolcall>", "Hm."])
    talk = world.open("mara")
    told = explained(list(talk.say("Wave!")))
    assert told.offered == ("ask", "wave")
    assert [item.name for item in told.withheld] == ["open_gate"]
    assert told.constraint == "", "the script is held to nothing"
    assert [call.raw for call in told.calls] == ['{"name": "wave", "arguments": {}}', "fly"]
    assert told.calls[0].became.startswith("action ")
    assert told.calls[1].became.startswith("malformed: ")
    assert explained(list(talk.say("Well?"))).calls == ()


def test_the_constraint_in_words(open_world: Any) -> None:
    from dataclasses import replace

    world, backend = open_world([WAVE, "Hm."])
    backend.capabilities = replace(backend.capabilities, constraints=True)
    talk = world.open("mara")
    said = explained(list(talk.say("Wave!"))).constraint
    assert said == "speech, and at most 4 times <toolcall> with one of ask(), wave() </toolcall>"
    nearby = [f"gate {number}" for number in range(10)]
    said = explained(list(talk.say("Well?", state={"nearby": nearby}))).constraint
    assert "open_gate(gate: gate 0 | gate 1 | " in said
    assert "gate 7 | and 2 more), ask()" in said


def test_actions_that_differ_in_case_are_refused_and_none_is_added(open_world: Any) -> None:
    world, _ = open_world([])
    with pytest.raises(ActionError) as caught:
        world.add_actions([ActionDefinition(name="bow"), ActionDefinition(name="Wave")])
    assert caught.value.code == "names_differ_in_case"
    assert "bow" not in {definition.name for definition in world.actions()}


def test_a_model_that_is_given_sentences_is_reminded_of_what_its_character_knows(open_world: Any) -> None:
    world, backend = open_world(["Twelve.", "Aye."], options={"limits": {"sentences": 2}})
    talk = world.open("bram")
    list(talk.say("How many pennies make a silver?"))
    assert "<context> Twelve pennies make one silver. </context>\nHow" in backend.requests[-1].prompt.text
    list(talk.say("Nice hat."))
    assert backend.requests[-1].prompt.text.count("<context>") == 1


def test_such_a_model_is_reminded_of_who_its_character_is(open_world: Any) -> None:
    world, backend = open_world(["Bram.", "Aye."], options={"limits": {"sentences": 2}})
    events = list(world.open("bram").say("And who might you be?"))
    introduction = f"I am {world.npcs['bram'].name}, {world.npcs['bram'].role}."
    assert f"<context> {introduction} </context>\nAnd who" in backend.requests[-1].prompt.text
    (recalled,) = events[-1].recalled
    assert (recalled.text, recalled.source) == (introduction, "persona")
    whole, plain = open_world(["Bram."])
    list(whole.open("bram").say("And who might you be?"))
    assert introduction not in plain.requests[-1].prompt.text
