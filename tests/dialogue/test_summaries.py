"""Long conversations: what leaves the prompt is summed up, off the reply path, and no turn is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from npcsdk.backends.base import Request
from npcsdk.dialogue.conversation import Conversation
from npcsdk.dialogue.world import World
from npcsdk.errors import BackendError, MemoryStoreError, NpcError
from npcsdk.events import End
from npcsdk.memory.recall import Memory

DOG = "My dog is called Wolfgang."
WINDOW = 900
NOTES = "You keep notes of a talk."


def small_talk(talk: Conversation, world: World, turns: int = 20) -> None:
    for number in range(turns):
        list(talk.say(f"The weather is rather fine today, is it not, and so was it {number} days ago."))
        assert world._summaries.settled(10)


def long_talk(world: World, **options: Any) -> Conversation:
    talk = world.open("bram", player="anselm", conversation="c1", **options)
    list(talk.say(DOG))
    list(talk.react("The northern bridge collapsed."))
    small_talk(talk, world)
    return talk


def answer(request: Request) -> str:
    return "I see, thank you kindly for that."


def told(backend: Any) -> str:
    """What the last prompt says of what was before its turns."""
    head, _, history = backend.requests[-1].prompt.text.partition("<extra_id_1>User")
    assert DOG not in history
    return head.partition("<context> Earlier")[2]


def test_what_left_the_prompt_stands_in_it_summed_up(open_world: Any) -> None:
    world, backend = open_world(answer, context_length=WINDOW)
    talk = long_talk(world)
    last = list(talk.say("Well?"))[-1]
    assert f"anselm said: {DOG}" in told(backend)
    assert "It happened: The northern bridge collapsed." in told(backend)
    assert isinstance(last, End)
    (item, *_) = last.recalled
    assert item.source == "memory/summary"
    assert DOG in item.text
    assert "first" in item.reason
    assert all(each.reason for each in last.recalled)
    assert all(usage.prompt_tokens <= WINDOW for usage in backend.usages)


def test_it_takes_no_more_than_its_share(open_world: Any) -> None:
    world, backend = open_world(answer, context_length=WINDOW)
    talk = world.open("bram")
    for number in range(30):
        list(talk.say(f"My {number}th cousin Ebenezer{number} of Stonebrook{number} owns {number} mills."))
        assert world._summaries.settled(10)
        assert backend.count(told(backend).partition("</context>")[0]) <= WINDOW * 0.1


def test_the_prompt_changes_before_its_turns_only_when_turns_leave_it(open_world: Any) -> None:
    world, backend = open_world(answer, context_length=2000)
    small_talk(world.open("bram", player="anselm"), world, 60)
    texts = [request.prompt.text for request in backend.requests]
    heads = [text.partition("<extra_id_1>User")[0] for text in texts]
    firsts = [text.split("<extra_id_1>User")[1] for text in texts]
    changes = [number for number in range(2, len(texts)) if heads[number] != heads[number - 1]]
    assert 1 <= len(changes) <= 8
    assert all(firsts[number] != firsts[number - 1] for number in changes)


def test_a_reopened_conversation_has_it_and_a_forgotten_one_has_not(open_world: Any, tmp_path: Path) -> None:
    world, backend = open_world(answer, context_length=WINDOW, memory=tmp_path)
    long_talk(world)
    world.close()
    world, backend = open_world(answer, context_length=WINDOW, memory=tmp_path)
    talk = world.open("bram", player="anselm", conversation="c1")
    list(talk.say("Well?"))
    assert f"anselm said: {DOG}" in told(backend)
    first = backend.requests[0].prompt.text
    small_talk(talk, world)
    assert f"anselm said: {DOG}" in told(backend)
    assert first.count("The weather is rather fine") > 2
    world.close()
    with Memory.open(tmp_path, index="exact") as memory:
        assert len(memory.history("c1")) == 2 + 20 + 1 + 20  # no turn is lost
        memory.forget("anselm")
    world, backend = open_world(answer, context_length=WINDOW, memory=tmp_path)
    list(world.open("bram", player="anselm", conversation="c1").say("Well?"))
    assert told(backend) == ""


def test_turns_of_a_reopened_conversation_are_not_taken_for_earlier_ones(
    open_world: Any, tmp_path: Path
) -> None:
    for number in range(3):
        world, backend = open_world(answer, memory=tmp_path)
        list(world.open("bram", conversation="c1").say(f"This is visit {number}."))
        assert all(f"visit {each}." in backend.requests[0].prompt.text for each in range(number + 1))
        world.close()


def test_a_smaller_window_still_holds_what_was_summed_up_for_a_larger(
    open_world: Any, tmp_path: Path
) -> None:
    world, backend = open_world(answer, context_length=1200, memory=tmp_path)
    talk = long_talk(world)
    small_talk(talk, world, 30)
    assert f"anselm said: {DOG}" in told(backend)
    world.close()
    world, backend = open_world(answer, context_length=500, memory=tmp_path)
    list(world.open("bram", player="anselm", conversation="c1").say("Well?"))
    assert backend.usages[0].prompt_tokens <= 500
    assert "Earlier in this talk" in backend.requests[0].prompt.text


def test_loading_a_save_brings_back_what_was_not_yet_summed_up(open_world: Any) -> None:
    world, backend = open_world(answer, context_length=WINDOW)
    talk = world.open("bram", player="anselm", conversation="c1")
    list(talk.say("My cat is called Amadeus."))
    world.save("here")
    list(talk.say(DOG))
    small_talk(talk, world)
    assert "Wolfgang" in told(backend)
    world.load("here")
    list(talk.say("Well?"))
    assert "Amadeus" in backend.requests[-1].prompt.text
    assert "Wolfgang" not in backend.requests[-1].prompt.text
    small_talk(talk, world)
    assert "Amadeus" in told(backend)
    assert "Wolfgang" not in told(backend)


def test_what_was_not_heard_leaves_the_summary_too(open_world: Any, tmp_path: Path) -> None:
    replies = iter(["The treasure lies below the oak. Beware of Hrothgar the tanner."])
    world, backend = open_world(
        lambda request: next(replies, "I see, thank you kindly."), context_length=WINDOW, memory=tmp_path
    )
    talk = world.open("bram", player="anselm", conversation="c1")
    list(talk.say("Where is it?", turn="t1"))
    small_talk(talk, world)
    list(talk.say("Well?"))
    assert "Hrothgar" in told(backend)
    assert talk.heard("t1", len("The treasure lies below the oak."))
    list(talk.say("Well?"))
    assert "below the oak" in told(backend)
    assert "Hrothgar" not in backend.requests[-1].prompt.text
    world.close()
    world, backend = open_world(answer, context_length=WINDOW, memory=tmp_path)
    list(world.open("bram", player="anselm", conversation="c1").say("Well?"))
    assert "Hrothgar" not in backend.requests[-1].prompt.text


# -- the model sums up


class Model:
    """Answers turns, and sums up as it is told to."""

    def __init__(self, *summaries: str | Exception) -> None:
        self.asked: list[Request] = []
        self._summaries = list(summaries)

    def __call__(self, request: Request) -> Any:
        if NOTES not in request.prompt.text:
            return answer(request)
        self.asked.append(request)
        return self._summaries.pop(0) if len(self._summaries) > 1 else self._summaries[0]


def test_the_model_sums_up_where_it_is_named_for_it(open_world: Any) -> None:
    model = Model("Anselm has a dog called Wolfgang and spoke of the fine weather.")
    world, backend = open_world(model, context_length=WINDOW, options={"summaries": "model"})
    talk = long_talk(world)
    list(talk.say("Well?"))
    assert "You remember it so: Anselm has a dog called Wolfgang" in told(backend)
    assert "It happened: The northern bridge collapsed." in told(backend)  # in the game's own words
    assert all(request.priority < -1 and request.session is None for request in model.asked)
    assert all(request.sampling.max_tokens < 60 for request in model.asked)
    later = model.asked[-1].prompt.text
    assert "Anselm has a dog called Wolfgang" in later  # it goes on from its own words


@pytest.mark.parametrize(
    "written",
    ["", "The dragon Smaug burnt all the ships.", "no end", BackendError("broken", code="runtime_failed")],
)
def test_what_the_model_cannot_do_is_done_without_it(open_world: Any, written: Any) -> None:
    world, backend = open_world(Model(written), context_length=WINDOW, options={"summaries": "model"})
    talk = long_talk(world)
    list(talk.say("Well?"))
    assert f"anselm said: {DOG}" in told(backend)
    assert "Smaug" not in told(backend)


def test_a_failed_model_is_asked_again(open_world: Any) -> None:
    model = Model(BackendError("busy", code="runtime_failed"), "Anselm has a dog called Wolfgang there.")
    world, backend = open_world(model, context_length=WINDOW, options={"summaries": "model"})
    talk = long_talk(world)
    list(talk.say("Well?"))
    assert "You remember it so: Anselm has a dog called Wolfgang there." in told(backend)


def test_a_turn_interrupts_the_model_that_sums_up_and_it_begins_again(open_world: Any) -> None:
    model = Model("Anselm has a dog called Wolfgang there.")
    world, backend = open_world(model, context_length=WINDOW, options={"summaries": "model"})
    at_work, turns_run = threading.Event(), 0
    generate = backend.generate

    def watched(request: Request) -> Any:
        nonlocal turns_run
        if NOTES not in request.prompt.text:
            turns_run += 1
            assert world._summaries._flag, "the model was not told to stop"
        elif len(model.asked) == 0:
            at_work.set()
            interrupted.wait(10)
            assert request.cancel
        else:
            assert world._summaries._turns == 0
        return generate(request)

    interrupted = threading.Event()
    backend.generate = watched
    talk = world.open("bram", player="anselm")
    list(talk.say(DOG))
    number = 0
    while not at_work.is_set():
        number += 1
        assert number < 60
        list(talk.say(f"The weather is rather fine today, is it not, and so was it {number} days ago."))
        at_work.wait(0.01)
    turn = talk.say("And you?")  # begins while the model is at it
    interrupted.set()
    assert isinstance(list(turn)[-1], End)
    assert world._summaries.settled(20)
    list(talk.say("Well?"))
    assert "You remember it so" in told(backend)
    assert len(model.asked) >= 2


@pytest.mark.parametrize("option", ["often", True, None])
def test_an_option_that_is_none_is_refused(open_world: Any, option: Any) -> None:
    with pytest.raises(NpcError) as caught:
        open_world([], options={"summaries": option})
    assert caught.value.code == "bad_option"


# -- memory that cannot write


def test_a_summary_that_cannot_be_written_is_written_later(
    open_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, backend = open_world(answer, context_length=WINDOW)
    append, failed = Memory.append_summary, threading.Semaphore(0)
    left = iter([True, True])

    def fail_twice(memory: Memory, *args: Any, **options: Any) -> None:
        if next(left, False):
            failed.release()
            raise MemoryStoreError("full", hint="", code="disk_full")
        append(memory, *args, **options)

    monkeypatch.setattr("npcsdk.dialogue.summaries._PAUSE", 0.001)
    monkeypatch.setattr(Memory, "append_summary", fail_twice)
    talk = long_talk(world)
    assert failed.acquire(timeout=0)
    assert failed.acquire(timeout=0)
    list(talk.say("Well?"))
    assert f"anselm said: {DOG}" in told(backend)


def test_when_it_never_can_the_turns_stay_and_it_is_tried_again(
    open_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, backend = open_world(answer, context_length=WINDOW)
    tried: list[str] = []

    def fail(memory: Memory, conversation: str, *args: Any, **options: Any) -> None:
        tried.append(conversation)
        raise MemoryStoreError("full", hint="", code="disk_full")

    monkeypatch.setattr("npcsdk.dialogue.summaries._PAUSE", 0.001)
    monkeypatch.setattr(Memory, "append_summary", fail)
    talk = long_talk(world)
    assert len(tried) > 5
    list(talk.say("Well?"))
    assert told(backend) == ""
    monkeypatch.undo()
    assert world._summaries.settled(10)
    list(talk.say("Well?"))
    assert world._summaries.settled(10)
    list(talk.say("Well?"))
    assert f"anselm said: {DOG}" in told(backend)
