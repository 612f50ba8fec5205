"""The SDK's own world with a runtime that has no model: a token for everybody at the same moments, as a batch gives.

All but the computing is real: personas, memory, prompts, the reading of calls, history. A line says how many tokens:
``paced N SECONDS BEGIN`` are N of them, every so many seconds from ``BEGIN`` on, each with the moment when it was due
(in seconds of the last hundred).
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npcsdk.backends.base import Backend, Capabilities, Finish, ModelSource, Piece, Request, Usage
from npcsdk.backends.delivery import Delivered, Delivery
from npcsdk.backends.text_stream import TextStream
from npcsdk.dialogue.world import World, open_memory
from npcsdk.persona.loader import load_world
from npcsdk.persona.starter import shipped_world

_ASKED = re.compile(r"paced (\d+) (\S+) (\S+)")
_WORD = re.compile(r"\S+")


@dataclass(slots=True, eq=False)
class _Seat:
    """One reply in the making."""

    request: Request
    left: int
    stream: TextStream
    delivery: Delivery
    made: int = 0
    gone: bool = False


class PacedBackend(Backend):
    """Computes nothing, at a pace.

    Args:
        waits: have a thread wait for each reply, as for a runtime that computes them one by one.
    """

    def __init__(self, *, waits: bool) -> None:
        self.capabilities = Capabilities(
            backend="paced", model="paced", context_length=16384, constraints=True, token_ids=True
        )
        self._waits = waits
        self._fresh: deque[_Seat] = deque()
        self._lock = threading.Lock()
        self._paced = False

    def count(self, text: str) -> int:
        return len(_WORD.findall(text))

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        pieces = Delivered(lambda delivery: self._generate(request, delivery))
        return (piece for piece in pieces) if self._waits else pieces

    def _generate(self, request: Request, delivery: Delivery) -> Generator[Piece | Finish | None, None, None]:
        asked = _ASKED.search(request.prompt.messages[-1].content)
        count, pace, begin = asked.groups() if asked else ("1", "0.02", "0")
        seat = _Seat(request, int(count), TextStream(request.stop), delivery)
        with self._lock:
            self._fresh.append(seat)
            if not self._paced:
                self._paced = True
                threading.Thread(target=self._run, args=(float(pace), float(begin)), daemon=True).start()
        item = None
        try:
            while not isinstance(item, Finish):
                item = delivery.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            seat.gone = True

    def _run(self, pace: float, due: float) -> None:
        seats: list[_Seat] = []
        while True:
            time.sleep(max(due - time.perf_counter(), 0.0))
            with self._lock:
                seats += self._fresh
                self._fresh.clear()
            seats = [seat for seat in seats if self._step(seat, due)]
            due += pace

    @staticmethod
    def _step(seat: _Seat, due: float) -> bool:
        """One more token; False after the last."""
        if not seat.left or seat.gone or seat.request.cancel:
            reason = "stop" if not seat.left else "cancelled"
            usage = Usage(prompt_tokens=1, computed_tokens=1, generated_tokens=seat.made)
            seat.delivery.put(Finish(reason=reason, usage=usage))
            return False
        seat.left -= 1
        seat.made += 1
        piece = seat.stream.push(seat.made, f" {due % 100:.4f}".encode())
        if piece is not None:
            seat.delivery.put(piece)
        return True


def open_world(folder: Any, *, model: str | None = None, memory: Path | str | None = None, **_: Any) -> World:
    """What the worker opens; ``model`` is ``waits`` for a thread that waits for each reply."""
    definition = load_world(folder or shipped_world())
    source = ModelSource(
        name="paced",
        backend="paced",
        path="",
        context_length=16384,
        options={"sampling": {"max_tokens": 4096}},
    )
    return World(definition, PacedBackend(waits=model == "waits"), open_memory(definition, memory), source)
