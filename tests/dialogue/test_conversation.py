"""Turns of a conversation, from a line to events, to history and to memory."""

from __future__ import annotations

import gc
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npcsdk.actions.formats import load_format
from npcsdk.backends.base import Request
from npcsdk.backends.scripted import ScriptedBackend
from npcsdk.dialogue.conversation import Conversation, Limits
from npcsdk.errors import BackendError, MemoryStoreError, TurnError
from npcsdk.events import Action, End, Event, Failed, Refused, Text

FORMAT = load_format("nemotron")
OPEN = FORMAT.render_call("open_gate", {"gate": "iron gate"})
ASK = FORMAT.render_call("ask", {})
WAVE = FORMAT.render_call("wave", {})
NEARBY = {"nearby": [{"name": "iron gate", "id": "gate_7"}]}


def end(events: list[Event]) -> End:
    assert isinstance(events[-1], End), events[-1]
    return events[-1]


def failed(events: list[Event]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


def spoken(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def prompts(backend: ScriptedBackend) -> list[str]:
    return [request.prompt.text for request in backend.requests]


def code_of(call: Any) -> str:
    with pytest.raises(TurnError) as caught:
        call()
    assert caught.value.hint
    return caught.value.code


# -- one turn


def test_a_line_and_its_answer(open_world: Any) -> None:
    world, backend = open_world(["Good day. Sit down."])
    talk = world.open("mara")
    events = list(talk.say("Hello!", seed=7))
    last = end(events)
    assert (last.reason, last.text) == ("stop", "Good day. Sit down.")
    assert spoken(events) == last.text
    assert last.tokens.prompt == last.tokens.cached + last.tokens.computed > 0
    assert last.tokens.generated == backend.count(last.text)
    assert last.timings.total_ms >= last.timings.first_token_ms > 0
    prompt = prompts(backend)[0]
    assert "You are Mara, an innkeeper." in prompt
    assert "A village with one gate." in prompt
    assert "Hello!" in prompt.split("<extra_id_1>User")[-1]


def test_react(open_world: Any) -> None:
    world, backend = open_world(["Who is there?", "It was the wind."])
    talk = world.open("mara")
    assert end(list(talk.react("A door slams in the cellar."))).text == "Who is there?"
    assert "<context> Event: A door slams in the cellar. </context>" in prompts(backend)[0]
    assert end(list(talk.say("What was that?"))).text == "It was the wind."
    assert "A door slams in the cellar." in prompts(backend)[1]  # it stays in the history


def test_the_state_is_merged_over_turns(open_world: Any) -> None:
    world, backend = open_world(["a"] * 3)
    talk = world.open("mara")
    list(talk.say("one", state={"place": "the inn", "time": "dusk"}))
    list(talk.say("two", state={"time": "night"}))
    now = prompts(backend)[1].rsplit("Now:", 1)[1]
    assert "place: the inn" in now
    assert "time: night" in now
    assert "mood: calm" in now  # the persona's own


@pytest.mark.parametrize("state", ["x", [1], {1: "x"}, 5])
def test_a_state_that_is_none_is_refused_and_the_conversation_goes_on(open_world: Any, state: Any) -> None:
    world, _ = open_world(["Yes."])
    talk = world.open("mara")
    assert code_of(lambda: talk.say("hi", state=state)) == "bad_state"
    assert end(list(talk.say("hi"))).text == "Yes."


# -- what is refused at once


@pytest.mark.parametrize(
    "line", ["", "  \n", "\x00", "\u200b", "<extra_id_1>", "<extra_id_1> </s><toolcall>"]
)
def test_an_empty_line_and_one_of_only_control_tokens(open_world: Any, line: str) -> None:
    world, backend = open_world(["Yes."])
    talk = world.open("mara")
    assert code_of(lambda: talk.say(line)) == "line_empty"
    assert code_of(lambda: talk.react(line)) == "line_empty"
    assert not backend.requests
    assert end(list(talk.say("hi"))).text == "Yes."


def test_a_line_longer_than_the_budget(open_world: Any) -> None:
    world, backend = open_world(["Yes."], context_length=1000)
    talk = world.open("mara")
    for line in ("word " * 600, "x" * 1_000_000):
        with pytest.raises(TurnError, match="1000") as caught:
            talk.say(line)
        assert caught.value.code == "line_too_long"
    assert code_of(lambda: talk.react("word " * 600)) == "line_too_long"
    assert not backend.requests
    assert end(list(talk.say("hi"))).text == "Yes."


def test_two_turns_at_once(open_world: Any) -> None:
    world, _ = open_world(["One two.", "Three."])
    talk = world.open("mara")
    first = talk.say("hi")
    assert code_of(lambda: talk.say("again")) == "turn_in_progress"
    next(first)
    assert code_of(lambda: talk.react("a bang")) == "turn_in_progress"
    assert end(list(first)).text == "One two."
    assert end(list(talk.say("again"))).text == "Three."


def test_half_a_surrogate_pair_does_no_harm(open_world: Any) -> None:
    world, backend = open_world(["Yes."])
    talk = world.open("mara")
    assert end(list(talk.say("hi \ud800 there", state={"place": "\udc00"}))).text == "Yes."
    prompts(backend)[0].encode()


# -- actions


def test_an_action_and_its_result(open_world: Any, when_waiting: Any) -> None:
    world, backend = open_world([f"Stand back. {OPEN}", "It is open."])
    talk = world.open("mara")
    turn = talk.say("Open it!", state=NEARBY, turn="t1")
    events: list[Event] = []
    for event in turn:
        events.append(event)
        if isinstance(event, Action):
            when_waiting(talk, lambda given=event: talk.result(given.id, "done", "It creaks."))
    acted = next(event for event in events if isinstance(event, Action))
    assert (acted.name, dict(acted.arguments), acted.returns) == ("open_gate", {"gate": "gate_7"}, "result")
    assert acted.offset == len("Stand back.")
    assert end(events).text == "Stand back. It is open."
    assert end(events).reason == "stop"
    assert prompts(backend)[1].endswith("Tool\nIt creaks.\n<extra_id_1>Assistant\n")
    counts = end(events).tokens
    assert counts.generated == backend.count(f"Stand back. {OPEN}") + backend.count("It is open.")


def test_a_result_that_comes_while_the_character_still_speaks(open_world: Any) -> None:
    world, backend = open_world([f"{OPEN} {WAVE}", "Open."])
    talk = world.open("mara")
    events: list[Event] = []
    taken: list[bool] = []
    for event in talk.say("Open it!", state=NEARBY):
        events.append(event)
        if isinstance(event, Action) and event.returns == "result":
            taken += [talk.result(event.id, "failed", "stuck"), talk.result(event.id, "done")]
    assert taken == [True, False]
    assert end(events).text == "Open."
    assert "Tool\nfailed: stuck\n" in prompts(backend)[1]


def test_a_result_that_never_comes(open_world: Any) -> None:
    world, backend = open_world([f"Let me ask. {ASK}", "Nobody answers."])
    talk = world.open("mara")
    events = list(talk.say("Ask!"))
    assert end(events).text == "Let me ask. Nobody answers."
    assert prompts(backend)[1].endswith("Tool\nno answer\n<extra_id_1>Assistant\n")
    acted = next(event for event in events if isinstance(event, Action))
    assert talk.result(acted.id, "done") is False


def test_results_for_nobody(open_world: Any) -> None:
    world, _ = open_world([f"Hi. {WAVE}"])
    talk = world.open("mara")
    assert talk.result("nobody", "done") is False
    acted = next(event for event in talk.say("hi") if isinstance(event, Action))
    assert talk.result(acted.id, "done") is False
    assert talk.result("nobody", "failed", "x") is False


def test_what_is_not_offered_is_refused(open_world: Any) -> None:
    dance = FORMAT.render_call("dance", {})
    world, backend = open_world([f"{OPEN} {dance} No."])
    talk = world.open("mara")
    events = list(talk.say("Open it!"))  # nothing is near, and Mara does not dance
    refused = [event for event in events if isinstance(event, Refused)]
    assert [event.code for event in refused] == ["unknown_action", "unknown_action"]
    assert not any(isinstance(event, Action) for event in events)
    assert end(events).text == "No."
    assert '"dance"' not in prompts(backend)[0]


def test_too_many_rounds(open_world: Any) -> None:
    world, backend = open_world(lambda request: f"And? {ASK}", limits=Limits(rounds=2, calls=9))
    events = list(world.open("mara").say("Ask!"))
    assert end(events).reason == "rounds"
    assert len(backend.requests) == 3
    # what nobody would take the result of never reaches the game
    assert [event.event for event in events if event.event in ("action", "refused")] == [
        "action",
        "action",
        "refused",
    ]
    assert backend.requests[-1].prompt.text.count("<extra_id_1>Tool") == 2


def test_a_reply_that_is_too_long_ends_with_length(open_world: Any) -> None:
    world, _ = open_world(["a b c d e f g h"], options={"sampling": {"max_tokens": 4}})
    last = end(list(world.open("bram").say("hi")))
    assert (last.reason, last.text) == ("length", "a b c d")


def test_actions_of_the_game_are_offered_beside_the_worlds(open_world: Any) -> None:
    from npcsdk.actions.schema import ActionDefinition

    world, backend = open_world([FORMAT.render_call("sing", {}) + " La."])
    world.add_actions([ActionDefinition(name="sing", description="Sing.")])
    events = list(world.open("mara").say("Sing!"))
    assert [event.name for event in events if isinstance(event, Action)] == ["sing"]
    assert '"sing"' in prompts(backend)[0]


def test_offsets_add_up_to_the_text(open_world: Any) -> None:
    world, _ = open_world([f"Grüße 🙂. {WAVE} So. {ASK}", f"Well, {WAVE} no.  "])
    at = 0
    events = list(world.open("mara").say("hi"))
    for event in events[:-1]:
        assert event.offset == at  # type: ignore[union-attr]
        at += len(event.text) if isinstance(event, Text) else 0
    assert at == len(end(events).text)
    assert end(events).text == spoken(events)


# -- cut off


def test_cancel_from_another_thread_while_the_character_speaks(open_world: Any, in_thread: Any) -> None:
    world, backend = open_world(["One two three four five.", "Yes?"])
    talk = world.open("mara")
    backend.before = lambda number: in_thread(talk.cancel) if number == 2 else None
    last = end(list(talk.say("Count!")))
    del backend.before
    assert (last.reason, last.text) == ("cancelled", "One two three")
    assert end(list(talk.say("Go on."))).reason == "stop"
    assert (
        "Assistant\nOne two three\n<extra_id_1>User" in prompts(backend)[1]
    )  # heard up to there, and no further


def test_cancel_while_waiting_for_a_result(open_world: Any, when_waiting: Any) -> None:
    world, backend = open_world([f"Stand back. {OPEN}", "Yes?"])
    talk = world.open("mara")
    when_waiting(talk, talk.cancel)
    last = end(list(talk.say("Open!", state=NEARBY)))
    assert (last.reason, last.text) == ("cancelled", "Stand back.")
    assert len(backend.requests) == 1
    assert end(list(talk.say("Well?"))).text == "Yes?"
    assert f"Stand back. {OPEN}" in prompts(backend)[1]


def test_an_action_that_the_game_was_not_given_has_not_happened(open_world: Any) -> None:
    world, backend = open_world([f"One. {WAVE} Two.", "Yes?"])
    talk = world.open("bram")
    events = []
    for event in talk.say("Wave!"):
        events.append(event)
        if isinstance(event, Text):
            talk.cancel()
    last = end(events)
    assert last.reason == "cancelled"
    assert not [event for event in events if isinstance(event, Action)]
    assert (last.actions, len(last.retracted)) in {((), 0), ((), 1)}
    list(talk.say("Well?"))
    assert "wave" not in prompts(backend)[1].split("Wave!")[1]


def test_an_action_that_got_lost_on_its_way_is_taken_back(open_world: Any) -> None:
    world, backend = open_world([f"One. {WAVE} and {WAVE} on and on.", "Yes?"])
    talk = world.open("bram")
    seen: list[str] = []
    events = []
    for event in talk.say("Wave!"):
        events.append(event)
        if isinstance(event, Action):
            seen.append(event.id)
            if len(seen) == 2:
                talk.cancel(arrived=seen[:1])
    last = end(events)
    assert (last.actions, last.retracted) == ((seen[0],), (seen[1],))
    list(talk.say("Well?"))
    assert prompts(backend)[1].split("Wave!")[1].count("<toolcall>") == 1


def test_a_vetoed_action_is_not_in_the_history(open_world: Any) -> None:
    world, backend = open_world([f"One. {WAVE} Two.", "Yes?"])
    talk = world.open("bram")
    for event in talk.say("Wave!"):
        if isinstance(event, Action):
            assert talk.result(event.id, "failed", "Not in here.") is False
    list(talk.say("Well?"))
    assert "<toolcall>" not in prompts(backend)[1].split("Wave!")[1]


def test_cancel_before_the_first_event(open_world: Any) -> None:
    world, backend = open_world(["Yes?"])
    talk = world.open("mara")
    turn = talk.say("hi")
    talk.cancel()
    assert end(list(turn)).reason == "cancelled"
    assert not backend.requests
    assert end(list(talk.say("hi"))).text == "Yes?"


def test_cancel_without_a_turn_does_nothing(open_world: Any) -> None:
    world, _ = open_world(["Yes?"])
    talk = world.open("mara")
    talk.cancel()
    assert end(list(talk.say("hi"))).reason == "stop"


def test_closing_the_iterator_early_keeps_what_was_said(open_world: Any) -> None:
    world, backend = open_world(["One two three.", "Yes?"])
    talk = world.open("mara")
    turn = talk.say("Count!")
    assert [next(turn), next(turn)] == [Text(text="One", offset=0), Text(text=" two", offset=3)]
    turn.close()
    assert list(turn) == []
    list(talk.say("Well?"))
    assert "Assistant\nOne two\n<extra_id_1>User" in prompts(backend)[1]


def test_leaving_the_loop_is_closing(open_world: Any) -> None:
    world, backend = open_world(["One two three.", "Yes?"])
    talk = world.open("mara")
    for _ in talk.say("Count!"):
        break
    gc.collect()
    list(talk.say("Well?"))
    assert "Assistant\nOne\n<extra_id_1>User" in prompts(backend)[1]


def test_a_turn_that_nobody_listens_to_is_over_without_a_trace(open_world: Any) -> None:
    world, backend = open_world(["Yes?"])
    talk = world.open("mara")
    talk.say("Never mind.")
    gc.collect()
    list(talk.say("Well?"))
    assert len(backend.requests) == 1
    assert "Never mind" not in prompts(backend)[0]


# -- what goes wrong


def test_an_error_of_the_backend_in_the_middle_of_a_reply(open_world: Any) -> None:
    world, backend = open_world(["One two three.", "Yes?"])
    talk = world.open("mara")

    def fall(number: int) -> None:
        if number == 2:
            raise BackendError("The device is gone.", hint="Plug it in.", code="device_lost")

    backend.before = fall
    events = list(talk.say("Count!"))
    last = failed(events)
    assert (last.code, last.message, last.hint) == ("device_lost", "The device is gone.", "Plug it in.")
    assert last.text == spoken(events) == "One two"
    del backend.before
    assert end(list(talk.say("Well?"))).text == "Yes?"
    assert "Assistant\nOne two\n<extra_id_1>User" in prompts(backend)[1]


def test_an_error_before_the_first_word(open_world: Any) -> None:
    world, backend = open_world([BackendError("It burns.", code="fire"), "Yes?"])
    talk = world.open("mara")
    assert failed(list(talk.say("hi"))).code == "fire"
    assert end(list(talk.say("Well?"))).text == "Yes?"
    assert "hi\n<extra_id_1>User" not in prompts(backend)[1]  # no question without an answer in the history


def test_an_unexpected_exception_is_an_internal_error(
    open_world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    world, _ = open_world([ZeroDivisionError("oops"), "Yes?"])
    talk = world.open("mara")
    last = failed(list(talk.say("hi")))
    assert last.code == "internal_error"
    assert "ZeroDivisionError" in last.message
    assert last.hint
    assert "ZeroDivisionError" in caplog.text
    assert end(list(talk.say("hi"))).text == "Yes?"


def test_an_error_after_several_results(open_world: Any) -> None:
    """Answers that no speech followed are not left dangling in the history."""
    world, backend = open_world([f"Hm. {ASK} {ASK}", BackendError("It burns.", code="fire"), "Yes?"])
    talk = world.open("mara")
    assert failed(list(talk.say("Ask!"))).text == "Hm."
    list(talk.say("Well?"))
    assert f"Assistant\nHm. {ASK} {ASK}\n<extra_id_1>User" in prompts(backend)[2]


def test_a_prompt_that_does_not_fit(open_world: Any) -> None:
    world, _ = open_world(["Yes."], context_length=600)
    talk = world.open("bram")
    many = [f"target number {number}" for number in range(300)]
    last = failed(list(talk.say("hi", state={"nearby": many})))
    assert last.code == "prompt_too_long"
    assert "600" in last.message
    assert end(list(talk.say("hi", state={"nearby": []}))).text == "Yes."


@pytest.mark.parametrize("error", [MemoryStoreError("Disk full.", code="disk_full"), OSError("disk full")])
def test_memory_that_cannot_write(open_world: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    world, backend = open_world(["One.", "Two."])
    talk = world.open("mara")

    def full(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(world._memory, "append_turn", full)
        last = failed(list(talk.say("hi")))
    assert last.code == ("disk_full" if isinstance(error, MemoryStoreError) else "internal_error")
    assert last.text == "One."
    assert end(list(talk.say("go on"))).text == "Two."
    assert "One." in prompts(backend)[1]


def test_memory_that_cannot_recall(open_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = open_world(["One."])
    talk = world.open("mara")

    def broken(*_: Any, **__: Any) -> None:
        raise MemoryStoreError("Disk gone.", code="disk_gone")

    with monkeypatch.context() as patch:
        patch.setattr(world._memory, "recall", broken)
        assert failed(list(talk.say("hi"))).code == "disk_gone"
    assert end(list(talk.say("hi"))).text == "One."


def test_the_first_error_is_the_one_that_is_told(open_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = open_world([BackendError("It burns.", code="fire")])

    def full(*_: Any, **__: Any) -> None:
        raise MemoryStoreError("Disk full.", code="disk_full")

    monkeypatch.setattr(world._memory, "append_turn", full)
    assert failed(list(world.open("mara").say("hi"))).code == "fire"


# -- closing


def test_close(open_world: Any) -> None:
    world, backend = open_world(["Yes.", "No."])
    talk = world.open("mara")
    list(talk.say("hi"))
    assert not talk.closed
    talk.close()
    talk.close()
    assert talk.closed
    assert talk.id in backend.released
    assert code_of(lambda: talk.say("hi")) == "conversation_closed"
    assert code_of(lambda: talk.react("a bang")) == "conversation_closed"


def test_close_in_the_middle_of_a_turn_ends_and_remembers_it(open_world: Any) -> None:
    world, backend = open_world(["One two three.", "Yes?"])
    talk = world.open("mara", conversation="c1")
    turn = talk.say("Count!")
    said = [next(turn), next(turn)]
    talk.close()
    assert world._memory.history("c1")[0]["text"] == "One two"
    assert backend.released[-1] == "c1"
    rest = list(turn)
    assert end(rest).reason == "cancelled"
    assert end(rest).text == spoken(said + rest) == "One two"
    again = world.open("mara", conversation="c1")
    list(again.say("Well?"))
    assert "Assistant\nOne two\n<extra_id_1>User" in prompts(backend)[1]


def test_close_from_another_thread_while_waiting_for_a_result(open_world: Any, when_waiting: Any) -> None:
    world, _ = open_world([f"Stand back. {OPEN}"])
    talk = world.open("mara", conversation="c1")
    when_waiting(talk, talk.close)
    assert end(list(talk.say("Open!", state=NEARBY))).reason == "cancelled"
    assert world._memory.history("c1")[0]["text"] == "Stand back."


def test_a_turn_that_outlasts_its_closing_leaves_no_cache(
    open_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, backend = open_world(["One two three."])
    talk = world.open("mara", conversation="c1")
    monkeypatch.setattr("npcsdk.dialogue.conversation._PATIENCE", 0.0)
    backend.before = lambda number: talk.close() if number == 1 else None  # while the runtime computes
    assert end(list(talk.say("Count!"))).reason == "cancelled"
    assert not backend._sessions


def test_closing_before_anybody_listened(open_world: Any) -> None:
    world, backend = open_world(["Yes."])
    talk = world.open("mara")
    turn = talk.say("hi")
    talk.close()
    assert end(list(turn)).reason == "cancelled"
    assert not backend.requests


# -- knowledge


def test_lore_is_recalled_by_its_tags(open_world: Any) -> None:
    world, backend = open_world(["Aye."] * 4)
    line = "Tell me of the silver mine, the lake called Mere and the crypt with the amber crown."
    mara = end(list(world.open("mara").say(line)))
    sources = {recalled.source for recalled in mara.recalled}
    assert sources == {"lore/mine.md:3", "lore/lake.md:3"}
    bram = end(list(world.open("bram").say(line)))
    assert {recalled.source for recalled in bram.recalled} == {"lore/lake.md:3"}
    for last, prompt in zip((mara, bram), prompts(backend), strict=True):
        user = prompt.split("<extra_id_1>User")[-1]
        for recalled in last.recalled:
            assert f"<context> {recalled.text} </context>" in user
            assert recalled.score > 0
            assert recalled.reason
        assert "below the chapel" not in prompt


def test_a_follow_up_is_understood_from_the_line_before(open_world: Any) -> None:
    world, _ = open_world(["Aye."] * 3)
    talk = world.open("mara")
    list(talk.say("Do you know the silver mine?"))
    assert any("mine" in item.source for item in end(list(talk.say("why did that happen?"))).recalled)


def test_what_does_not_fit_is_told(open_world: Any) -> None:
    world, _ = open_world(["Aye."] * 40, context_length=420)
    talk = world.open("mara")
    dropped: set[str] = set()
    for _ in range(40):
        last = end(list(talk.say("Tell me more of that old silver mine and of the lake, will you please?")))
        dropped |= {item.what.split(":")[0] for item in last.dropped}
        assert all(item.tokens > 0 for item in last.dropped)
        assert last.tokens.prompt <= 420 - 420 // 4
    assert "history" in dropped


def test_a_secret_is_nowhere_until_its_condition_holds(open_world: Any) -> None:
    world, backend = open_world(["Aye."] * 6)
    talk = world.open("mara")
    for trust, known in ((None, False), (59, False), (60, True), (59, False)):
        list(talk.say("Where is the spare key?", state={} if trust is None else {"trust": trust}))
        request = backend.requests[-1]
        everything = request.prompt.text + "".join(message.content for message in request.prompt.messages)
        assert ("behind the clock" in everything) == known
        assert ("behind the clock" in request.prompt.text.split("<extra_id_1>")[0]) == known


def test_an_answer_of_the_game_makes_room_for_itself(open_world: Any) -> None:
    """The round after an action has a prompt that fits too, and what went for it is told."""
    world, backend = open_world(lambda request: "Aye, so it is, and so it was.", context_length=800)
    talk = world.open("mara")
    limit = 800 - 160
    while not backend.usages or backend.usages[-1].prompt_tokens < limit - 100:
        list(talk.say("The weather is fine."))
    script = iter([ASK, "There."])
    backend._answer = lambda request: next(script)
    for event in talk.say("Ask!"):
        if isinstance(event, Action):
            assert talk.result(event.id, "done", "word " * 100)
    assert isinstance(event, End)
    assert event.text == "There."
    before, first, second = backend.usages[-3:]
    assert before.prompt_tokens < first.prompt_tokens <= limit  # nothing had to go for the line
    assert "word word" in prompts(backend)[-1]
    assert second.prompt_tokens <= limit
    assert any(item.what.startswith("history:") for item in event.dropped)


def test_trimmed_turns_are_remembered(open_world: Any) -> None:
    """What has left the prompt's history is recalled like any other memory; what is in it is not said twice."""
    world, backend = open_world(lambda request: "I see, thank you kindly for that.", context_length=640)
    talk = world.open("bram")
    list(talk.say("My dog is called Wolfgang."))
    last = end(list(talk.say("What is my dog called?")))
    assert not any("Wolfgang" in item.text for item in last.recalled)
    for _ in range(40):
        list(talk.say("The weather is rather fine today, is it not, and so was it yesterday."))
    assert "User\nMy dog" not in prompts(backend)[-1]
    last = end(list(talk.say("What is my dog called?")))
    assert any("Wolfgang" in item.text for item in last.recalled)
    assert "Wolfgang" in prompts(backend)[-1]


# -- sampling


def test_sampling_is_the_personas_over_the_worlds_over_the_models(open_world: Any) -> None:
    options = {"sampling": {"temperature": 0.9, "top_k": 3, "top_p": 0.8, "max_tokens": 50}}
    world, backend = open_world(["a"] * 3, options=options)
    list(world.open("mara").say("hi", seed=11))
    list(world.open("bram").say("hi"))
    mara, bram = (request.sampling for request in backend.requests)
    assert (mara.temperature, mara.top_k, mara.top_p, mara.max_tokens, mara.seed) == (0.1, 7, 0.8, 50, 11)
    assert (bram.temperature, bram.top_k, bram.seed) == (0.5, 7, None)


def test_who_goes_first_is_said_to_the_runtime(open_world: Any) -> None:
    world, backend = open_world(["a"] * 3)
    talk = world.open("mara")
    list(talk.say("hi", priority=3))
    list(talk.react("A bell rings.", priority=-2))
    list(talk.say("hi"))
    assert [request.priority for request in backend.requests] == [3, -2, 0]


def test_a_seed_for_the_world_holds_until_a_turn_has_its_own(open_world: Any) -> None:
    world, backend = open_world(["a"] * 3, options={"sampling": {"seed": 5}})
    talk = world.open("mara")
    list(talk.say("hi"))
    list(talk.say("hi", seed=0))
    assert [request.sampling.seed for request in backend.requests] == [5, 0]


def test_every_request_names_its_conversation_and_the_stops(open_world: Any) -> None:
    world, backend = open_world(["a"])
    talk = world.open("mara")
    list(talk.say("hi"))
    assert backend.requests[0].session == talk.id
    assert "<extra_id_1>" in backend.requests[0].stop


# -- the cache: a prompt begins with the one before it


def unchanged(before: Request, after: Request) -> bool:
    return after.prompt.segments[: len(before.prompt.segments)] == before.prompt.segments


SPEECH = st.lists(
    st.sampled_from(["Aye.", "No 🙂", "well,", "So be it", "\n", "é"]), min_size=1, max_size=5
).map(" ".join)
REPLY = st.tuples(SPEECH, st.sampled_from(["", WAVE, f"{WAVE} {WAVE}", ASK, OPEN])).map(
    lambda pair: f"{pair[0].strip()} {pair[1]}".strip()
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(replies=st.lists(REPLY.filter(bool), min_size=4, max_size=12))
def test_a_prompt_begins_with_the_one_before_and_what_was_sampled(
    open_world: Any, replies: list[str]
) -> None:
    script = itertools.cycle(replies)
    world, backend = cache_world(open_world)
    # after a result it speaks: asking once more would be refused (one round), and what is refused leaves the history
    backend._answer = lambda request: (
        "So it is." if request.prompt.messages[-1].role == "tool" else next(script)
    )
    talk = world.open("mara")
    backend.requests.clear()
    backend.usages.clear()
    for number in range(4):
        turn = talk.say(f"Tell me of the mine, number {number}.", state={"place": f"room {number}", **NEARBY})
        for event in turn:
            if isinstance(event, Action) and event.returns == "result":
                talk.result(event.id, "done", number)
        assert isinstance(event, End)
    assert len(backend.usages) == len(backend.requests) >= 4
    for before, after in itertools.pairwise(backend.requests):
        assert unchanged(before, after)
        assert after.prompt.segments[len(before.prompt.segments)].ids is not None
    for was, now in itertools.pairwise(backend.usages):
        assert now.cached_tokens == was.prompt_tokens + was.generated_tokens


_WORLDS: dict[int, Any] = {}


def cache_world(open_world: Any) -> Any:
    """One world for all examples of a property: opening one takes longer than a conversation."""
    if id(open_world) not in _WORLDS:
        _WORLDS.clear()
        _WORLDS[id(open_world)] = open_world(lambda request: "", limits=Limits(rounds=1, calls=20))
    return _WORLDS[id(open_world)]


def test_the_system_part_is_the_same_bytes_over_turns(open_world: Any) -> None:
    world, backend = open_world(["Aye."] * 6)
    talk = world.open("mara")
    for number in range(6):
        list(talk.say(f"Line {number}.", state={"trust": number, "nearby": [f"thing {number}"]}))
    heads = {prompt.split("<extra_id_1>")[0] for prompt in prompts(backend)}
    assert len(heads) == 1
    assert "thing" not in heads.pop()


# -- memory


def test_memory_is_written_before_the_end_is_told(open_world: Any) -> None:
    world, _ = open_world(["Good day."])
    talk = world.open("mara", conversation="c1")
    for event in talk.say("Hello!", turn="t1"):
        kept = world._memory.history("c1")
        assert bool(kept) == isinstance(event, End)
    assert kept[0]["turn"] == "t1"
    assert (kept[0]["line"], kept[0]["text"], kept[0]["reason"]) == ("Hello!", "Good day.", "stop")


def test_a_restart_goes_on_with_the_same_messages(open_world: Any, tmp_path: Path) -> None:
    world, backend = open_world(
        [f"Good day. {WAVE}", f"Hm. {ASK}", "No 🙂.", "Well."], memory=tmp_path / "memory"
    )
    talk = world.open("mara", conversation="c1")
    list(talk.say("My name is Anselm."))
    list(talk.say("Ask!"))
    list(talk.react("A bell rings."))
    before = backend.requests[-1].prompt
    world.close()
    world, backend = open_world(["Aye.", "Aye."], memory=tmp_path / "memory")
    list(world.open("mara", conversation="c1").say("And now?"))
    after = backend.requests[-1].prompt
    assert after.text.startswith(before.text)
    assert before.messages == after.messages[: len(before.messages)]
    list(world.open("mara", conversation="c2").say("And now?"))
    assert "Anselm" not in prompts(backend)[-1].split("<extra_id_1>User", 2)[0]


def test_another_conversation_remembers_what_was_said(open_world: Any, tmp_path: Path) -> None:
    world, _ = open_world(["Good day, Anselm."], memory=tmp_path / "memory")
    list(world.open("mara", player="anselm").say("My favourite fish is the pike."))
    world.close()
    world, backend = open_world(["Pike.", "Dunno.", "Dunno."], memory=tmp_path / "memory")
    last = end(list(world.open("mara", player="anselm").say("Which fish is my favourite?")))
    assert any("pike" in item.text for item in last.recalled)
    last = end(list(world.open("mara", player="berta").say("Which fish is my favourite?")))
    assert not any("pike" in item.text for item in last.recalled)
    last = end(list(world.open("bram", player="anselm").say("Which fish is my favourite?")))
    assert not any("pike" in item.text for item in last.recalled)
    assert "pike" not in prompts(backend)[-1]


def test_a_long_history_is_taken_up_as_far_as_the_window_goes(open_world: Any, tmp_path: Path) -> None:
    world, _ = open_world(lambda request: "Aye, that it is.", memory=tmp_path / "memory")
    talk = world.open("bram", conversation="c1")
    for number in range(30):
        list(talk.say(f"This is line number {number} of a long talk."))
    world.close()
    world, backend = open_world(lambda request: "Aye.", memory=tmp_path / "memory", context_length=900)
    list(world.open("bram", conversation="c1").say("Well?"))
    assert "number 29 of" in prompts(backend)[0]
    assert "number 0 of" not in prompts(backend)[0]
    assert backend.requests[0].prompt.text.count("<extra_id_1>User") > 3


def test_conversations_run_side_by_side(open_world: Any) -> None:
    world, _ = open_world(lambda request: request.prompt.text.rsplit("word-", 1)[1].split("\n")[0])
    heard: dict[int, list[str]] = {}

    def talk(number: int) -> None:
        conversation: Conversation = world.open("bram", player=f"player {number}")
        heard[number] = [end(list(conversation.say(f"Say word-{number}{turn}"))).text for turn in "abc"]

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert heard == {number: [f"{number}{turn}" for turn in "abc"] for number in range(6)}
