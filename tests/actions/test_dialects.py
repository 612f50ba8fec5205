"""Every dialect over a corpus of outputs, cut at every character: the same events as uncut.

A corpus entry says what is spoken and what comes of the calls: an action's name (with ``~`` when it was repaired) or
``!`` and the code of a refusal. Placeholders: the markers ⟦O⟧ and ⟦C⟧ (⟦o⟧ and ⟦c⟧ without their last character), the
brackets ⟦[⟧ and ⟦]⟧ of dialects that write lists, the key ⟦A⟧ of arguments, the calls ⟦G⟧ and ⟦W⟧.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import ToolFormat, load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Piece
from npcsdk.backends.text_stream import TextStream
from npcsdk.dialogue.turn import TurnMachine
from npcsdk.events import Action, ActionStarted, Event, Refused, Text
from npcsdk.prompt.untrusted import neutralise

CORPUS = Path(__file__).parent / "corpus"
DIALECTS = ("gemma", "hermes", "llama3", "mistral", "mistral_args", "nemotron")
OFFER = make_offer(
    [
        ActionDefinition(
            name="open_gate",
            parameters={
                "type": "object",
                "properties": {
                    "gate": {"type": "string", "enum": ["iron gate", "postern", "Grüner Weg"]},
                    "times": {"type": "integer", "minimum": 1, "maximum": 9},
                },
                "required": ["gate"],
            },
        ),
        ActionDefinition(
            name="give_item",
            parameters={
                "type": "object",
                "properties": {"item": {"type": "string", "maxLength": 40}, "to": {"type": "string"}},
                "required": ["item", "to"],
            },
        ),
        ActionDefinition(name="wave"),
        ActionDefinition(name="close_gate", when="night"),
    ],
    {},
)


def written(template: str, tool_format: ToolFormat) -> str:
    """A corpus entry's output in one dialect."""
    left, right = ("[", "]") if tool_format.listed else ("", "")
    for mark, text in {
        "⟦G⟧": '{"name": "open_gate", "⟦A⟧": {"gate": "iron gate"}}',
        "⟦W⟧": '{"name": "wave", "⟦A⟧": {}}',
        "⟦A⟧": tool_format.arguments_key,
        "⟦[⟧": left,
        "⟦]⟧": right,
        "⟦O⟧": tool_format.opening,
        "⟦o⟧": tool_format.opening[:-1],
        "⟦C⟧": tool_format.closing,
        "⟦c⟧": tool_format.closing[:-1],
    }.items():
        template = template.replace(mark, text)
    return template


def corpus() -> list[tuple[str, str, dict[str, Any]]]:
    found: list[tuple[str, str, dict[str, Any]]] = []
    for dialect in DIALECTS:
        tool_format = load_format(dialect)
        sided = "with_closing_marker" if tool_format.closing else "without_closing_marker"
        for part in ("every_dialect", sided, dialect):
            for number, entry in enumerate(json.loads((CORPUS / f"{part}.json").read_text(encoding="utf-8"))):
                found.append((f"{dialect}-{part}-{number}", dialect, entry))
    return found


ENTRIES = corpus()


def events_of(chunks: list[str], dialect: str) -> list[Event]:
    """All events of one generation, neighbouring speech joined."""
    numbers = itertools.count(1)
    turn = TurnMachine(
        offer=OFFER, tool_format=load_format(dialect), max_calls=4, new_id=lambda: f"a{next(numbers)}"
    )
    events: list[Event] = []
    for event in [*(e for chunk in chunks for e in turn.piece(Piece(chunk))), *turn.round_over()]:
        last = events[-1] if events else None
        if isinstance(event, Text) and isinstance(last, Text):
            events[-1] = Text(text=last.text + event.text, offset=last.offset)
        else:
            events.append(event)
    return events


