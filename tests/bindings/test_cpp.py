"""The C++ client without a server: messages against the vectors, ZMTP, and the state machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bindings.cpp_build import CHECKED, CPP, WARNINGS, build, needs_compiler, run

MESSAGES = json.loads((CPP.parent / "vectors" / "protocol-1.json").read_text(encoding="utf-8"))["messages"]
SPOKEN = [one for one in MESSAGES if one.get("since", [1, 0]) <= [1, 1]]  # of a newer minor it needs nothing
WINDOWS = "x86_64-w64-mingw32-g++"
pytestmark = [needs_compiler, pytest.mark.timeout(300)]  # the compiler may take its time


@pytest.fixture(scope="module")
def vectors() -> Path:
    return build("tests/vectors.cpp", *CHECKED)


def ask(program: Path, *lines: str) -> list[str]:
    return run(program, stdin="\n".join(lines) + "\n").split("\n")[:-1]


def test_every_vector_reads_to_its_fields_and_writes_to_its_bytes(vectors: Path) -> None:
    said = ask(vectors, *(f"value {one['bytes']}" for one in MESSAGES))
    for one, shown, written in zip(MESSAGES, said[::2], said[1::2], strict=True):
        assert json.loads(shown) == one["fields"], one["name"]
        assert written == one["bytes"], one["name"]


def test_every_command_is_written_as_its_vector(vectors: Path) -> None:
    commands = [one for one in SPOKEN if one["from"] == "client"]
    # its fields in another order, so that the order of the bytes is the client's own
    given = [msgpack.packb(dict(reversed(one["fields"].items()))).hex() for one in commands]
    for one, written in zip(commands, ask(vectors, *(f"command {hex}" for hex in given)), strict=True):
        assert written == one["bytes"], one["name"]


def test_every_event_is_read_with_all_its_fields(vectors: Path) -> None:
    events = [one for one in SPOKEN if one["from"] == "server"]
    for one, shown in zip(events, ask(vectors, *(f"event {one['bytes']}" for one in events)), strict=True):
        empty = {name for name, value in one["fields"].items() if value == "" and name != "text"}
        expected = {name: value for name, value in one["fields"].items() if name not in empty}
        assert json.loads(shown) == expected, one["name"]


def test_fields_that_are_new_are_ignored_and_missing_ones_have_defaults(vectors: Path) -> None:
    place = {"conversation": "c", "turn": "t", "seq": 1}
    newer = {"event": "text", **place, "text": "x", "mood": {"a": [1]}, "offset": 3}
    least = {"event": "action", **place, "id": "a", "name": "n", "arguments": {}}
    unknown = {"event": "whisper", **place}
    broken = {"event": "text", **place, "text": 5}
    lost_end = {"event": "end", **place}
    nonsense = {"event": "text", "text": "x"}
    given = [newer, least, unknown, broken, lost_end, nonsense]
    said = [json.loads(one) for one in ask(vectors, *(f"event {msgpack.packb(m).hex()}" for m in given))]
    assert said[0] == {"event": "text", **place, "text": "x", "offset": 3}
    assert said[1] == {**least, "offset": 0, "returns": "nothing", "repaired": False}
    assert said[2] == said[3] == {"event": "unknown", **place}
    assert said[4]["event"] == "error"
    assert said[5] == {}


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xc1",
        b"\xc4\x01a",  # binary
        b"\xd4\x01a",  # an extension
        b"\x81\x01\x02",  # a key that is no text
        b"\xa5abc",  # cut off
        b"\xa2\xed\xa0",  # half a character
        b"\xa3\xed\xa0\x80",  # a surrogate
        b"\xa2\xc0\x80",  # overlong
        b"\x80\x80",  # something left over
        b"\xdf\xff\xff\xff\xff",  # four thousand million items
        b"\x91" * 100 + b"\xc0",  # too deep
        b"\xcb\x7f\xf8\0\0\0\0\0\0",  # not a number
    ],
)
def test_what_is_no_message(vectors: Path, broken: bytes) -> None:
    assert ask(vectors, f"value {broken.hex() or '-'}")[1] == "-"


DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=40,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(DATA, min_size=5, max_size=20))
def test_data_of_every_kind(vectors: Path, values: list[Any]) -> None:
    packed = [msgpack.packb(value).hex() for value in values]
    as_json = [json.dumps(value).encode().hex() for value in values]
    said = ask(vectors, *(f"value {hex}" for hex in packed), *(f"json {hex}" for hex in as_json))
    for value, shown, written in zip(values, said[: 2 * len(values) : 2], said[1::2], strict=False):
        assert json.loads(shown) == value
        assert written == msgpack.packb(value).hex()
    for value, shown in zip(values, said[2 * len(values) :], strict=True):
        assert json.loads(shown) == pytest.approx(value) if isinstance(value, int) else True
        if not _large(value):
            assert json.loads(shown) == value


def _large(value: Any) -> bool:
    """JSON's numbers beyond 18 digits are read as reals."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(_large, value))
    return isinstance(value, int) and abs(value) >= 10**18


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", '{"a" 1}', '"\\ud800"', "01", "1 2", "nul", "[" * 100, "1e999", "-"]
)
def test_what_is_no_json(vectors: Path, text: str) -> None:
    assert ask(vectors, f"json {text.encode().hex() or '-'}") == ["-"]


def test_zmtp_at_every_cut() -> None:
    run(build("tests/zmtp.cpp", *CHECKED))


def test_what_arrives_bent_and_cut() -> None:
    """More of it, with sanitizers: ``NPCSDK_FUZZ=500000 NPCSDK_SANITIZE=1``."""
    good = "\n".join(one["bytes"] for one in MESSAGES)
    inputs = os.environ.get("NPCSDK_FUZZ", "3000")
    run(build("tests/wire_fuzz.cpp", *CHECKED), inputs, stdin=good, timeout=280)


def test_the_state_machine() -> None:
    run(build("tests/peer.cpp", *CHECKED))


def test_the_state_machine_under_events_in_any_order() -> None:
    run(build("tests/peer_fuzz.cpp", *CHECKED), "150")


def test_a_token_takes_no_memory_from_the_heap() -> None:
    run(build("tests/steady.cpp", "-O2", "-fno-exceptions", "-fno-rtti"))


@pytest.mark.skipif(shutil.which(WINDOWS) is None, reason="mingw-w64 is not installed")
@pytest.mark.parametrize(
    "source", ["examples/console.cpp", "../unreal/Source/NpcSdk/Private/Core/NpcCore.cpp"]
)
def test_windows_compiles(source: str) -> None:
    """With the sockets and the loader of that system; there is nothing here to run it on."""
    command = [WINDOWS, "-std=c++17", *WARNINGS, "-Wundef", "-fno-exceptions", "-fno-rtti", "-fsyntax-only"]
    command += ["-I", str(CPP / "include"), "-include", "npcsdk/curve.hpp", str(CPP / source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("clang++") is None, reason="clang++ is not installed")
def test_clang_has_no_warnings_either() -> None:
    build("tests/vectors.cpp", compiler="clang++")
