"""What a batching runtime computes next: which tokens of which sequences go into one step. Pure.

A runtime has a number of *cells*, one for each token that it remembers, and of *sequences*, which may share cells where
they begin alike. A request is *waiting* until there is room for all that it may need, *joining* while its prompt is
computed, *running* while it is answered, and its sequence stays behind *idle*, until another needs the room. Then:

- Every running request gets its one token in every step, so a stream never waits for more than one step.
- What is left of a step's time goes to prompts, in pieces: the highest priority first, of equal ones the shortest.
  Every fourth time that a request is passed over counts as one priority more, so nobody waits for ever.
- A prompt starts from the longest beginning that any sequence holds. Of several prompts that begin alike the first
  computes that part, and the others wait for it.
- Nothing is started that could run out of cells, so everything that starts can end.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from npcsdk.backends.cells import Cells
from npcsdk.backends.pace import Pace
from npcsdk.backends.plan import Copy, Cut, Drop, Entry, Forget, Load, Move, Plan, Save
from npcsdk.backends.pool import common_prefix

__all__ = ["Scheduler"]

_PATIENCE = 4
_SHARED = 32
"""So many tokens are worth waiting for, or keeping elsewhere: fewer cost as much to compute as this many."""


@dataclass(slots=True, eq=False)
class _Slot:
    """One of the runtime's sequences: idle, or a request's."""

    sequence: int
    tokens: list[int] = field(default_factory=list[int])
    session: str | None = None
    heard: int = 0


@dataclass(slots=True, eq=False)
class _Request:
    number: int
    prompt: Sequence[int]
    peak: int
    session: str
    priority: int
    passed: int = 0
    slot: _Slot | None = None
    cached: int = 0
    leader: _Request | None = None
    shared: int = 0
    """How much of the leader's prompt this one waits for."""
    alone: bool = False
    token: int | None = None
    answered: bool = False

    @property
    def urgency(self) -> int:
        return self.priority + self.passed // _PATIENCE

    @property
    def done(self) -> int:
        return len(self.slot.tokens) if self.slot is not None else 0

    @property
    def left(self) -> int:
        """Tokens of the prompt that are still to be computed."""
        return len(self.prompt) - self.done


@dataclass(frozen=True, slots=True)
class _Saved:
    state: int
    session: str
    tokens: list[int]


