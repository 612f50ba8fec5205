"""A turn as a state machine: what comes out as events, what the game answers, what history keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Piece
from npcsdk.dialogue.turn import Result, TurnMachine
from npcsdk.events import Action, ActionStarted, Event, Refused, Text
from npcsdk.prompt.templates import load_template

FORMAT = load_format("nemotron")
TEMPLATE = load_template("nemotron")
ASK = ActionDefinition(name="ask", returns="result")
WAVE = ActionDefinition(
    name="wave", parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": []}
)
OFFER = make_offer([ASK, WAVE], {})


def call(name: str, **arguments: Any) -> str:
    return FORMAT.render_call(name, arguments)


A, W, BAD = call("ask"), call("wave", n=1), call("fly")


def machine(max_calls: int = 4) -> TurnMachine:
    numbers = itertools.count(1)
    return TurnMachine(
        offer=OFFER, tool_format=FORMAT, max_calls=max_calls, new_id=lambda: f"a{next(numbers)}"
    )


def sampled(chunks: Iterable[str]) -> list[Piece]:
    """Pieces with ids of their own, so that it can be seen where each went."""
    return [Piece(text, (number,)) for number, text in enumerate(chunks)]


def joined(events: Iterable[Event]) -> list[Event]:
    """The events with neighbouring speech joined, without announcements (they have tests of their own)."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, ActionStarted):
            continue
        last = result[-1] if result else None
        if isinstance(event, Text) and isinstance(last, Text):
            result[-1] = Text(text=last.text + event.text, offset=last.offset)
        else:
            result.append(event)
    return result


def round_of(turn: TurnMachine, pieces: Sequence[Piece], *, cancelled: bool = False) -> list[Event]:
    """One generation; its events."""
    events = [event for piece in pieces for event in turn.piece(piece)]
    return joined([*events, *turn.round_over(cancelled=cancelled)])


def one_round(output: str, **options: Any) -> tuple[list[Event], TurnMachine]:
    turn = machine(**options)
    return round_of(turn, sampled([output])), turn


def kept(turn: TurnMachine) -> str:
    return turn.messages[-1].text


# -- what is said and done


def test_speech() -> None:
    events, turn = one_round("  Good day. ")
    assert events == [Text(text="Good day.", offset=0)]
    assert turn.done
    assert turn.text == "Good day."
    assert kept(turn) == "Good day."
    assert not turn.waiting


def test_nothing_at_all() -> None:
    for output in ("", " \n"):
        events, turn = one_round(output)
        assert events == []
        assert turn.done
        assert turn.text == kept(turn) == ""


def test_an_action_that_returns_nothing_goes_on_at_once() -> None:
    events, turn = one_round(f"Hello. {W} There.")
    assert events == [
        Text(text="Hello.", offset=0),
        Action(id="a1", name="wave", arguments={"n": 1}, offset=6, returns="nothing"),
        Text(text=" There.", offset=6),
    ]
    assert turn.done
    assert kept(turn) == f"Hello. {W} There."


def test_an_action_with_a_result_waits_and_the_character_goes_on() -> None:
    events, turn = one_round(f"Let me see. {A}")
    assert events[1] == Action(id="a1", name="ask", arguments={}, offset=11, returns="result")
    assert not turn.done
    assert [action.id for action in turn.waiting] == ["a1"]
    assert turn.unanswered == turn.waiting
    assert turn.result("a1", Result("done", {"price": 3}))
    assert turn.unanswered == ()
    turn.next_round()
    assert [(message.role, message.text) for message in turn.messages] == [
        ("assistant", f"Let me see. {A}"),
        ("tool", '{"price": 3}'),
    ]
    assert round_of(turn, sampled(["Three", " coins."])) == [Text(text=" Three coins.", offset=11)]
    assert turn.done
    assert turn.text == "Let me see. Three coins."
    assert turn.messages[-1].text == "Three coins."


def test_a_round_that_says_nothing_first_needs_no_space_after() -> None:
    _, turn = one_round(A)
    turn.result("a1", Result("done"))
    turn.next_round()
    assert round_of(turn, sampled(["Done."])) == [Text(text="Done.", offset=0)]


def test_several_calls_in_a_turn() -> None:
    events, turn = one_round(f"{W} {A} {A}")
    assert [(event.id, event.name) for event in events if isinstance(event, Action)] == [
        ("a1", "wave"), ("a2", "ask"), ("a3", "ask"),
    ]  # fmt: skip
    assert [action.id for action in turn.waiting] == ["a2", "a3"]
    assert turn.result("a3", Result("done", "second"))
    assert turn.result("a2", Result("done", "first"))
    turn.next_round()
    assert [message.text for message in turn.messages[1:]] == ["first", "second"]  # as they were called


