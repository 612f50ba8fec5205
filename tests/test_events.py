"""Events as plain data: what travels and what ``--json`` prints comes back as the same value."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.events import (
    Action,
    ActionStarted,
    Dropped,
    End,
    Event,
    Explanation,
    Failed,
    Recalled,
    Refused,
    Text,
    Timings,
    Tokens,
    Withheld,
    Written,
    event_from_dict,
    event_to_dict,
)

WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
COUNTS = st.integers(0, 10**6)
NUMBERS = st.floats(0, 1e6, allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, text=WORDS, offset=COUNTS),
    st.builds(
        Action,
        id=WORDS,
        name=WORDS,
        arguments=st.dictionaries(WORDS, JSON, max_size=3),
        offset=COUNTS,
        returns=st.sampled_from(["nothing", "result"]),
        repaired=st.booleans(),
    ),
    st.builds(ActionStarted, id=WORDS, name=WORDS, offset=COUNTS),
    st.builds(Refused, name=WORDS, code=WORDS, message=WORDS, offset=COUNTS, raw=WORDS, id=WORDS),
    st.builds(
        End,
        reason=st.sampled_from(["stop", "length", "cancelled", "rounds"]),
        text=WORDS,
        tokens=st.builds(Tokens, prompt=COUNTS, cached=COUNTS, computed=COUNTS, generated=COUNTS),
        timings=st.builds(Timings, recall_ms=NUMBERS, sdk_ms=NUMBERS, first_token_ms=NUMBERS, total_ms=NUMBERS),
        recalled=st.tuples(st.builds(Recalled, source=WORDS, text=WORDS, score=NUMBERS, reason=WORDS)) | st.just(()),
        dropped=st.tuples(*[st.builds(Dropped, what=WORDS, tokens=COUNTS)] * 2) | st.just(()),
        explanation=st.builds(
            Explanation,
            offered=st.tuples(WORDS, WORDS),
            withheld=st.tuples(st.builds(Withheld, name=WORDS, reason=WORDS)) | st.just(()),
            constraint=WORDS,
            calls=st.tuples(st.builds(Written, raw=WORDS, became=WORDS)) | st.just(()),
            tool_changes=COUNTS,
        ),
    ),
    st.builds(Failed, code=WORDS, message=WORDS, hint=WORDS, text=WORDS),
)  # fmt: skip


@given(EVENTS)
def test_an_event_survives_json(event: Event) -> None:
    data = json.loads(json.dumps(event_to_dict(event)))
    assert event_from_dict(data) == event


@given(EVENTS)
def test_every_field_is_in_the_data_under_its_own_name(event: Event) -> None:
    assert event_to_dict(event).keys() == {"event", *(field.name for field in dataclasses.fields(event))}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (Text(text="a"), "text"),
        (Action(id="1", name="a", arguments={}), "action"),
        (ActionStarted(id="1", name="a"), "action_started"),
        (Refused(name="a", code="c", message="m"), "refused"),
        (End(reason="stop"), "end"),
        (Failed(code="c", message="m"), "error"),
    ],
)
def test_the_names_of_the_kinds_are_those_of_the_wire(event: Event, kind: str) -> None:
    assert event_to_dict(event)["event"] == kind


def added(data: Any) -> Any:
    """``data`` with a field that this version does not know, at every level where a newer peer may add one."""
    if isinstance(data, dict):
        return {
            **{key: added(item) if key != "arguments" else item for key, item in data.items()},
            "newer": 1,
        }
    return [added(item) for item in data] if isinstance(data, list) else data


@given(EVENTS)
def test_fields_of_a_newer_peer_are_passed_over(event: Event) -> None:
    assert event_from_dict(added(json.loads(json.dumps(event_to_dict(event))))) == event


def test_fields_with_defaults_may_be_left_out() -> None:
    assert event_from_dict({"event": "end", "reason": "stop"}) == End(reason="stop")
    assert event_from_dict({"event": "text", "text": "a"}) == Text(text="a", offset=0)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"event": "song"},
        {"event": "text"},
        {"event": "end"},
        {"event": "action", "name": "a"},
        {"event": "error"},
    ],
)
def test_what_is_no_event_is_a_key_error(data: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        event_from_dict(data)


def test_events_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Text(text="a").text = "b"  # type: ignore[misc]
