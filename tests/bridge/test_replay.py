"""What is kept of a turn for a client that comes back: exactly what it was told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from npcsdk.bridge.replay import Replay
from npcsdk.events import Action, Event, Text

PIECES = st.lists(st.one_of(st.text(max_size=3), st.integers(0, 9), st.none()), max_size=40)


def events_of(pieces: list[str | int | None]) -> list[Event]:
    """Text in its place, text that says it is elsewhere, and actions."""
    events: list[Event] = []
    offset = 0
    for piece in pieces:
        if piece is None:
            events.append(Action(id="a", name="wave", arguments={}, offset=offset))
        elif isinstance(piece, int):
            events.append(Text(text="elsewhere", offset=piece))
        else:
            events.append(Text(text=piece, offset=offset))
            offset += len(piece)
    return events


@given(PIECES, PIECES, st.integers(1, 50), st.integers(0, 90))
def test_who_comes_back_gets_the_bytes_that_were_sent(
    first: list[str | int | None], second: list[str | int | None], most: int, seen: int
) -> None:
    replay = Replay("c", most)
    sent: list[bytes] = []
    for turn, pieces in (("t1", first), ("t2", second)):
        replay.begin(turn)
        sent = [b""] * replay.seq + [replay.add(event) for event in events_of(pieces)]
    assert replay.seq == len(first) + len(second)
    assert replay.first == max(len(first), replay.seq - most) + 1
    assert list(replay.after(seen)) == sent[max(seen, replay.first - 1) :]
    replay.clear()
    assert (replay.first, list(replay.after(0))) == (replay.seq + 1, [])
