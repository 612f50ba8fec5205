"""Pieces are whole code points and hold nothing of a stop string, however the bytes are cut into tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.backends.base import Piece
from npcsdk.backends.text_stream import TextStream

Tokens = list[bytes]


def run(tokens: Tokens, stops: tuple[str, ...] = ()) -> tuple[list[Piece], bool]:
    stream, pieces = TextStream(stops), []
    for number, data in enumerate(tokens):
        piece = stream.push(number, data)
        if piece is not None:
            pieces.append(piece)
        if stream.stopped:
            return pieces, True
    last = stream.finish()
    return pieces + ([last] if last else []), False


def cut(data: bytes, places: set[int]) -> Tokens:
    edges = [0, *sorted(place for place in places if 0 < place < len(data)), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def test_every_split_of_text_with_a_stop_gives_the_same_text() -> None:
    text, stop = "Ja, grüß dich 🗡️!</turn>never said", "</turn>"
    data = text.encode()
    for first in range(len(data)):
        for second in range(first, len(data), 3):
            pieces, stopped = run(cut(data, {first, second}), (stop,))
            assert stopped
            assert "".join(piece.text for piece in pieces) == "Ja, grüß dich 🗡️!"


def test_bytes_one_by_one_never_show_half_a_character() -> None:
    text = "naïve 你好 👩‍👩‍👧 end"
    pieces, _ = run([bytes((byte,)) for byte in text.encode()])
    assert "".join(piece.text for piece in pieces) == text
    assert not any("\ufffd" in piece.text for piece in pieces)


few = st.text(alphabet="ab.é", max_size=30)  # Few letters, so that stops do come.


@given(
    st.one_of(st.text(max_size=30), few),
    st.sets(st.integers(0, 120)),
    st.lists(
        st.one_of(st.text(min_size=1, max_size=4), few.filter(lambda text: 0 < len(text) < 5)), max_size=3
    ),
)
def test_any_text_any_split_any_stops(text: str, places: set[int], stops: list[str]) -> None:
    tokens = cut(text.encode(), places)
    pieces, stopped = run(tokens, tuple(stops))
    said = "".join(piece.text for piece in pieces)
    found = [text.find(stop) for stop in stops if stop in text]
    assert stopped == bool(found)
    if found:
        # A stop is seen with the token that completes it, so an earlier-ending one may win over an earlier-starting.
        assert text.startswith(said)
        assert any(text.startswith(stop, len(said)) for stop in stops)
        assert not any(stop in said for stop in stops)
    else:
        assert said == text


@given(
    st.text(max_size=30), st.sets(st.integers(0, 120)), st.lists(st.text(min_size=1, max_size=3), max_size=2)
)
def test_ids_of_a_piece_are_exactly_its_text(text: str, places: set[int], stops: list[str]) -> None:
    tokens = cut(text.encode(), places)
    pieces, stopped = run(tokens, tuple(stops))
    for piece in pieces:
        if piece.ids:
            assert b"".join(tokens[number] for number in piece.ids).decode() == piece.text
    ids = [number for piece in pieces for number in piece.ids]
    assert ids == list(range(len(ids)))
    if not stopped and text:
        assert len(ids) == len(tokens)


def test_of_two_stops_in_one_token_the_first_counts() -> None:
    assert run([b"one! two. three"], (".", "!")) == ([Piece("one")], True)


def test_only_what_may_begin_a_stop_is_held_back() -> None:
    stream = TextStream(("<end>",))
    assert stream.push(0, b"Hello") == Piece("Hello", (0,))
    assert stream.push(1, b" <e") is None
    assert stream.push(2, b"lf>") == Piece(" <elf>", (1, 2))
    assert stream.push(3, b"x<end") is None
    assert stream.push(4, b">y") == Piece("x")
    assert stream.stopped


def test_half_a_character_at_the_end_is_dropped_and_what_came_before_it_is_not() -> None:
    pieces, _ = run([b"ok", "é".encode()[:1]])
    assert [piece.text for piece in pieces] == ["ok"]
    stream = TextStream()
    assert stream.push(0, b"a" + "é".encode()[:1]) is None
    assert stream.finish() == Piece("a")


@pytest.mark.parametrize("broken", [b"\xff", b"a\xc3(", b"\x80\x80"])
def test_bytes_that_are_no_text_are_replaced_not_lost(broken: bytes) -> None:
    pieces, _ = run([broken, b" on"])
    assert "".join(piece.text for piece in pieces) == (broken + b" on").decode("utf-8", "replace")