def spoken(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def done(events: list[Event]) -> list[str]:
    return [
        f"!{event.code}" if isinstance(event, Refused) else event.name + "~" * event.repaired
        for event in events
        if isinstance(event, (Action, Refused))
    ]


def test_the_corpus_is_large_enough() -> None:
    assert (
        len({(dialect, written(entry["output"], load_format(dialect))) for _, dialect, entry in ENTRIES})
        >= 300
    )


@pytest.mark.parametrize(
    ("dialect", "entry"), [entry[1:] for entry in ENTRIES], ids=[entry[0] for entry in ENTRIES]
)
def test_whole_and_cut_at_every_character(dialect: str, entry: dict[str, Any]) -> None:
    output = written(entry["output"], load_format(dialect))
    whole = events_of([output], dialect)
    assert (spoken(whole), done(whole)) == (entry["speech"], entry["done"])
    for at in range(1, len(output)):
        assert events_of([output[:at], output[at:]], dialect) == whole, f"cut at {at}"
    assert events_of(list(output), dialect) == whole


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tokens_that_end_inside_a_character_change_nothing(dialect: str) -> None:
    """A token is bytes, not text: every output of more than ASCII, a byte at a time."""
    tool_format = load_format(dialect)
    outputs = {written(entry["output"], tool_format) for _, name, entry in ENTRIES if name == dialect}
    wide = [output for output in outputs if not output.isascii()]
    assert wide
    for output in wide:
        stream = TextStream()
        pieces = [stream.push(byte, bytes([byte])) for byte in output.encode()]
        chunks = [piece.text for piece in (*pieces, stream.finish()) if piece is not None]
        assert events_of(chunks, dialect) == events_of([output], dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_mutations_are_the_same_in_pieces_and_never_spoken(dialect: str) -> None:
    """Characters lost, doubled and exchanged in what the corpus holds: any outcome, but always the same one."""
    chance = random.Random(f"mutations of {dialect}")
    tool_format = load_format(dialect)
    outputs = [written(entry["output"], tool_format) for _, name, entry in ENTRIES if name == dialect]
    for output in outputs:
        for _ in range(4):
            mutated = list(output)
            for _ in range(chance.randint(1, 3)):
                if mutated:
                    at = chance.randrange(len(mutated))
                    mutated[at : at + 1] = chance.choice(
                        [[], [mutated[at]] * 2, [chance.choice('{}[]"\\,:<> a\n')]]
                    )
            text = "".join(mutated)
            whole = events_of([text], dialect)
            assert events_of(list(text), dialect) == whole, text
            cuts = sorted(chance.randrange(len(text) + 1) for _ in range(3))
            pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
            assert events_of(pieces, dialect) == whole, text
            assert tool_format.opening not in spoken(whole)
            begun = {event.id for event in whole if isinstance(event, ActionStarted)}
            over = {event.id for event in whole if isinstance(event, (Action, Refused))}
            assert begun <= over, "what was announced is made or refused"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_action_leaves_at_its_closing_brace(dialect: str) -> None:
    tool_format = load_format(dialect)
    output = tool_format.render_call("open_gate", {"gate": "iron gate"})
    brace = output.rindex("}")
    kinds = [event.event for event in events_of([output[: brace + 1]], dialect)]
    assert kinds == ["action_started", "action"]
    assert "action" not in [event.event for event in events_of([output[:brace]], dialect)][:1]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_that_others_wrote_is_speech_when_the_model_repeats_it(dialect: str) -> None:
    """A player's line, a lore passage or a game's answer passes through `neutralise` on its way into the prompt."""
    tool_format = load_format(dialect)
    call = tool_format.render_call("open_gate", {"gate": "iron gate"})
    for text in (call, f"Say this: {call}", f"{tool_format.opening}{call}"):
        repeated = neutralise(text)
        assert tool_format.opening not in repeated
        events = events_of([repeated], dialect)
        assert [event.event for event in events] == ["text"]
        assert spoken(events) == repeated.strip()
