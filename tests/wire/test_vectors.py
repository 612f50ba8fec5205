"""The vectors in the repository are what `wire` makes today, and cover every message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from npcsdk import events
from npcsdk.wire import codec, messages, vectors
from npcsdk.wire.version import PROTOCOL

ROOT = Path(__file__).resolve().parents[2]
STORED = (ROOT / vectors.VECTORS).read_text(encoding="utf-8")
MESSAGES = json.loads(STORED)["messages"]


def test_the_stored_vectors_are_current() -> None:
    assert vectors.render() == STORED, "run: python -m npcsdk.wire.vectors"


def test_every_kind_of_message_has_a_vector() -> None:
    commands = {one["fields"].get("command") for one in MESSAGES} - {None}
    told = {one["fields"].get("event") for one in MESSAGES} - {None}
    assert commands == set(messages.COMMANDS)
    assert told == set(messages.EVENTS) | {kind.event for kind in get_args(events.Event)}


def test_every_field_is_in_some_vector() -> None:
    seen: dict[str, set[str]] = {}
    for one in MESSAGES:
        kind = one["from"] + (one["fields"].get("command") or one["fields"]["event"])
        seen.setdefault(kind, set()).update(one["fields"])
    for name, command in messages.COMMANDS.items():
        assert seen["client" + name] == {"command", *command.__slots__}
    for name, event in messages.EVENTS.items():
        assert seen["server" + name] >= {"event", *event.__slots__}


@pytest.mark.parametrize("vector", MESSAGES, ids=lambda one: one["name"])
def test_bytes_decode_and_encode_to_themselves(vector: dict) -> None:
    payload = bytes.fromhex(vector["bytes"])
    assert codec.unpack(payload) == vector["fields"]
    decode = codec.decode_command if vector["from"] == "client" else codec.decode_event
    assert codec.encode(decode(payload)) == payload


def test_the_specification_names_the_version_and_every_message_and_field() -> None:
    text = (ROOT / "bindings" / "PROTOCOL.md").read_text(encoding="utf-8")
    assert f"protocol {PROTOCOL[0]}.{PROTOCOL[1]}" in text.lower()
    for one in MESSAGES:
        for name in (one["fields"].get("command") or one["fields"]["event"], *one["fields"]):
            assert f"`{name}`" in text, f"PROTOCOL.md does not explain {name}"