def test_an_action_is_known_at_its_last_brace() -> None:
    turn = machine()
    output = f"Well. {A}"
    brace = output.rindex("}")
    for character in output[:brace]:
        assert not any(isinstance(event, Action) for event in turn.piece(Piece(character, (1,))))
    assert isinstance(turn.piece(Piece("}", (1,)))[-1], Action)
    assert turn.waiting


# -- what is not legal


@pytest.mark.parametrize(
    ("output", "code", "name"),
    [
        (BAD, "unknown_action", "fly"),
        (call("wave", n="one"), "bad_arguments", "wave"),
        (call("wave", n=1, m=2), "bad_arguments", "wave"),
        ("<toolcall> wave! </toolcall>", "malformed", ""),
        ('<toolcall> {"name": "wave", "arguments": {"n": 1', "unclosed", "wave"),
        ("<toolcall>", "unclosed", ""),
    ],
)
def test_refused_and_cut_out_of_history(output: str, code: str, name: str) -> None:
    events, turn = one_round(f"I will. {output}")
    assert events[0] == Text(text="I will.")
    assert isinstance(events[1], Refused)
    assert (events[1].code, events[1].name, events[1].offset) == (code, name, 7)
    assert events[1].message
    assert events[1].raw in output
    assert turn.done
    assert kept(turn) == "I will."


def test_too_many_calls() -> None:
    events, turn = one_round(f"{W} {W} {W} So.", max_calls=2)
    assert [type(event) for event in events] == [Action, Action, Refused, Text]
    assert isinstance(events[2], Refused)
    assert events[2].code == "too_many"
    assert turn.calls_left == 0
    assert kept(turn) == f"{W} {W} So."


def test_the_limit_holds_over_all_rounds_of_a_turn() -> None:
    _, turn = one_round(f"{W} {A}", max_calls=3)
    assert turn.calls_left == 1
    turn.next_round()
    events = round_of(turn, sampled([f"{W} {W}"]))
    assert [type(event) for event in events] == [Action, Refused]


PAIR = '<toolcall> {"name": "wave", "arguments": {"n": 1}}, {"name": "fly", "arguments": {}} </toolcall>'
HISTORY: dict[str, tuple[str, str]] = {
    # name: (output, what history keeps)
    "refused between words": (f"One {BAD} two.", "One two."),
    "refused in front": (f"{BAD} Two.", "Two."),
    "refused at the end": (f"One. {BAD}", "One."),
    "refused on lines of its own": (f"One.\n{BAD}\nTwo.", "One.\nTwo."),
    "nothing but refused": (BAD, ""),
    "legal between refused": (f"{BAD} {W} {BAD}", W),
    "refused and then a call that waits": (f"{BAD} {A}", A),
    "a call that waits and then refused": (f"{A} {BAD}", A),
    "a call that waits and then unclosed": (f"{A} <toolcall> {{", A),
    "one pair, the second refused": (PAIR, W),
    "one pair, the first refused": ('<toolcall> {"name": "fly"}; {"name": "wave"} </toolcall> A', call("wave") + " A"),
    "a list, one refused": ('<toolcall> [{"name": "fly"}, {"name": "wave"}] </toolcall> Hi.', call("wave") + " Hi."),
    "a list, all refused": ('A. <toolcall> [{"name": "fly"}, {"name": "x"}] </toolcall> Hi.', "A. Hi."),
    "closing marker forgotten": ('<toolcall> {"name": "wave"} And', '<toolcall> {"name": "wave"} </toolcall> And'),
    "closing marker cut": (f"{W[:-5]}", W),
    "closing marker not there yet": (W.removesuffix(" </toolcall>"), W),
    "waiting, closing marker not there yet": (A.removesuffix(" </toolcall>"), A),
    "unclosed after an unclosed pair": (f"{W.removesuffix(' </toolcall>')} {BAD}", W),
    "stray closing marker": ("Well </toolcall> then", "Well then"),
    "stray closing marker after a call": (f"{W} </toolcall> Yes.", f"{W} Yes."),
    "the beginning of a marker at the end": ("Fine. <toolca", "Fine."),
    "spread over lines": ('<toolcall>\n{"name":\n"wave"}\n</toolcall>\n', '<toolcall>\n{"name":\n"wave"}\n</toolcall>'),
}  # fmt: skip


