"""Sums up what long conversations have lost from their prompts: on a thread of its own, after turns, never in them.

A model is asked only where it was named for it and while no turn runs on its backend; a turn that begins ends the
model's work at once, and it is done again later. Where the model cannot, or what it wrote cannot be used, the
summary is made of the turns' own sentences.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from npcsdk.backends.base import Backend, CancelFlag, Piece, Request, Sampling
from npcsdk.errors import MemoryStoreError, NpcError
from npcsdk.memory.recall import Summary, Told, condense, usable
from npcsdk.prompt.build import assemble
from npcsdk.prompt.templates import ChatMessage, Template
from npcsdk.prompt.untrusted import one_line

__all__ = ["How", "Summaries", "Work", "summed_up"]

logger = logging.getLogger(__name__)

How = Literal["extract", "model"]

_PRIORITY = -2  # behind everybody who is spoken to, and behind what is prepared for them
_TRIES = 2  # of a model that fails
_INTERRUPTED = 6  # times before the model is given up for this summary
_WRITES = 5  # tries to write, each after a longer pause
_PAUSE = 0.25  # seconds
_PATIENCE = 5.0  # seconds that `Summaries.close` waits for a model that was told to stop
_SHARE = 0.7  # of a summary's tokens that a model may fill; the rest is for what the game told
_REPORTING = "player traveller stranger talk agreed promised"
"""What a model may say of a talk without its having been said in it."""
_SYSTEM = (
    "You keep notes of a talk. Sum it up in two or three plain sentences: who said what of themselves, what was "
    "asked, promised and agreed. Write only what stands in it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The turns of one conversation that are to be summed up."""

    name: str
    """The character's."""
    player: str
    told: Sequence[Told]
    previous: Summary | None
    """What stands for the turns before these."""
    upto: str
    turns: int
    """How many there are, those of ``previous`` included."""
    tokens: Callable[[str], int]
    budget: int
    """Tokens that the summary may take, as ``tokens`` counts."""


@dataclass(frozen=True, slots=True)
class _Order:
    """Work, and what becomes of it."""

    work: Work
    keep: Callable[[Summary], None]
    give_up: Callable[[], None]


class _Interrupted(Exception):
    """A turn began."""


