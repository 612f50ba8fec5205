"""The evaluation's cases and scorers, without a model: the measure itself must be right."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.quality.cases import Case, all_cases, load_worlds
from benchmarks.quality.heldout import TRAINING, found_in_training, training_text
from benchmarks.quality.play import Player, Reply
from benchmarks.quality.score import (
    has_need,
    invented,
    not_knowing,
    prompt_words,
    right,
    right_arguments,
    sane,
)
from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats.base import Call
from npcsdk.backends.base import ModelSource
from npcsdk.backends.scripted import ScriptedBackend
from npcsdk.dialogue.npc import definition_of_entry
from npcsdk.events import Action, Refused

LABELLED: dict[str, list[Any]] = yaml.safe_load(Path(__file__).with_name("replies.yaml").read_text("utf-8"))
CASES = {case.id: case for case in all_cases()}
SOURCE = ModelSource(name="script", backend="scripted", path="")
SPELLED = {
    1: "one|just a|a jumbo",
    2: "two|twice|second",
    4: "four",
    5: "five",
    6: "six|half a dozen",
    7: "seven",
    9: "nine",
    11: "eleven",
    12: "twelve",
    14: "fourteen",
    20: "twenty",
    25: "twenty five",
    30: "thirty",
    40: "forty",
    60: "sixty",
    90: "ninety",
}


def of(behaviour: str) -> list[Case]:
    return [case for case in CASES.values() if case.behaviour == behaviour]


def test_there_are_enough_cases_in_enough_worlds() -> None:
    counts = Counter(case.behaviour for case in all_cases())
    assert all(counts[behaviour] >= 200 for behaviour in ("fact", "unknown", "call", "chat", "identity"))
    assert counts["free"] >= 100
    assert len(load_worlds()) >= 12
    assert len(CASES) == len(all_cases())


def test_no_two_cases_of_a_character_ask_the_same() -> None:
    asked = Counter((case.behaviour, case.world.name, case.npc, case.line.lower()) for case in CASES.values())
    assert [key for key, count in asked.items() if count > 1] == []


def test_each_fact_stands_in_exactly_one_of_the_cases_passages() -> None:
    for case in of("fact"):
        held = [all(has_need(text, need) for need in case.needs) for text in case.contexts]
        assert held.count(True) == 1, (case.id, case.needs, case.contexts)


def test_facts_are_asked_for_with_one_to_four_passages_in_every_place() -> None:
    assert {len(case.contexts) for case in of("fact")} == {1, 2, 3, 4}
    places = Counter(
        next(
            place
            for place, text in enumerate(case.contexts)
            if all(has_need(text, need) for need in case.needs)
        )
        for case in of("fact")
    )
    assert set(places) == {0, 1, 2, 3}


def test_the_question_does_not_give_its_answer_away() -> None:
    for case in of("fact"):
        assert not all(has_need(case.line, need) for need in case.needs), case.id


def test_unknown_cases_have_none_to_three_passages() -> None:
    assert {len(case.contexts) for case in of("unknown")} == {0, 1, 2, 3}


def test_every_wanted_argument_can_be_read_from_what_the_character_has() -> None:
    for case in of("call"):
        seen = _words(f"{case.line} {' '.join(case.contexts)} {dict(case.now)}")
        for name, wanted in case.arguments.items():
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if isinstance(value, bool):
                    continue  # what a yes is, the parameter's description says
                if isinstance(value, int):
                    spelled = rf"\b(?:{value}(?:st|nd|rd|th)?|{SPELLED.get(value, value)})\b"
                    assert re.search(spelled, seen), (case.id, value)
                else:
                    core = re.sub("^(?:the|a|my|your) ", "", _words(value))
                    assert core in seen, (case.id, name, value)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


def test_the_wanted_call_is_legal_and_the_only_one_with_these_arguments() -> None:
    for case in of("call"):
        definitions = [definition_of_entry(name, case.world.actions[name]) for name in case.tools]
        offer = make_offer(definitions, case.now)
        arguments = {
            key: value[0] if isinstance(value, list) else value for key, value in case.arguments.items()
        }
        _, checked = offer.check(Call(case.tool, arguments))
        assert right_arguments(checked, case.arguments, set())
        assert 2 <= len(case.tools) <= 5


def test_small_talk_has_tools_on_offer() -> None:
    assert {len(case.tools) for case in of("chat")} == {2, 3, 4, 5}
    for case in of("chat"):
        definitions = [definition_of_entry(name, case.world.actions[name]) for name in case.tools]
        assert make_offer(definitions, case.now).actions, case.id


def test_identity_can_be_read_from_the_persona() -> None:
    for case in of("identity"):
        persona = case.persona
        told = f"{persona.name} {persona.role} {persona.about}"
        assert all(has_need(told, need) for need in case.needs), case.id


# The scorers.


def test_not_knowing_is_recognised_on_hand_labelled_replies() -> None:
    assert len(LABELLED["says_so"]) + len(LABELLED["answers"]) >= 60
    assert [reply for reply in LABELLED["says_so"] if not not_knowing(reply)] == []
    assert [reply for reply in LABELLED["answers"] if not_knowing(reply)] == []


def test_an_invented_name_or_number_is_found() -> None:
    some = replace(CASES["causeway/unknown/1"], contexts=())
    for line, reply in LABELLED["invents"]:
        assert invented(reply, replace(some, line=line)), reply
    for line, reply in LABELLED["invents_nothing"]:
        known = replace(some, line=line, contexts=("Bartlemy Tuck smokes eels.",))
        assert invented(reply, known) == "", reply


def test_needs_are_whole_words_in_any_case_with_alternatives() -> None:
    assert has_need("It costs Fourteen groats.", "14|fourteen")
    assert has_need("14!", "14|fourteen")
    assert not has_need("It costs 140 groats.", "14|fourteen")
    assert has_need("At half-past six.", "half past six")
    assert has_need("They whistled.", "whistl*")
    assert not has_need("The scatter of it", "cat")


def test_arguments_must_be_exactly_right() -> None:
    assert right_arguments({"n": 3}, {"n": 3}, set())
    assert not right_arguments({"n": True}, {"n": 1}, set())
    assert not right_arguments({"n": 3, "m": 1}, {"n": 3}, set())
    assert not right_arguments({"s": "the hut"}, {"s": "hut"}, {"s"})
    assert right_arguments({"s": "hortense"}, {"s": "Hortense"}, {"s"})
    assert not right_arguments({"s": "hortense"}, {"s": "Hortense"}, set())
    assert right_arguments({"s": "Ellery"}, {"s": ["Mr Ellery", "Ellery"]}, set())


def _action(name: str, **arguments: Any) -> Action:
    return Action(id="1", name=name, arguments=arguments)


def test_a_call_counts_only_alone_and_with_the_right_arguments() -> None:
    case = CASES["causeway/call/1"]
    good = _action("hoist_sluice", sluice="eastern sluice")
    assert right(case, Reply(text="", reason="stop", actions=(good,)))
    assert not right(case, Reply(text="", reason="stop", actions=(good, good)))
    assert not right(
        case, Reply(text="", reason="stop", actions=(_action("hoist_sluice", sluice="weedy weir"),))
    )
    assert not right(case, Reply(text="Sure.", reason="stop"))
    refused = Refused(name="x", code="unknown_action", message="")
    assert not right(case, Reply(text="", reason="stop", actions=(good,), refused=(refused,)))


def test_small_talk_is_wrong_with_a_call_even_a_refused_one() -> None:
    case = CASES["causeway/chat/1"]
    assert right(case, Reply(text="Morning.", reason="stop"))
    assert not right(case, Reply(text="Morning.", reason="stop", actions=(_action("rake_pan", pans=1),)))
    refused = Refused(name="x", code="malformed", message="")
    assert not right(case, Reply(text="Morning.", reason="stop", refused=(refused,)))


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("Mind the weed. It is slippery.", ""),
        ("", "empty"),
        ("I was going to", "no end"),
        ("Sure. <toolcall>.", "a marker"),
        ("the sea is cold and the sea is cold and wet.", "repeats itself"),
        ("A a. B b. C c. D d. E e. F f.", "6 sentences"),
    ],
)
def test_a_first_look_at_free_text(text: str, trouble: str) -> None:
    found = sane(Reply(text=text, reason="stop"))
    assert (trouble in found) if trouble else not found


def test_prompt_words_hold_persona_contexts_and_line() -> None:
    words = prompt_words(CASES["causeway/fact/1"])
    assert {"ottoline", "groats", "much", "quernmouth"} <= words


# Through the SDK, with a script in the model's place.


def test_a_case_is_played_through_the_sdk_with_its_passages() -> None:
    case = CASES["causeway/fact/1"]
    backend = ScriptedBackend(["It is 14 groats."])
    reply = Player(backend, SOURCE).play(case)
    assert reply.text == "It is 14 groats."
    assert right(case, reply)
    (request,) = backend.requests
    for text in (case.line, case.persona.name, *case.contexts):
        assert text in request.prompt.text
    assert request.sampling.temperature == 0


def test_the_game_answers_a_call_that_waits_for_it() -> None:
    case = CASES["causeway/call/15"]
    call = '<toolcall> {"name": "tide_time", "arguments": {"weekday": "Thursday"}} </toolcall>'
    backend = ScriptedBackend([f"Let me look. {call}", "It turns at four."])
    reply = Player(backend, SOURCE).play(case)
    assert right(case, reply)
    assert reply.text == "Let me look. It turns at four."
    assert case.result in backend.requests[1].prompt.text


def test_passages_can_stand_in_the_system_block() -> None:
    case = CASES["causeway/fact/1"]
    backend = ScriptedBackend(["Hm."])
    Player(backend, SOURCE).play(case, placement="system")
    prompt = backend.requests[0].prompt.text
    assert prompt.index(case.contexts[0]) < prompt.index("<extra_id_1>User")


def test_free_decoding_has_no_grammar() -> None:
    case = CASES["causeway/call/1"]
    backend = ScriptedBackend(["Hm.", "Hm."])
    backend.capabilities = replace(backend.capabilities, constraints=True)
    player = Player(backend, SOURCE)
    player.play(case, grammar=False)
    player.play(case)
    free, held = backend.requests
    assert free.constraint is None
    assert held.constraint is not None
    assert {name for name, _ in held.constraint.tools} == set(case.tools)


@pytest.mark.skipif(not TRAINING.is_dir(), reason="the training material is not here")
def test_nothing_of_the_worlds_stands_in_the_training_material() -> None:
    text = training_text()
    found = {world.file: found_in_training(world, text) for world in load_worlds()}
    assert {file: items for file, items in found.items() if any(items.values())} == {}