@pytest.mark.parametrize("case", HISTORY)
def test_history_holds_legal_calls_only(case: str) -> None:
    output, expected = HISTORY[case]
    _, whole = one_round(output)
    assert kept(whole) == expected
    turn = machine()
    round_of(turn, sampled(output))
    assert kept(turn) == expected
    # what is kept is spoken and done alike when it is read again
    events, again = one_round(expected)
    assert not any(isinstance(event, Refused) for event in events)
    assert again.text == whole.text


# -- speaking on without waiting


@pytest.mark.parametrize("rest", ["", " The end.", f" {W}", f" No. {W} {BAD}", f" x {BAD}"])
def test_speech_after_a_waiting_call_is_not_taken(rest: str) -> None:
    output = f"Hm. {A} It costs three.{rest}"
    for pieces in ([output], [f"Hm. {A}", f" It costs three.{rest}"], list(output)):
        turn = machine()
        events: list[Event] = []
        for piece in sampled(pieces):
            events += turn.piece(piece)
        assert turn.stop_now
        assert turn.piece(Piece("more", (99,))) == []
        events += turn.round_over()
        assert [type(event) for event in joined(events)] == [Text, Action]
        assert turn.text == "Hm."
        assert kept(turn) == f"Hm. {A}"
        assert len(turn.waiting) == 1


def test_another_call_after_a_waiting_one_is_taken() -> None:
    events, turn = one_round(f"{A} {W}")
    assert [type(event) for event in events] == [Action, Action]
    assert not turn.stop_now
    assert kept(turn) == f"{A} {W}"


# -- the game's answers


def test_answers_out_of_order_twice_unknown_and_late() -> None:
    _, turn = one_round(f"{W} {A} {A}")
    assert not turn.result("a1", Result("done"))  # returns nothing: nobody waits
    assert not turn.result("zzz", Result("done"))
    assert turn.result("a3", Result("done", 3))
    assert not turn.result("a3", Result("failed", "no"))
    assert [action.id for action in turn.unanswered] == ["a2"]
    turn.next_round()
    assert [message.text for message in turn.messages[1:]] == ["no answer", "3"]
    assert not turn.result("a2", Result("done"))


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Result("done"), "done"),
        (Result("done", True), "done"),
        (Result("done", ""), "done"),
        (Result("done", "  \n"), "done"),
        (Result("done", False), "false"),
        (Result("done", 0), "0"),
        (Result("done", "It opens."), "It opens."),
        (Result("done", ["ü", {"a": None}]), '["ü", {"a": null}]'),
        (Result("failed"), "failed"),
        (Result("failed", "It is stuck."), "failed: It is stuck."),
        (Result("silent"), "no answer"),
        (Result("done", "<extra_id_1>"), "‹extra_id_1>"),
        (Result("done", {"a": "<toolcall>"}), '{"a": "‹toolcall>"}'),
        (Result("failed", "</toolcall>"), "failed: ‹/toolcall>"),
        (Result("done", "\ud800"), "\ufffd"),
        (Result("done", ["\ud800"]), '["\ufffd"]'),
    ],
)
def test_what_the_model_reads_of_an_answer(result: Result, text: str) -> None:
    assert result.as_text() == text


def test_an_endless_answer_is_cut() -> None:
    assert len(Result("done", "x" * 1_000_000).as_text()) < 5_000
    assert len(Result("done", ["x"] * 1_000_000).as_text()) < 5_000


def test_an_answer_that_is_no_json_is_told_as_text() -> None:
    assert "object" in Result("done", object()).as_text()
    cycle: list[Any] = []
    cycle.append(cycle)
    assert Result("done", cycle).as_text()


# -- cut off


def test_a_cancelled_round_keeps_what_was_said_and_done_and_waits_for_nothing() -> None:
    turn = machine()
    events = round_of(turn, sampled([f"Hm. {A}"]), cancelled=True)
    assert [type(event) for event in events] == [Text, Action]
    assert turn.done
    assert not turn.waiting
    assert not turn.result("a1", Result("done"))
    assert kept(turn) == f"Hm. {A}"


def test_cancelled_in_the_middle_of_a_call() -> None:
    turn = machine()
    events = round_of(turn, sampled(['Hm. <toolcall> {"name": "wa']), cancelled=True)
    assert [type(event) for event in events] == [Text, Refused]
    assert kept(turn) == "Hm."


def test_generating_says_whether_a_round_is_under_way() -> None:
    turn = machine()
    assert turn.generating
    round_of(turn, sampled([A]))
    assert not turn.generating
    turn.next_round()
    assert turn.generating


# -- however the output is cut

FRAGMENTS = st.sampled_from(
    [A, W, BAD, PAIR, "Hm.", " ", "\n", "<", "<toolcall>", "</toolcall>", '{"name": "wave"}', "{", "}", '"', "é🙂", ","]
)  # fmt: skip
OUTPUT = st.lists(FRAGMENTS, max_size=8).map("".join)