class Summaries:
    """One for a world, whose conversations share its backend. `close` ends it."""

    def __init__(self, backend: Backend, template: Template, how: How = "extract") -> None:
        self._backend = backend
        self._template = template
        self._how = how
        self._changed = threading.Condition()
        self._waiting: deque[_Order] = deque()
        self._working = False
        self._turns = 0  # that run on the backend
        self._flag = CancelFlag()
        self._closed = False
        self._thread: threading.Thread | None = None

    def turn_begins(self) -> None:
        """The backend is wanted: a model that sums up stops within a piece of its work."""
        with self._changed:
            self._turns += 1
            self._flag.set()

    def turn_over(self) -> None:
        """The backend is wanted no more, once for each `turn_begins`."""
        with self._changed:
            self._turns -= 1
            self._changed.notify_all()

    @contextmanager
    def standing_back(self) -> Generator[None, None, None]:
        """`turn_begins` and `turn_over` around something."""
        self.turn_begins()
        try:
            yield
        finally:
            self.turn_over()

    def submit(self, work: Work, keep: Callable[[Summary], None], give_up: Callable[[], None]) -> None:
        """Have something summed up; returns at once.

        Args:
            keep: takes the summary and writes it; called again later if it raises MemoryStoreError.
            give_up: called instead when there is no summary; it may be asked for again.
        """
        with self._changed:
            if self._closed:
                return
            self._waiting.append(_Order(work, keep, give_up))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="npcsdk-summaries", daemon=True)
                self._thread.start()

    def settled(self, timeout: float) -> bool:
        """Wait until nothing is left to sum up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._working, timeout)

    def close(self) -> None:
        """Stop; what was not summed up will be when the conversation goes on. Idempotent."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._flag.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    # The thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                order = self._waiting.popleft()
                self._working = True
            try:
                self._carry_out(order)
            except Exception:  # a defect of ours or of a plug-in: the game must go on
                logger.exception("a conversation of %s cannot be summed up", order.work.name)
                order.give_up()
            finally:
                with self._changed:
                    self._working = False
                    self._changed.notify_all()

    def _carry_out(self, order: _Order) -> None:
        prose = self._prose(order.work) if self._how == "model" else None
        if self._closed:
            return
        summary = summed_up(order.work, prose)
        for attempt in range(_WRITES):
            try:
                order.keep(summary)
                return
            except MemoryStoreError as error:
                if error.code in ("timeline_abandoned", "memory_closed"):
                    break
                logger.warning("A summary could not be written: %s", error)
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, _PAUSE * 2**attempt):
                    break
        order.give_up()

    def _prose(self, work: Work) -> str | None:
        """What the model makes of it; None where it cannot, or where what it writes is of no use."""
        interrupted = failed = 0
        while interrupted < _INTERRUPTED and failed < _TRIES:
            try:
                written = self._ask(work)
            except _Interrupted:
                interrupted += 1
                continue
            except NpcError as error:
                logger.warning("The model could not sum up a talk with %s: %s", work.name, error)
                failed += 1
                continue
            if self._closed:
                return None
            told = [each.text for each in _sources(work)]
            prose = usable(one_line(written), [*told, work.name, work.player, _REPORTING])
            while prose and work.tokens(prose) > work.budget * _SHARE:
                prose = usable(prose[:-1].rpartition(". ")[0] + ".", [prose])
            if prose:
                return prose
            failed += 1
        return None

    def _ask(self, work: Work) -> str:
        flag = CancelFlag()
        with self._changed:
            self._changed.wait_for(lambda: not self._turns or self._closed)
            if self._closed:
                return ""
            self._flag = flag
        sampling = Sampling(temperature=0.0, max_tokens=max(int(work.budget * _SHARE), 16))
        window = self._backend.capabilities.context_length - sampling.max_tokens
        fixed = work.tokens(_SYSTEM) + 64  # what a template adds
        fitting = _sources(work)
        if work.tokens(_script(fitting, work)) > window - fixed:
            fitting = list(
                condense(fitting, lambda lines: work.tokens(_script(lines, work)) <= window - fixed)
            )
        request = Request(
            prompt=assemble(
                self._template,
                system=_SYSTEM,
                tools=(),
                messages=[ChatMessage.of("user", _script(fitting, work))],
            ),
            sampling=sampling,
            stop=self._template.stop,
            cancel=flag,
            priority=_PRIORITY,
        )
        written: list[str] = []
        generation = self._backend.generate(request)
        try:
            for item in generation:
                if isinstance(item, Piece):
                    written.append(item.text)
        finally:
            close = getattr(generation, "close", None)
            if close is not None:
                close()
        if flag and not self._closed:
            raise _Interrupted
        return "".join(written)


def summed_up(work: Work, prose: str | None = None) -> Summary:
    """The summary with a model's words for what was said, or (None) with the sentences that say most."""
    previous = work.previous or Summary()
    lines = [*previous.lines, *work.told]
    if prose is not None:
        lines = [line for line in lines if line.origin == "game"]
    summary = Summary(prose=previous.prose if prose is None else prose, upto=work.upto, turns=work.turns)

    def fits(chosen: Sequence[Told]) -> bool:
        return work.tokens(replace(summary, lines=tuple(chosen)).text(work.player)) <= work.budget

    if not fits(()):  # another tokenizer's, or a smaller window
        summary = replace(summary, prose="")
    return replace(summary, lines=condense(lines, fits))


def _sources(work: Work) -> list[Told]:
    """What the model is shown: its own words of before, as a note, and what was told since."""
    previous = work.previous or Summary()
    noted = [Told(origin="npc", text=previous.prose)] if previous.prose else []
    return [*noted, *(line for line in previous.lines if line.origin != "game"), *work.told]


def _script(lines: Sequence[Told], work: Work) -> str:
    """The talk as a play."""
    who = {"game": "Event", "player": work.player, "npc": work.name}
    return "\n".join(f"{one_line(who[line.origin])}: {one_line(line.text)}" for line in lines)
