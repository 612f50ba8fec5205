"""Calls in a turn: announced before their arguments, repaired where the meaning is clear, one at a time if asked."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Piece
from npcsdk.dialogue.turn import Result, TurnMachine
from npcsdk.events import Action, ActionStarted, Event, Refused, Text

FORMAT = load_format("nemotron")
GATE = ActionDefinition(
    name="open_gate",
    parameters={
        "type": "object",
        "properties": {
            "gate": {"type": "string", "x-from": "state.nearby"},
            "times": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["gate"],
    },
)
LOOK = ActionDefinition(name="look_up", returns="result")
CLOSE = ActionDefinition(name="close_gate", when="night")
OFFER = make_offer([GATE, LOOK, CLOSE], {"nearby": [{"name": "iron gate", "id": "g1"}, "postern"]})
OPEN = FORMAT.render_call("open_gate", {"gate": "iron gate"})


def machine(tool_format: str = "nemotron", **options: Any) -> TurnMachine:
    numbers = itertools.count(1)
    options = {"max_calls": 4, **options}
    return TurnMachine(
        offer=OFFER, tool_format=load_format(tool_format), new_id=lambda: f"a{next(numbers)}", **options
    )


def events_of(chunks: list[str], turn: TurnMachine, **over: bool) -> list[Event]:
    events = [event for chunk in chunks for event in turn.piece(Piece(chunk))]
    joined: list[Event] = []
    for event in [*events, *turn.round_over(**over)]:
        if joined and isinstance(event, Text) and isinstance(last := joined[-1], Text):
            joined[-1] = Text(text=last.text + event.text, offset=last.offset)
        else:
            joined.append(event)
    return joined


def one(output: str, **over: bool) -> list[Event]:
    return events_of([output], machine(), **over)


# -- announcements

ANNOUNCED = {
    "an action": (
        f"Yes. {OPEN} Go.",
        [
            Text(text="Yes."),
            ActionStarted(id="a1", name="open_gate", offset=4),
            Action(id="a1", name="open_gate", arguments={"gate": "g1"}, offset=4),
            Text(text=" Go.", offset=4),
        ],
    ),
    "two": (
        OPEN + OPEN.replace("iron gate", "postern"),
        [
            ActionStarted(id="a1", name="open_gate"),
            Action(id="a1", name="open_gate", arguments={"gate": "g1"}),
            ActionStarted(id="a2", name="open_gate"),
            Action(id="a2", name="open_gate", arguments={"gate": "postern"}),
        ],
    ),
    "one that is refused": (
        OPEN.replace("iron gate", "moon"),
        [ActionStarted(id="a1", name="open_gate"), ("refused", "open_gate", "bad_arguments", "a1")],
    ),
    "one that is broken": (
        '<toolcall> {"name": "open_gate", "arguments": {what} </toolcall>',
        [ActionStarted(id="a1", name="open_gate"), ("refused", "open_gate", "malformed", "a1")],
    ),
    "one that is never finished": (
        '<toolcall> {"name": "open_gate", "arguments": {"gate": "iro',
        [ActionStarted(id="a1", name="open_gate"), ("refused", "open_gate", "unclosed", "a1")],
    ),
    "a name that is not offered": (
        FORMAT.render_call("fly", {}),
        [("refused", "fly", "unknown_action", "")],
    ),
    "one that is withheld": (
        FORMAT.render_call("close_gate", {}),
        [("refused", "close_gate", "unknown_action", "")],
    ),
    "a name that is only meant": (
        FORMAT.render_call("open_gates", {"gate": "postern"}),
        [Action(id="a1", name="open_gate", arguments={"gate": "postern"}, repaired=True)],
    ),
    "a name after the arguments": (
        '<toolcall> {"arguments": {"gate": "postern"}, "name": "open_gate"} </toolcall>',
        [Action(id="a1", name="open_gate", arguments={"gate": "postern"})],
    ),
}


@pytest.mark.parametrize("case", ANNOUNCED)
def test_announced_the_same_at_every_cut(case: str) -> None:
    output, wanted = ANNOUNCED[case]
    for at in range(len(output) + 1):
        events: list[Any] = [
            ("refused", event.name, event.code, event.id) if isinstance(event, Refused) else event
            for event in events_of([output[:at], output[at:]], machine())
        ]
        assert events == wanted


def test_announced_before_the_arguments_are_generated() -> None:
    turn = machine()
    assert not turn.piece(Piece('<toolcall> {"name": "open_gate'))
    assert turn.piece(Piece('"')) == [ActionStarted(id="a1", name="open_gate")]
    assert not turn.piece(Piece(', "arguments": {"gate": "postern"}'))
    assert turn.piece(Piece("}")) == [Action(id="a1", name="open_gate", arguments={"gate": "postern"})]


def test_not_announced_when_no_call_is_left() -> None:
    events = events_of([OPEN + OPEN], machine(max_calls=1))
    assert [event.event for event in events] == ["action_started", "action", "refused"]
    assert isinstance(events[2], Refused)
    assert (events[2].code, events[2].id) == ("too_many", "")


# -- repairs


@pytest.mark.parametrize(
    "output",
    [
        "<toolcall> {'name': 'open_gate', 'arguments': {'gate': 'iron gate'}} </toolcall>",
        '<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate",},} </toolcall>',
        '<toolcall> {"name": "open_gate", "gate": "the Iron Gate"} </toolcall>',
        '<toolcall> {"name": "open_gats", "arguments": {"gate": "iron gate"}} </toolcall>',
        '<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate"} </toolcall>',
        '<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate"',
    ],
)
def test_what_is_clearly_meant_is_done_and_marked(output: str) -> None:
    turn = machine()
    events = [event for event in events_of([output], turn) if not isinstance(event, ActionStarted)]
    assert events == [Action(id="a1", name="open_gate", arguments={"gate": "g1"}, repaired=True)]
    assert turn.messages[-1].text == OPEN, "history holds the call as it should have been written"


def test_what_is_legal_is_not_marked() -> None:
    assert [event.repaired for event in one(OPEN) if isinstance(event, Action)] == [False]


@pytest.mark.parametrize("over", [{"cancelled": True}, {"cut": True}])
def test_half_a_call_is_not_finished_for_a_model_that_was_interrupted(over: dict[str, bool]) -> None:
    events = one('<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate"', **over)
    assert [event.code for event in events if isinstance(event, Refused)] == ["unclosed"]


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (FORMAT.render_call("close_gats", {}), "unknown_action"),  # means one that is withheld
        (OPEN.replace("iron gate", "gate"), "bad_arguments"),
        (OPEN.replace("}}", ', "times": "ten"}}'), "bad_arguments"),
        (OPEN.replace("}}", ', "times": "10"}}'), "bad_arguments"),  # clear, and not legal
        ("<toolcall> open_gate(gate='iron gate') </toolcall>", "malformed"),
    ],
)
def test_what_is_not_clear_or_not_legal_is_refused(output: str, code: str) -> None:
    events = one(output)
    assert [event.code for event in events if isinstance(event, Refused)] == [code]
    assert not [event for event in events if isinstance(event, Action)]


# -- in parallel or in sequence

TWO = FORMAT.render_call("look_up", {}) + " " + OPEN


def test_in_parallel_calls_are_taken_while_one_waits() -> None:
    turn = machine()
    assert [event.name for event in events_of([TWO], turn) if isinstance(event, Action)] == [
        "look_up",
        "open_gate",
    ]


@pytest.mark.parametrize("tool_format", ["nemotron", "mistral", "mistral_args", "llama3"])
def test_in_sequence_the_model_waits_for_each_answer(tool_format: str) -> None:
    spelled = load_format(tool_format)
    look = spelled.render_call("look_up", {})
    turn = machine(tool_format, sequence=True)
    events = [event for character in look + " " + OPEN for event in turn.piece(Piece(character))]
    assert turn.stop_now
    assert [event.name for event in [*events, *turn.round_over()] if isinstance(event, Action)] == ["look_up"]
    assert turn.messages[-1].text == look.rstrip()
    turn.result("a1", Result("done", "a bat"))
    turn.next_round()
    again = [
        event for event in events_of([spelled.render_call("look_up", {})], turn) if isinstance(event, Action)
    ]
    assert [event.id for event in again] == ["a2"]


def test_in_sequence_the_rest_of_a_list_is_not_taken() -> None:
    turn = machine(sequence=True)
    output = '<toolcall> [{"name": "look_up", "arguments": {}}, {"name": "open_gate", "arguments": {}}]'
    assert [event.name for event in events_of([output], turn) if isinstance(event, Action)] == ["look_up"]
    assert turn.messages[-1].text == FORMAT.render_call("look_up", {})


def test_in_sequence_actions_without_a_result_hold_nothing_up() -> None:
    turn = machine(sequence=True)
    assert len([event for event in events_of([OPEN + OPEN], turn) if isinstance(event, Action)]) == 2


def became(turn: TurnMachine) -> list[str]:
    return [written.became for written in turn.written]


def test_what_became_of_a_call_is_told_to_its_end() -> None:
    look = FORMAT.render_call("look_up", {})
    turn = machine(max_calls=9)
    events_of([look + look + look], turn)
    turn.result("a1", Result("done", "a bat"))
    turn.result("a2", Result("failed", "dark " * 200))
    turn.next_round()
    assert became(turn)[0] == "action a1, answered: a bat"
    assert became(turn)[1].startswith("action a2, answered: failed: dark dark")
    assert len(became(turn)[1]) < 300
    assert became(turn)[2] == "action a3, no answer"
    events_of([OPEN + OPEN + OPEN], turn)
    turn.result("a4", Result("failed", "Not in here."))
    turn.result("a4", Result("failed", "Not in here."))
    turn.retract(["a5", "unknown"])
    assert became(turn)[3:] == [
        "action a4, not allowed by the game: failed: Not in here.",
        "action a5, retracted: the game did not get it",
        "action a6",
    ]


def test_calls_of_one_list_are_taken_back_one_after_the_other() -> None:
    turn = machine()
    postern = OPEN.replace("iron gate", "postern")
    events_of([f"Yes. <toolcall> [{OPEN[11:-12]}, {postern[11:-12]}] </toolcall>"], turn)
    turn.retract(["a1"])
    assert turn.messages[-1].text == f"Yes. {postern}"
    turn.retract(["a2"])
    assert turn.messages[-1].text == "Yes."