class Scheduler:
    """Requests in, plans out. Not thread-safe: its owner sees to that.

    The cycle is: `step`, carry the plan out, `measure`, then `next` or `end` for each entry that was ``last``.

    Args:
        cells: tokens that the runtime can remember, of all sequences together.
        sequences: how many sequences it has.
        piece_s: seconds that the prompts' part of a step should take while somebody is answered.
        step_s: seconds of a step of one token, if that is known.
        batch: the most tokens of one step; at least ``sequences``.
        saved: tokens of evicted sequences that may be kept elsewhere; 0: they are forgotten.
        partial: whether a sequence can be cut, and a part of it shared.
    """

    def __init__(
        self,
        *,
        cells: int,
        sequences: int,
        piece_s: float = 0.05,
        step_s: float = 0.0,
        batch: int = 512,
        saved: int = 0,
        partial: bool = True,
    ) -> None:
        self._cells = Cells(cells)
        self._slots = [_Slot(sequence) for sequence in range(min(sequences, batch))]
        self._requests: dict[int, _Request] = {}
        self._saved: dict[str, _Saved] = {}
        self._saved_room = saved
        self._partial = partial
        self._pace = Pace(piece_s, step_s)
        self._batch = batch
        self._moves: list[Move] = []
        self._numbers = itertools.count()
        self._clock = itertools.count(1)
        self._states = itertools.count()
        self._unwanted: set[_Slot] = set()

    # What the owner asks.

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self._cells.size

    @property
    def used(self) -> int:
        """How many cells hold something; shared ones count once."""
        return self._cells.used

    @property
    def kept(self) -> int:
        """How many tokens are kept elsewhere."""
        return sum(len(saved.tokens) for saved in self._saved.values())

    @property
    def busy(self) -> bool:
        """Whether there is any request."""
        return bool(self._requests)

    def cached(self, number: int) -> int:
        """How many tokens of a request's prompt need not be computed, once it has started."""
        return self._requests[number].cached

    def computed(self, number: int) -> int:
        """How many tokens of its prompt have been computed for it."""
        request = self._requests[number]
        return max(0, min(request.done, len(request.prompt)) - request.cached)

    # What the owner says.

    def add(self, prompt: Sequence[int], *, limit: int, session: str = "", priority: int = 0) -> int:
        """A new request, which will be told at most ``limit`` tokens; its number.

        ``session`` "" is nobody's: its sequence is kept until the next such request is over.

        Raises:
            ValueError: there are not so many cells, or nothing to compute.
        """
        if not prompt or limit < 1 or len(prompt) + limit > self.cells + 1:
            raise ValueError(f"{len(prompt)} and {limit} tokens do not fit into {self.cells} cells")
        number = next(self._numbers)
        # The last token of a reply is never computed.
        self._requests[number] = _Request(number, prompt, len(prompt) + limit - 1, session, priority)
        return number

    def next(self, number: int, token: int) -> None:
        """The request's last logits gave this token, which is to be computed."""
        request = self._requests[number]
        request.token = token
        request.answered = True

    def end(self, number: int) -> None:
        """The request is over, in whatever state it was. What was computed stays."""
        request = self._requests.pop(number)
        self._followers_go_on(request)
        slot = request.slot
        if slot is None:
            return
        request.slot = None
        slot.heard = next(self._clock)
        wanted = slot.tokens and slot not in self._unwanted
        self._unwanted.discard(slot)
        if not wanted:
            self._drop(slot)
            return
        for other in self._idle():
            if other.session == request.session:  # Of two at once in one session the later one stays.
                self._drop(other)
        slot.session = request.session

    def lose(self, number: int) -> None:
        """The request is over and the contents of its sequence are not to be trusted."""
        slot = self._requests[number].slot
        if slot is not None:
            self._unwanted.add(slot)
        self.end(number)

    def restart(self, sequence: int) -> int | None:
        """A move failed and this sequence is empty: its request, if it has one, starts again from nothing, and nothing
        is to be computed for it in this step."""
        for request in self._requests.values():
            slot = request.slot
            if slot is not None and slot.sequence == sequence:
                request.slot, request.alone, request.token, request.cached = None, True, None, 0
                self._drop(slot)
                return request.number
        return None

    def release(self, session: str) -> None:
        """Forget a session; what runs in it ends undisturbed, and is forgotten then."""
        for slot in self._idle():
            if slot.session == session:
                self._drop(slot)
        for request in self._requests.values():
            if request.session == session and request.slot is not None:
                self._unwanted.add(request.slot)
        saved = self._saved.pop(session, None)
        if saved is not None:
            self._moves.append(Forget(saved.state))

    def measure(self, plan: Plan, seconds: float) -> None:
        """How long a plan's computation took."""
        self._pace.measure(plan, seconds)

    # One step.

    def step(self) -> Plan:
        """What to do next. An empty plan means that there is nothing to do."""
        self._admit()
        entries: list[Entry] = []
        for request in self._requests.values():
            if request.slot is not None and request.token is not None:
                entries.append(self._grow(request, (request.token,), reply=True, last=True))
                request.token = None
        joining = [request for request in self._requests.values() if request.slot and request.left > 0]
        if joining:
            joining.sort(key=lambda request: (-request.urgency, request.left, request.number))
            sizes = self._pace.share(
                [(request.done, request.left) for request in joining],
                replies=bool(entries),
                width=self._batch - len(entries),
            )
            for request, size in zip(joining, sizes, strict=True):
                if size < 1:
                    request.passed += 1
                    continue
                piece = request.prompt[request.done : request.done + size]
                entries.append(self._grow(request, piece, reply=False, last=request.left == size))
                request.passed = 0
        moves, self._moves = tuple(self._moves), []
        return Plan(moves, tuple(entries))

    def _grow(self, request: _Request, tokens: Sequence[int], *, reply: bool, last: bool) -> Entry:
        slot = request.slot
        assert slot is not None
        while self._cells.free < len(tokens):
            self._drop(self._least_recent(), keep=True)
        entry = Entry(request.number, slot.sequence, len(slot.tokens), tokens, reply, last)
        self._cells.grow(slot.sequence, len(tokens))
        slot.tokens.extend(tokens)
        return entry

    # Who starts.

    def _admit(self) -> None:
        waiting = [request for request in self._requests.values() if request.slot is None]
        if not waiting:
            return
        waiting.sort(key=lambda request: (-request.urgency, request.number))
        for request in waiting:
            if self._follows(request):
                continue
            if not self._start(request):
                break  # Whoever comes after it might take the room that it waits for.
            for other in waiting:
                if other.slot is None and other.leader is None and other.number < request.number:
                    other.passed += 1

    def _follows(self, request: _Request) -> bool:
        """Whether it waits for what another is computing anyway."""
        leader = request.leader
        if leader is not None:
            if leader.slot is not None and leader.done < request.shared:
                leader.priority = max(leader.priority, request.urgency)
                return True
            request.leader = None
        if request.alone or not self._partial:
            return False
        joining = [
            other for other in self._requests.values() if other.slot is not None and not other.answered
        ]
        best, shared = None, 0
        for other in joining:
            length = common_prefix(other.prompt, request.prompt)
            if length > max(shared, other.done):
                best, shared = other, length
        if best is None:
            return False
        _, held = self._longest(request)
        if shared - held < _SHARED:
            return False
        request.leader, request.shared = best, shared
        best.priority = max(best.priority, request.urgency)  # Others wait for it as they do for this one.
        return True

    def _followers_go_on(self, leader: _Request) -> None:
        for request in self._requests.values():
            if request.leader is leader:
                request.leader = None

    def _start(self, request: _Request) -> bool:
        """Give it a sequence, if there is room for all that it may need."""
        own = next((slot for slot in self._idle() if slot.session == request.session), None)
        saved = self._saved.get(request.session) if request.session else None
        source, held = self._longest(request)
        mine = self._reusable(own, request)
        back = 0
        if saved is not None and not request.alone:
            back = common_prefix(saved.tokens, request.prompt)
            if not self._partial and back < len(saved.tokens):
                back = 0
            if back < max(held, mine) + _SHARED:
                back = 0
        peak = max(request.peak, len(saved.tokens)) if back and saved is not None else request.peak
        shares = source if not back and held > mine else None
        room = self._room_for(peak, own if not back and shares is None and mine else shares, max(held, mine))
        if not room:
            return False
        if saved is not None:
            del self._saved[saved.session]
            if not back:
                self._moves.append(Forget(saved.state))
        slot = own or next((slot for slot in self._slots if self._empty(slot)), None)
        if slot is None:
            slot = self._least_recent()
            if slot is shares:
                mine, shares = held, None  # It is taken over.
                self._keep(slot)
            else:
                self._drop(slot, keep=not back)  # What comes back still takes its place elsewhere.
        if back and saved is not None:
            self._bring_back(saved, slot, back)
        elif shares is not None:
            self._drop(slot)
            self._moves.append(Copy(shares.sequence, slot.sequence, held))
            self._cells.share(shares.sequence, slot.sequence, held)
            slot.tokens = shares.tokens[:held]
        else:
            self._cut(slot, mine)
        request.slot = slot
        request.cached = len(slot.tokens)
        slot.session = None
        slot.heard = next(self._clock)
        return True

    def _bring_back(self, saved: _Saved, slot: _Slot, length: int) -> None:
        self._drop(slot)
        while self._cells.free < len(saved.tokens):
            self._drop(self._least_recent())
        self._moves.append(Load(saved.state, slot.sequence))
        self._cells.grow(slot.sequence, len(saved.tokens))
        slot.tokens = saved.tokens
        self._cut(slot, length)

    def _reusable(self, slot: _Slot | None, request: _Request) -> int:
        """How many tokens of a slot's beginning are this prompt's, and can be had apart from the rest."""
        if slot is None or request.alone or not slot.tokens:
            return 0
        length = common_prefix(slot.tokens, request.prompt)
        return length if self._partial or length == len(slot.tokens) else 0

    def _longest(self, request: _Request) -> tuple[_Slot | None, int]:
        """The sequence that holds most of this prompt's beginning."""
        best: _Slot | None = None
        longest = 0
        if self._partial and not request.alone:
            for slot in self._slots:
                length = common_prefix(slot.tokens, request.prompt) if slot.tokens else 0
                if length > longest:
                    best, longest = slot, length
        return best, longest

    def _room_for(self, peak: int, source: _Slot | None, held: int) -> bool:
        """Whether ``peak`` cells, of which ``held`` are there in ``source``, fit beside what those that have started
        may still need, if all idle sequences go."""
        started = [request for request in self._requests.values() if request.slot is not None]
        if len(started) >= len(self._slots):
            return False
        busy = [request.slot.sequence for request in started if request.slot is not None]
        taken = self._cells.union(busy, source.sequence if source is not None else None, held)
        later = sum(request.peak - request.done for request in started)
        rest = peak - (held if source is not None else 0)
        return taken + later + rest <= self.cells

    # Sequences.

    def _taken(self) -> set[int]:
        return {id(request.slot) for request in self._requests.values() if request.slot is not None}

    def _idle(self) -> list[_Slot]:
        taken = self._taken()
        return [slot for slot in self._slots if slot.session is not None and id(slot) not in taken]

    def _empty(self, slot: _Slot) -> bool:
        return not slot.tokens and slot.session is None and id(slot) not in self._taken()

    def _least_recent(self) -> _Slot:
        return min(self._idle(), key=lambda slot: (slot.session != "", slot.heard))

    def _drop(self, slot: _Slot, *, keep: bool = False) -> None:
        if keep:
            self._keep(slot)
        self._cells.cut(slot.sequence, 0)
        if slot.tokens:
            self._moves.append(Drop(slot.sequence))
        slot.tokens = []
        slot.session = None
        self._unwanted.discard(slot)

    def _keep(self, slot: _Slot) -> None:
        """Keep what an evicted sequence holds, if there is a place for it."""
        size = len(slot.tokens)
        if not slot.session or not _SHARED <= size <= self._saved_room:
            return
        older = self._saved.pop(slot.session, None)
        if older is not None:
            self._moves.append(Forget(older.state))
        while self.kept + size > self._saved_room:
            first = next(iter(self._saved))
            self._moves.append(Forget(self._saved.pop(first).state))
        saved = _Saved(next(self._states), slot.session, list(slot.tokens))
        self._saved[slot.session] = saved
        self._moves.append(Save(slot.sequence, saved.state))

    def _cut(self, slot: _Slot, length: int) -> None:
        if length < len(slot.tokens):
            self._cells.cut(slot.sequence, length)
            del slot.tokens[length:]
            self._moves.append(Cut(slot.sequence, length) if length else Drop(slot.sequence))