def cut(output: str, cuts: Sequence[int]) -> list[str]:
    edges = sorted({0, len(output), *(at % (len(output) + 1) for at in cuts)})
    return [output[start:stop] for start, stop in itertools.pairwise(edges)]


@given(OUTPUT, st.lists(st.integers(0, 500), max_size=8))
def test_the_same_whatever_the_pieces(output: str, cuts: list[int]) -> None:
    events, whole = one_round(output)
    for chunks in (cut(output, cuts), list(output)):
        turn = machine()
        assert round_of(turn, sampled(chunks)) == events
        assert kept(turn) == kept(whole)
        assert turn.text == whole.text
        assert turn.waiting == whole.waiting
        assert turn.done == whole.done


def check_segments(turn: TurnMachine, pieces: Sequence[Piece]) -> None:
    """Ids in a kept message are those of whole pieces, in order, and spell their segment's text."""
    message = turn.messages[-1]
    assert message.text == message.text.strip()
    rendered = "".join(segment.text for segment in TEMPLATE.message(message))
    assert rendered == f"<extra_id_1>Assistant\n{message.text}\n"
    ids = [token for segment in message.segments for token in segment.ids or ()]
    assert ids == sorted(set(ids))
    for segment in message.segments:
        assert segment.text
        if segment.ids is not None:
            assert "".join(pieces[token].text for token in segment.ids) == segment.text


@given(OUTPUT, st.lists(st.integers(0, 500), max_size=8), st.booleans())
def test_sampled_ids_are_kept_for_whole_pieces_only(output: str, cuts: list[int], cancelled: bool) -> None:
    pieces = sampled(cut(output, cuts))
    turn = machine()
    round_of(turn, pieces, cancelled=cancelled)
    check_segments(turn, pieces)


@given(st.lists(st.sampled_from(["Hm.", " ", "a", "🙂", "\n", "é "]), max_size=10))
def test_plain_speech_is_kept_with_all_its_ids(chunks: list[str]) -> None:
    pieces = sampled(chunks)
    turn = machine()
    round_of(turn, pieces)
    check_segments(turn, pieces)
    assert kept(turn) == turn.text == "".join(chunks).strip()
    inner = "".join(chunks).strip()
    with_ids = sum(len(segment.text) for segment in turn.messages[-1].segments if segment.ids is not None)
    assert with_ids >= len(inner) - 1  # "é " at the end is the only piece that is cut


@pytest.mark.parametrize("output", [f"Hello there. {W} Go on.", f"{W} {W}", f"Wait. {A}", "Just words."])
def test_a_clean_reply_is_one_sampled_segment(output: str) -> None:
    """Nothing cut, nothing added: the next prompt holds the reply's ids as a whole."""
    pieces = sampled(cut(output, range(0, len(output), 3)))
    turn = machine()
    round_of(turn, pieces)
    (segment,) = turn.messages[-1].segments
    assert segment.text == output
    assert segment.ids == tuple(range(len(pieces)))


def test_pieces_without_ids_are_kept_as_text() -> None:
    turn = machine()
    round_of(turn, [Piece("One "), Piece("two", (7,)), Piece(" three")])
    assert [(segment.text, segment.ids) for segment in turn.messages[-1].segments] == [
        ("One ", None), ("two", (7,)), (" three", None),
    ]  # fmt: skip


@given(OUTPUT, st.lists(st.integers(0, 500), max_size=8))
def test_offsets_add_up_to_the_text(output: str, cuts: list[int]) -> None:
    turn = machine()
    at = 0
    events = [event for piece in sampled(cut(output, cuts)) for event in turn.piece(piece)]
    for event in [*events, *turn.round_over()]:
        assert isinstance(event, (Text, ActionStarted, Action, Refused))
        assert event.offset == at
        at += len(event.text) if isinstance(event, Text) else 0
    assert at == len(turn.text)


MakePieces = Callable[[str], Sequence[str]]


@pytest.mark.parametrize("chunks", [lambda text: [text], list])
def test_offsets_over_rounds(chunks: MakePieces) -> None:
    turn = machine()
    said: list[str] = []
    for output in (f"One. {A}", f"Two. {W} And. {A}", "Three."):
        for event in round_of(turn, sampled(chunks(output))):
            if isinstance(event, Text):
                assert event.offset == len("".join(said))
                said.append(event.text)
        if not turn.done:
            turn.next_round()
    assert turn.text == "".join(said) == "One. Two. And. Three."
