"""Messages survive the way there and back; nothing that comes in does worse than a `ProtocolError`."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from npcsdk.errors import ProtocolError
from npcsdk.events import (
    Action,
    ActionStarted,
    Dropped,
    End,
    Failed,
    Recalled,
    Refused,
    Text,
    Timings,
    Tokens,
)
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from npcsdk.wire.vectors import samples

texts = st.text(max_size=40)
ids = st.text(min_size=1, max_size=128)
naturals = st.integers(0, (1 << 63) - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
maps = st.dictionaries(texts, data, max_size=5)
versions = st.tuples(naturals, naturals)
place = {"conversation": ids, "turn": ids}
turn_events = st.one_of(
    st.builds(Text, text=texts, offset=naturals),
    st.builds(ActionStarted, id=ids, name=texts, offset=naturals),
    st.builds(
        Action,
        id=ids,
        name=texts,
        arguments=maps,
        offset=naturals,
        returns=st.sampled_from(["nothing", "result"]),
        repaired=st.booleans(),
    ),
    st.builds(Refused, name=texts, code=texts, message=texts, offset=naturals, raw=texts, id=texts),
    st.builds(
        End,
        reason=st.sampled_from(["stop", "length", "cancelled", "rounds"]),
        text=texts,
        tokens=st.builds(Tokens, prompt=naturals, generated=naturals),
        timings=st.builds(Timings, recall_ms=numbers),
        recalled=st.lists(st.builds(Recalled, source=texts, text=texts, score=numbers), max_size=3).map(
            tuple
        ),
        dropped=st.lists(st.builds(Dropped, what=texts, tokens=naturals), max_size=3).map(tuple),
    ),
    st.builds(Failed, code=texts, message=texts, hint=texts, text=texts),
)
priorities = st.none() | st.integers(-9, 9)
commands = st.one_of(
    st.builds(
        m.Hello,
        client=ids,
        protocol=versions,
        sdk=texts,
        features=st.lists(texts).map(tuple),
        actions=st.lists(maps, max_size=2).map(tuple),
        epoch=st.none() | ids,
        seen=st.dictionaries(ids, naturals, max_size=3),
    ),
    st.builds(m.Open, conversation=ids, npc=ids, player=ids, history=st.none() | ids),
    st.builds(m.Close, conversation=ids),
    st.builds(m.Say, **place, line=texts, state=maps, seed=st.none() | naturals, priority=priorities),
    st.builds(m.React, **place, happening=texts, state=maps, seed=st.none() | naturals, priority=priorities),
    st.builds(m.Cancel, **place),
    st.builds(m.Result, **place, action=ids, status=st.sampled_from(["done", "failed"]), value=data),
    st.builds(m.Ping, nonce=naturals),
    st.just(m.Leave()),
)
server_events = st.one_of(
    st.builds(m.Welcome, epoch=ids, protocol=versions, sdk=texts, limits=maps),
    st.builds(m.Loading, stage=texts, progress=st.none() | numbers),
    st.builds(
        m.Ready,
        world=texts,
        npcs=st.lists(
            st.builds(m.NpcInfo, id=ids, name=texts, role=texts, voice=st.none() | texts), max_size=3
        ).map(tuple),
    ),
    st.builds(m.Opened, conversation=ids, npc=ids, player=ids, history=texts),
    st.builds(m.Closed, conversation=ids),
    st.builds(
        m.Problem,
        code=texts,
        message=texts,
        hint=texts,
        kind=texts,
        conversation=st.none() | ids,
        turn=st.none() | ids,
    ),
    st.builds(m.Pong, nonce=naturals),
    st.builds(m.Reset, code=texts, message=texts, hint=texts),
    st.builds(m.Goodbye, code=texts, message=texts, hint=texts, kind=texts),
    st.builds(m.TurnEvent, **place, seq=naturals, event=turn_events),
)


@given(commands)
def test_commands_survive(command: m.Command) -> None:
    assert codec.decode_command(codec.encode(command)) == command


@given(server_events)
def test_events_survive(event: m.ServerEvent) -> None:
    assert codec.decode_event(codec.encode(event)) == event


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\x81\x90\xc0")  # a list as a key
@example(b"\x91" * 2000)  # nested as deep as it goes
@example(b"\xdf\xff\xff\xff\xff")  # a map said to have four thousand million entries
def test_noise_is_a_protocol_error(payload: bytes) -> None:
    for decode in (codec.decode_command, codec.decode_event):
        with pytest.raises(ProtocolError):
            decode(payload)


ENCODED = [codec.encode(message) for _, message in samples()]


@given(
    st.sampled_from(ENCODED),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.data(),
)
def test_mutated_messages_are_read_or_refused(payload: bytes, changes: list, draw: st.DataObject) -> None:
    mutated = bytearray(payload)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    cut = draw.draw(st.integers(0, len(mutated)))
    for candidate in (bytes(mutated), bytes(mutated[:cut]), bytes(mutated[cut:])):
        for decode in (codec.decode_command, codec.decode_event):
            try:
                again = codec.encode(decode(candidate))
            except ProtocolError:
                continue
            assert codec.encode(decode(again)) == again


@given(maps.filter(lambda one: not {"command", "event"} & set(one)), st.sampled_from(list(samples())))
def test_unknown_fields_are_ignored(extra: dict, sample: tuple) -> None:
    message = sample[1]
    fields = codec.unpack(codec.encode(message))
    fields = {**{f"x-{name}": value for name, value in extra.items()}, **fields}
    decode = codec.decode_command if "command" in fields else codec.decode_event
    assert decode(msgpack.packb(fields)) == message


def packed(**fields: object) -> bytes:
    return msgpack.packb(fields)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "malformed"),
        (msgpack.packb([1, 2]), "malformed"),
        (msgpack.packb({1: "a"}), "malformed"),
        (packed(command="ping") + b"\x00", "malformed"),
        (packed(command="fly"), "unknown_message"),
        (packed(command=["say"]), "unknown_message"),
        (packed(line="hello"), "unknown_message"),
        (packed(command="say", conversation="c", turn="t"), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line=7), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line=b"bytes"), "bad_field"),
        (packed(command="say", conversation="c", turn="", line="x"), "bad_field"),
        (packed(command="say", conversation="c", turn="t" * 129, line="x"), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", seed=-1), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", seed=True), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", priority=10), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", priority=1.0), "bad_field"),
        (packed(command="react", conversation="c", turn="t", happening="x", priority=True), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", state=[1]), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", state={"a": float("nan")}), "bad_field"),
        (packed(command="say", conversation="c", turn="t", line="x", state={"a": b"raw"}), "bad_field"),
        (packed(command="result", conversation="c", turn="t", action="a", status="maybe"), "bad_field"),
        (packed(command="hello", client="c", protocol=[1]), "bad_field"),
        (packed(command="hello", client="c", actions=["open_gate"]), "bad_field"),
        (packed(command="hello", client="c", seen={"c1": "seven"}), "bad_field"),
        (packed(command="hello", client="c", actions=[{"name": msgpack.ExtType(5, b"x")}]), "malformed"),
        (b"x" * (codec.MESSAGE_BYTES + 1), "too_large"),
    ],
)
def test_each_mistake_has_its_code(payload: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.decode_command(payload)
    assert caught.value.code == code
    assert caught.value.message


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, 1 << 64, "\ud800", {"deep": [b"x", object()]}],
)
def test_what_has_no_form_on_the_wire_is_refused_before_it_is_sent(value: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.encode(m.Result(conversation="c", turn="t", action="a", value=value))
    assert caught.value.code == "unencodable"


def test_too_large_a_message_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.encode(m.Say(conversation="c", turn="t", line="x" * codec.MESSAGE_BYTES))
    assert caught.value.code == "too_large"


def test_data_that_the_other_side_would_refuse_is_refused_here() -> None:
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    for value in (float("nan"), b"bytes", {1: "a"}, deep):
        with pytest.raises(ProtocolError) as caught:
            codec.encode(m.Result(conversation="c", turn="t", action="a", value=value))
        assert caught.value.code == "unencodable"
