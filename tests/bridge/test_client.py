"""A world for a Python game: the same behaviour in this process, in a child process and over a socket."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

import npcsdk
from npcsdk.actions.schema import ActionDefinition
from npcsdk.bridge.client import AsyncWorld, World
from npcsdk.errors import ActionError, ModelError, NpcError, ProtocolError, TurnError, WorldError
from npcsdk.events import Action, End, Failed, Refused, Text
from tests.bridge.conftest import OPENER

Open = Callable[..., World]
OpenAsync = Callable[..., AsyncWorld]


def open_gate(target: str) -> str:
    """Opens a gate."""
    return f"{target} is open"


def test_a_line_is_answered_event_by_event(open_world: Open) -> None:
    world = open_world()
    turn = world["mira"].say("hello")
    assert list(turn) == [
        Text(text="mira heard ", offset=0),
        Text(text="hello", offset=11),
        End(reason="stop", text="mira heard hello"),
    ]
    assert list(turn) == []
    assert turn.text() == "mira heard hello"


def test_the_world_tells_its_characters(open_world: Open) -> None:
    world = open_world()
    assert world.name == "Testholm"
    assert list(world.npcs) == ["mira", "tom"]
    tom = world["tom"]
    assert (tom.id, tom.name, tom.role, tom.voice) == ("tom", "Old Tom", "a test", "low")
    assert world["tom"] is tom


def test_an_unknown_character_is_named_with_the_nearest(open_world: Open) -> None:
    with pytest.raises(WorldError, match="Did you mean 'mira'") as caught:
        open_world()["mirra"]
    assert caught.value.code == "npc_unknown"


def test_state_seed_and_happenings_travel(open_world: Open) -> None:
    mira = open_world()["mira"]
    assert mira.say("state", state={"trust": 7}, seed=42).text() == "{'trust': 7} 42"
    assert mira.react("a bell").text().endswith("You saw: a bell")


def test_who_goes_first_travels(open_world: Open) -> None:
    mira = open_world()["mira"]
    assert mira.say("how urgent", priority=3).text() == "3"
    assert mira.react("how urgent", priority=-2).text() == "-2"
    assert mira.say("how urgent").text() == "0"
    with pytest.raises(ProtocolError) as caught:
        mira.say("how urgent", priority=10)
    assert caught.value.code == "unencodable"


def test_a_function_of_the_game_is_called_and_answers(open_world: Open) -> None:
    called: list[str] = []

    def open_gate(target: str) -> str:
        """Opens a gate."""
        called.append(threading.current_thread().name)
        return f"{target} is open"

    mira = open_world(actions=[open_gate])["mira"]
    assert mira.say("act open_gate north").text() == "Wait. done: north is open"
    assert len(called) == 1
    assert called[0] != threading.current_thread().name


def test_handlers_may_run_in_the_thread_that_iterates(open_world: Open) -> None:
    called: list[threading.Thread] = []

    def open_gate(target: str) -> str:
        called.append(threading.current_thread())
        return "ok"

    mira = open_world(actions=[open_gate], handlers="caller")["mira"]
    assert mira.say("act open_gate north").text() == "Wait. done: ok"
    assert called == [threading.current_thread()]


def test_a_handler_that_raises_fails_the_action_not_the_turn(
    open_world: Open, caplog: pytest.LogCaptureFixture
) -> None:
    def open_gate(target: str) -> str:
        raise RuntimeError("the gate is rusted shut")

    mira = open_world(actions=[open_gate])["mira"]
    assert mira.say("act open_gate north").text() == "Wait. failed: the gate is rusted shut"
    assert "rusted shut" in caplog.text


def test_a_handler_that_returns_what_cannot_be_sent_fails_the_action(
    open_world: Open, caplog: pytest.LogCaptureFixture
) -> None:
    def open_gate(target: str) -> object:
        return object()

    mira = open_world(actions=[ActionDefinition(name="open_gate")])["mira"]
    assert mira is not None
    mira = open_world(actions={"open_gate": open_gate})["mira"]
    assert mira.say("act open_gate north").text().startswith("Wait. failed: This cannot be sent")


@pytest.mark.parametrize("inline", [True, False])
def test_a_handler_that_never_returns_does_not_hold_up_the_turn(inline: bool) -> None:
    never = threading.Event()

    def open_gate(target: str) -> str:
        never.wait()
        return "too late"

    with World(inline=inline, opener=OPENER, actions=[open_gate], options={"timeout": 0.2}) as world:
        assert world["mira"].say("act open_gate north").text() == "Wait. no answer"
        assert world["mira"].say("hello").text() == "mira heard hello"
    never.set()


def test_actions_run_in_the_order_in_which_they_were_said(open_world: Open) -> None:
    called: list[str] = []
    second = threading.Event()

    def first() -> None:
        second.wait(0.1)  # were the second not to wait, it would run now
        called.append("first")

    def last() -> None:
        called.append("last")
        second.set()

    mira = open_world(actions={"first": first, "last": last})["mira"]
    mira.say("do first last").text()
    assert second.wait(5)
    assert called == ["first", "last"]


def test_a_game_may_answer_actions_itself(open_world: Open) -> None:
    mira = open_world(actions=[ActionDefinition(name="open_gate", returns="result")])["mira"]
    for answer, said in (("done", "Wait. done: 3"), ("failed", "Wait. failed: no key")):
        turn = mira.say("act open_gate north")
        for event in turn:
            if isinstance(event, Action):
                turn.result(event, 3) if answer == "done" else turn.fail(event, "no key")
        assert turn.text() == said


def test_the_veto_hook_decides_last(open_world: Open) -> None:
    ran: list[str] = []
    actions = {"wave": lambda: ran.append("wave"), "burn": lambda: ran.append("burn")}

    def veto(action: Action) -> str | None:
        if action.name == "fly":
            raise RuntimeError("a bug")
        return "Not in here." if action.name == "burn" else None

    events = list(open_world(actions=actions, veto=veto)["mira"].say("do burn wave fly"))
    assert [(event.name, event.code, event.message) for event in events if isinstance(event, Refused)] == [
        ("burn", "vetoed", "Not in here."),
        ("fly", "vetoed", "RuntimeError: a bug"),
    ]
    assert [event.name for event in events if isinstance(event, Action)] == ["wave"]
    assert "burn" not in ran


def test_a_veto_that_gives_no_reason_forbids_and_what_is_forbidden_was_not_given(
    open_world: Open, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"wave": None, "burn": False, "fly": True}
    world = open_world(veto=lambda action: answers[action.name])  # type: ignore[arg-type,return-value]
    events = list(world["mira"].say("do wave burn fly"))
    refused = [event for event in events if isinstance(event, Refused)]
    assert [(event.name, event.message) for event in refused] == [
        ("burn", "not allowed"),
        ("fly", "not allowed"),
    ]
    assert "not a reason or None" in caplog.text
    assert isinstance(events[-1], End)
    assert events[-1].actions == ("a0",)


def test_something_that_is_no_action_is_an_error(way: str) -> None:
    with pytest.raises(ActionError):
        World(inline=True, opener=OPENER, actions=["open_gate"])  # type: ignore[list-item]


def test_leaving_the_loop_cancels_and_the_next_line_is_answered(open_world: Open) -> None:
    mira = open_world()["mira"]
    for _ in mira.say("for-ever"):
        break
    assert mira.say("hello").text() == "mira heard hello"


def test_cancel_ends_the_turn_with_what_was_said(open_world: Open) -> None:
    turn = open_world()["mira"].say("for-ever")
    events = []
    for event in turn:
        events.append(event)
        turn.cancel()
    assert isinstance(events[-1], End)
    assert events[-1].reason == "cancelled"
    assert turn.text() == "".join(event.text for event in events if isinstance(event, Text))


def test_ctrl_c_leaves_a_turn_that_can_be_cancelled(open_world: Open) -> None:
    turn = open_world()["mira"].say("for-ever")

    def interrupted() -> None:
        for _ in turn:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    turn.cancel()
    assert turn.text()
    assert isinstance(turn.last, End)
    assert turn.last.reason == "cancelled"


def test_two_turns_at_once_the_second_is_refused(open_world: Open) -> None:
    mira = open_world()["mira"]
    first = mira.say("for-ever")
    events = iter(first)
    assert isinstance(next(events), Text)
    with pytest.raises(TurnError) as caught:
        mira.say("hello").text()
    assert caught.value.code == "turn_in_progress"
    assert caught.value.hint
    first.cancel()
    assert list(events)[-1].reason == "cancelled"


def test_a_failed_turn_raises_from_text_and_is_an_event_in_a_loop(open_world: Open) -> None:
    mira = open_world()["mira"]
    assert list(mira.say("fail"))[-1] == Failed(
        code="backend_error", message="It broke.", hint="Mend it.", text="Hm"
    )
    with pytest.raises(TurnError, match="It broke"):
        mira.say("fail").text()
    with pytest.raises(TurnError) as caught:
        mira.say("  ").text()
    assert caught.value.code == "empty_line"
    assert mira.say("hello").text() == "mira heard hello"


def test_a_refused_action_is_an_event(open_world: Open) -> None:
    events = list(open_world()["mira"].say("refuse"))
    assert events[0] == Refused(name="fly", code="unknown_action", message="Nobody can fly.")


def test_conversations_apart_from_the_default_one(open_world: Open) -> None:
    mira = open_world()["mira"]
    with mira.conversation(player="Ada") as ada, mira.conversation(player="Ben") as ben:
        first, second = ada.say("hello"), ben.say("hello")
        assert first.text() == second.text() == "mira heard hello"
        assert ada.history != ben.history
        history = ada.history
    with mira.conversation(player="Ada", history=history) as again:
        assert again.say("hello").text()
        assert again.history == history


def test_an_unencodable_line_is_an_error_at_once(open_world: Open) -> None:
    mira = open_world()["mira"]
    with pytest.raises(ProtocolError):
        mira.say("\ud800")
    with pytest.raises(ProtocolError):
        mira.say("hello", state={"player": object()})
    assert mira.say("hello").text() == "mira heard hello"


def test_many_events_keep_their_order(open_world: Open) -> None:
    events = list(open_world()["mira"].say("count 3000"))
    # Over a socket, several may have been joined.
    assert "".join(event.text for event in events[:-1]) == "".join(f"{number} " for number in range(3000))


def test_many_threads_talk_at_once(open_world: Open) -> None:
    world = open_world()
    heard: dict[int, str] = {}

    def talk(number: int) -> None:
        with world["mira"].conversation(player=f"p{number}") as conversation:
            for _ in range(3):
                heard[number] = conversation.say(f"line {number}").text()

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert heard == {number: f"mira heard line {number}" for number in range(12)}


def test_a_closed_world_says_so(open_world: Open) -> None:
    world = open_world()
    mira = world["mira"]
    turn = mira.say("for-ever")
    world.close()
    world.close()
    assert list(turn)[-1].code == "closed"
    with pytest.raises(npcsdk.BridgeError) as caught:
        mira.say("hello")
    assert caught.value.code == "closed"


@pytest.mark.parametrize("inline", [True, False])
def test_a_model_that_is_missing_is_the_error_that_was_raised_there(inline: bool) -> None:
    with pytest.raises(ModelError) as caught:
        World(inline=inline, opener=OPENER, model="missing")
    assert (caught.value.code, caught.value.hint) == ("model_not_found", "Take another.")


def test_loading_is_told() -> None:
    stages: list[str] = []
    with World(
        inline=True, opener=OPENER, model="slow", on_loading=lambda stage, progress: stages.append(stage)
    ):
        assert stages


def test_a_world_that_is_dropped_is_closed() -> None:
    world = World(inline=True, opener=OPENER)
    thread = world.core.thread
    del world
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_a_character_keeps_its_world_alive() -> None:
    mira = World(inline=True, opener=OPENER)["mira"]
    gc.collect()
    assert mira.say("hello").text() == "mira heard hello"


# The same in an event loop


def test_async_a_line_is_answered_event_by_event(open_async: OpenAsync) -> None:
    async def play() -> list[Any]:
        async with open_async() as world:
            assert world.name == "Testholm"
            events = [event async for event in world["mira"].say("hello")]
            assert await world["tom"].say("hello").text() == "tom heard hello"
            return events

    assert asyncio.run(play()) == [
        Text(text="mira heard ", offset=0),
        Text(text="hello", offset=11),
        End(reason="stop", text="mira heard hello"),
    ]


@pytest.mark.parametrize("handlers", ["thread", "caller"])
def test_async_handlers_are_awaited_in_the_loop(open_async: OpenAsync, handlers: Any) -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()

        async def open_gate(target: str) -> str:
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0)
            return f"{target} is open"

        async with open_async(actions=[open_gate], handlers=handlers) as world:
            said = await world["mira"].say("act open_gate north").text()
            assert said == "Wait. done: north is open"

    asyncio.run(play())


def test_async_the_loop_goes_on_while_a_character_speaks(open_async: OpenAsync) -> None:
    async def play() -> None:
        async with open_async() as world:
            first, second = world["mira"].say("for-ever"), world["tom"].say("hello")
            assert await second.text() == "tom heard hello"
            first.cancel()
            await first.text()
            assert isinstance(first.last, End)

    asyncio.run(play())


def test_async_leaving_the_loop_cancels_and_the_next_line_is_answered(open_async: OpenAsync) -> None:
    async def play() -> None:
        async with open_async() as world:
            async for _ in world["mira"].say("for-ever"):
                break
            assert await world["mira"].say("hello").text() == "mira heard hello"

    asyncio.run(play())


def test_async_a_cancelled_task_cancels_its_turn(open_async: OpenAsync) -> None:
    async def play() -> None:
        async with open_async() as world:
            mira = world["mira"]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(mira.say("for-ever").text(), 0.2)
            assert await mira.say("hello").text() == "mira heard hello"

    asyncio.run(play())


def test_async_an_error_is_raised_when_it_is_awaited() -> None:
    async def play() -> None:
        with pytest.raises(ModelError):
            async with AsyncWorld(inline=True, opener=OPENER, model="missing"):
                pass

    asyncio.run(play())


def test_a_coroutine_as_handler_needs_a_loop(open_world: Open, caplog: pytest.LogCaptureFixture) -> None:
    async def open_gate(target: str) -> str:
        return "never"

    mira = open_world(actions=[open_gate])["mira"]
    assert "is a coroutine" in mira.say("act open_gate north").text()


# Beside turns


def test_a_game_steers_its_world(open_world: Open) -> None:
    world = open_world()
    world["mira"].say("hello").text()
    world.save("here")
    assert world.slots() == ["here"]
    world.load("here")
    world.set_values("mira", {"trust": 60})
    world.remember("mira", "It rained.", importance=0.9)
    with pytest.raises(TurnError) as caught:
        world.load("nowhere")
    assert (caught.value.code, bool(caught.value.hint)) == ("slot_unknown", True)


def test_a_conversation_is_prepared_updated_and_heard_in_part(open_world: Open) -> None:
    world = open_world()
    with world["mira"].conversation() as talk:
        talk.prepare()
        talk.typing("hel")
        talk.update({"night": True})
        turn = talk.say("for-ever")
        next(iter(turn))
        turn.heard(2)
        turn.cancel()
        assert turn.text()
        assert talk.say("hello").text() == "mira heard hello"


def test_the_same_for_an_event_loop(open_async: OpenAsync) -> None:
    async def game() -> list[str]:
        async with open_async() as world:
            async with world["mira"].conversation() as talk:
                await talk.prepare()
                await talk.update({"night": True})
                turn = talk.say("hello")
                await turn.text()
                await turn.heard(4)
            await world.save("here")
            await world.remember("mira", "It rained.")
            await world.set_values("mira", {"trust": 60})
            await world.load("here")
            return await world.slots()

    assert asyncio.run(game()) == ["here"]


def test_a_world_that_is_closed_answers_no_request(open_world: Open) -> None:
    world = open_world()
    world.close()
    with pytest.raises(NpcError):
        world.save("here")
