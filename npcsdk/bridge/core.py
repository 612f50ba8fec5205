"""The one engine under the sync and the async client: messages are moved into mailboxes, by whoever waits for them.

A thread that blocks for an event reads the link itself, so that no token is handed from thread to thread. While nobody
blocks (an event loop, a game that does something else) the core's own thread does it. `_pump` is held by whoever does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Literal

from npcsdk.bridge.links import Link
from npcsdk.bridge.signals import HeldSignals
from npcsdk.errors import BridgeError, NpcError
from npcsdk.events import Action, End, Event, Failed
from npcsdk.wire.client_peer import ClientPeer
from npcsdk.wire.faults import error_of
from npcsdk.wire.messages import (
    Done,
    Goodbye,
    Loading,
    Opened,
    Problem,
    React,
    Ready,
    Request,
    Say,
    ServerEvent,
    TurnEvent,
)

__all__ = ["Core", "Mailbox"]

_log = logging.getLogger(__name__)

_INTERRUPTIBLE = 0.25  # seconds: on Windows a wait does not see Ctrl-C
_TICK = 0.1  # seconds between looks at the clock, at most
_BACK_SOON = 0.005  # seconds in which a thread that has taken an event is expected to wait for the next
_BACK_AT_LAST = 0.04


class Mailbox:
    """The events of one turn, between whoever moves messages and whoever iterates, blocking or in an event loop."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Event | None] = SimpleQueue()
        self._wakers: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    def put(self, item: Event | None) -> None:
        """Add an event; None only wakes who waits."""
        self._items.put(item)
        if self._wakers:
            wake_all(self._wakers)

    def get(self, timeout: float = 0.0) -> Event | None:
        """The next event; None when there is none, or who waits was woken."""
        try:
            return self._items.get(timeout > 0, timeout or None)
        except Empty:
            return None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to get."""
        return self._items.empty()

    async def get_async(self) -> Event:
        """The next event, without blocking the loop."""
        loop = asyncio.get_running_loop()
        while True:
            if (item := self.get()) is not None:
                return item
            future: asyncio.Future[None] = loop.create_future()
            self._wakers.append((loop, future))
            if (item := self.get()) is not None:  # something may have slipped in between
                return item
            await future


def wake_all(wakers: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]]) -> None:
    """Wake whoever waits in an event loop; from any thread."""
    while wakers:
        loop, future = wakers.popleft()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Core:
    """A client without a surface: commands from any thread, events into mailboxes.

    Args:
        link: the way to the server; from now on the core is the only one to use it.
        actions: definitions of the game's actions, as plain data.
        on_action: called for each action, once, in the thread that moves messages; it must not block. What it returns
            is told in the action's place.
        on_loading: called in the core's thread with stage and progress while the world loads.
    """

    def __init__(
        self,
        link: Link,
        *,
        actions: Sequence[Mapping[str, Any]] = (),
        on_action: Callable[[str, Action], Event | None] | None = None,
        on_loading: Callable[[str, float | None], None] | None = None,
    ) -> None:
        self.link = link
        try:
            self._peer = ClientPeer(client=secrets.token_hex(16), actions=actions, silence=link.silence)
        except NpcError:
            link.close()
            raise
        self._on_action = on_action
        self._on_loading = on_loading
        self._lock = threading.RLock()  # the peer and what follows
        self._cancels: deque[str] = deque()  # turns to cancel before anything else is asked for
        self._mailboxes: dict[str, Mailbox] = {}
        self._not_given: dict[
            str, set[str]
        ] = {}  # by turn: ids of the actions in whose place something else was told
        self._histories: dict[str, str] = {}
        self._answers: dict[str, Future[Mapping[str, Any]]] = {}
        self._changed = threading.Condition(self._lock)
        self._wakers: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._failure: NpcError | None = None
        self._closing = False
        self._patience = _INTERRUPTIBLE if link.tick is None else min(link.tick, _INTERRUPTIBLE)
        self._tick_at = 0.0
        self._pump = threading.Lock()  # whoever holds it uses the link
        self._pumping: int | None = None  # the thread that does
        self._asked = False  # something may have to be sent
        self._waiting: deque[Mailbox] = deque()  # of threads that would like the pump
        self._left = (
            threading.Lock()
        )  # held while no thread has left the pump since the core's own last looked
        self._left.acquire()
        self.thread = threading.Thread(target=self._run, name="npcsdk-client", daemon=True)
        self._peer.connect(time.monotonic())
        self.thread.start()

    # The connection

    @property
    def ready(self) -> Ready | None:
        """The world that the server has told of."""
        return self._peer.ready

    def check_ready(self) -> Ready | None:
        """The world, or None while it loads.

        Raises:
            NpcError: it cannot be loaded, or the server is not there.
        """
        with self._lock:
            if self._peer.ready is None and self._failure is not None:
                raise self._failure
            return self._peer.ready

    def wait_ready(self) -> Ready:
        """The world; blocks while it loads, and raises as `check_ready`."""
        with self._changed:
            while (ready := self.check_ready()) is None:
                self._changed.wait(_INTERRUPTIBLE)
            return ready

    async def wait_ready_async(self) -> Ready:
        """The world, without blocking the loop; raises as `check_ready`."""
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                if (ready := self.check_ready()) is not None:
                    return ready
                future: asyncio.Future[None] = loop.create_future()
                self._wakers.append((loop, future))
            await future

    def close(self, timeout: float = 5.0) -> None:
        """Say goodbye and end the thread; open turns end with ``closed``. More than once is harmless."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self.link.wake()
        self._leave()
        if threading.get_ident() not in (self.thread.ident, self._pumping):
            self.thread.join(timeout)

    # Conversations and turns

    def open(self, npc: str, player: str, history: str | None) -> str:
        """Begin a conversation; an error shows in its first turn."""
        conversation = secrets.token_hex(4)
        with self._acting():
            self._peer.open(conversation, npc, player=player, history=history, now=time.monotonic())
        return conversation

    def begin(self, command: Say | React) -> Mailbox:
        """Start a turn; its events arrive in the mailbox, the last is an `End` or a `Failed`."""
        mailbox = Mailbox()
        with self._acting():
            self._peer.begin(command, time.monotonic())
            self._mailboxes[command.turn] = mailbox
        return mailbox

    def cancel(self, turn: str) -> None:
        """Stop a turn; it still ends with an event. Takes no lock: the garbage collector may call it anywhere."""
        self._cancels.append(turn)
        self.link.wake()

    def result(self, turn: str, action: str, status: Literal["done", "failed"], value: Any) -> None:
        """Tell what became of an action."""
        with self._acting():
            self._peer.result(turn, action, status, value)

    def request(self, command: Request) -> Future[Mapping[str, Any]]:
        """Ask for something beside turns: the answer's value, or the error."""
        answer: Future[Mapping[str, Any]] = Future()
        answer.set_running_or_notify_cancel()  # who waits may give up; the request goes on
        with self._acting():
            self._answers[command.request] = answer
            try:
                self._peer.request(command, time.monotonic())
            except NpcError:
                del self._answers[command.request]
                raise
        return answer

    def typing(self, conversation: str, line: str) -> None:
        """The beginnings of a line, if they can be sent now."""
        with self._acting():
            self._peer.typing(conversation, line)

    def close_conversation(self, conversation: str) -> None:
        """End a conversation."""
        with self._lock:
            if not self._closing:
                self._peer.close(conversation)
        self.link.wake()

    def history(self, conversation: str) -> str | None:
        """The name under which a conversation can be continued; None until the server has told it."""
        return self._histories.get(conversation)

    def _cancel_now(self) -> None:
        while self._cancels:
            self._peer.cancel(self._cancels.popleft())

    @contextlib.contextmanager
    def _acting(self) -> Any:
        with self._lock:
            if self._closing:
                raise BridgeError("The world is closed.", hint="Open it again.", code="closed")
            if self._peer.state == "over" and self._failure is not None:
                raise self._failure
            self._cancel_now()
            yield
            self._asked = True
        if not self._send_now():
            self.link.wake()  # whoever has the pump sends it

    # Waiting

    def next(self, mailbox: Mailbox, held: HeldSignals | None = None) -> Event:
        """The next event of a turn; blocks, and can be interrupted by Ctrl-C.

        Args:
            held: kept by who asks again and again.
        """
        while True:
            if (item := mailbox.get()) is not None:
                return item
            if self._closing:
                item = mailbox.get(_INTERRUPTIBLE)
            elif not self._lead(mailbox, held):
                item = self._follow(mailbox, held)
            if item is not None:
                return item

    def ask(self, command: Request) -> Mapping[str, Any]:
        """`request`, and wait for the answer; it can be interrupted by Ctrl-C."""
        answer, answered = self.request(command), Mailbox()
        answer.add_done_callback(lambda _: answered.put(End(reason="stop")))
        self.next(answered)
        return answer.result()

    def _lead(self, mailbox: Mailbox, held: HeldSignals | None) -> bool:
        """Move messages in this thread until the mailbox has one; False when another thread does it."""
        if held is not None and held.thread == threading.get_ident():
            with held.hold():
                return self._lead_held(mailbox, held)
        with HeldSignals() as once:
            return self._lead_held(mailbox, once)

    def _lead_held(self, mailbox: Mailbox, held: HeldSignals) -> bool:
        if not self._pump.acquire(blocking=False):
            return False
        try:
            self._pumping = threading.get_ident()
            while not self._closing and mailbox.empty:
                self._flush()
                with held.let():
                    self.link.wait(self._patience)
                self._move()
        except Exception as error:
            self._break(error)
        finally:
            self._give_back()
        if self._asked:
            self._send_now()
        return True

    def _follow(self, mailbox: Mailbox, held: HeldSignals | None) -> Event | None:
        """Wait while another thread moves messages: for an event, or to be the next who does."""
        self._waiting.append(mailbox)
        try:
            if self._pumping == self.thread.ident:
                self.link.wake()  # so that it lets go
            return None if self._lead(mailbox, held) else mailbox.get(_INTERRUPTIBLE)
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(mailbox)
            if not self._pump.locked():
                self._pass_on()  # this one was asked, but has what it wanted

    def _give_back(self) -> None:
        self._pumping = None
        self._pump.release()
        self._pass_on()
        self._leave()

    def _pass_on(self) -> None:
        """The pump is free: a thread that waits for it may have it."""
        if self._waiting:
            with contextlib.suppress(IndexError):
                self._waiting.popleft().put(None)

    def _leave(self) -> None:
        """Tell the core's thread that the pump may be lying idle."""
        if self._left.locked():  # else it was told, and has not looked yet
            with contextlib.suppress(RuntimeError):
                self._left.release()

    def _send_now(self) -> bool:
        """Send what is to be sent in this thread; False when another has the pump."""
        with HeldSignals():
            while self._asked:
                if not self._pump.acquire(blocking=False):
                    return False
                try:
                    self._flush()
                except Exception as error:
                    self._break(error)
                finally:
                    self._give_back()
        return True

    # The thread

    def _run(self) -> None:
        try:
            while not self._closing:
                with self._pump:
                    self._pumping = self.thread.ident
                    while not self._closing and not self._waiting:
                        self._flush()
                        self.link.wait(self.link.tick)
                        self._move()
                    self._pumping = None
                self._pass_on()
                self._send_now()
                # A thread that waits has it now. When it has been away for a moment, it is this one's again.
                away = _BACK_SOON
                while not self._closing:
                    self._left.acquire()
                    time.sleep(away)
                    if not self._pump.locked():
                        break
                    away = min(2 * away, _BACK_AT_LAST)  # it reads on and on: no need to look so often
        except Exception as error:
            self._break(error)
        finally:
            with self._pump:
                self._finish()

    def _break(self, error: Exception) -> None:
        _log.error("The client's connection failed", exc_info=error)
        self._fail(BridgeError(f"The connection broke: {error}.", code="broken"))
        self._closing = True
        self._leave()

    def _flush(self) -> None:
        self._asked = False
        with self._lock:
            self._cancel_now()
            now = time.monotonic()
            if now >= self._tick_at:
                self._tick_at = now + _TICK
                self._peer.tick(now)
            notices = self._peer.notices()
            payloads = self._peer.outgoing()
        for notice in notices:
            self._notice(notice)
        for payload in payloads:
            self.link.send(payload)

    def _move(self) -> None:
        payloads = self.link.receive()
        if not payloads:
            return
        with self._lock:
            now = time.monotonic()
            for payload in payloads:
                self._peer.receive(payload, now)
            notices, answers = self._peer.notices(), self._peer.outgoing()
        for notice in notices:
            self._notice(notice)
        for payload in answers:
            self.link.send(payload)

    def _notice(self, notice: ServerEvent) -> None:
        if isinstance(notice, TurnEvent):
            with self._lock:
                ended = isinstance(notice.event, End | Failed)
                box = self._mailboxes.pop(notice.turn, None) if ended else self._mailboxes.get(notice.turn)
            if box is not None:
                box.put(self._told(notice.turn, notice.event))
        elif isinstance(notice, Done | Problem) and notice.request is not None:
            with self._lock:
                answer = self._answers.pop(notice.request, None)
            if answer is None:
                return
            if isinstance(notice, Done):
                answer.set_result(notice.value)
            else:
                answer.set_exception(error_of(notice))
        elif isinstance(notice, Opened):
            self._histories[notice.conversation] = notice.history
        elif isinstance(notice, Ready):
            self._failure = None  # it was not there, and now is
            self._wake_all()
        elif isinstance(notice, Goodbye) or (isinstance(notice, Problem) and notice.conversation is None):
            self._fail(error_of(notice))
        elif isinstance(notice, Loading) and self._on_loading is not None:
            self._on_loading(notice.stage, notice.progress)

    def _told(self, turn: str, event: Event) -> Event:
        """What the game is told: an action goes through its hooks first, and counts as given if they let it."""
        if isinstance(event, Action) and self._on_action is not None:
            instead = self._on_action(turn, event)
            if instead is not None:
                self._not_given.setdefault(turn, set()).add(event.id)
            return instead or event
        if isinstance(event, End | Failed):
            not_given = self._not_given.pop(turn, None)
            if not_given and isinstance(event, End):
                return replace(event, actions=tuple(one for one in event.actions if one not in not_given))
        return event

    def _fail(self, error: NpcError) -> None:
        self._failure = error
        self._wake_all()

    def _wake_all(self) -> None:
        with self._changed:
            self._changed.notify_all()
        wake_all(self._wakers)

    def _finish(self) -> None:
        with self._lock:
            self._closing = True
            self._peer.leave()
        with contextlib.suppress(Exception):
            self._flush()
        if self._failure is None:
            self._fail(BridgeError("The world is closed.", hint="Open it again.", code="closed"))
        for name in list(self._answers):
            self._answers.pop(name).set_exception(self._failure or BridgeError("The world is closed."))
        for turn, box in list(self._mailboxes.items()):
            self._mailboxes.pop(turn, None)
            box.put(Failed(code="closed", message="The connection was closed."))
        self.link.close()
