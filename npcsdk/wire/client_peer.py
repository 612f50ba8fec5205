"""The client's end of a connection as a state machine: no sockets, no threads, no clock of its own.

Bytes come in by ``receive``, bytes to send are collected by ``outgoing``, and time is an argument. So a test, a
socket, a pipe to a child process and a direct call drive the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from npcsdk.errors import BridgeError, ProtocolError, TurnError
from npcsdk.events import Action, ActionStarted, End, Failed
from npcsdk.wire.codec import decode_event, encode
from npcsdk.wire.messages import (
    Cancel,
    Close,
    Closed,
    Command,
    Done,
    Goodbye,
    Hello,
    Leave,
    Open,
    Opened,
    Ping,
    Pong,
    Problem,
    React,
    Ready,
    Request,
    Reset,
    Result,
    Say,
    ServerEvent,
    TurnEvent,
    Typing,
    Welcome,
)
from npcsdk.wire.pending import ConversationAsked, Pending, TurnAsked
from npcsdk.wire.version import FEATURES, PROTOCOL, agreed_version, sdk_version

__all__ = ["ClientPeer"]

HELLO_EVERY = 0.25  # seconds between attempts to reach a server that does not answer
GAP_TRIES = 3  # to get again what was lost on the way; then the rest goes on without it

_UNREACHABLE = (
    "The server does not answer.",
    "Check that it runs (npcsdk serve) and that the address, and the keys if it has any, are right; then say it again.",
)
_LOST = (
    "The server was restarted and lost this turn.",
    "Say it again; what the character had remembered before is kept.",
)


class ClientPeer:
    """The client's end: it greets, keeps track of turns, and finds its way back after a broken connection.

    What is worth telling is collected by `notices`: the server's messages, each event of a turn exactly once and in
    order, and for each turn that can no longer end by itself a `Failed` made here (``server_unreachable``,
    ``turn_lost``, or what a `Reset` or `Goodbye` says).

    Args:
        client: the name of the session: long, random, the same over reconnections.
        actions: definitions of the game's actions, as plain data.
        silence: seconds without a word after which the server counts as gone; None when something else watches it
            (a child process is watched by its parent), and then nothing is pinged.
    """

    def __init__(
        self,
        *,
        client: str,
        actions: Sequence[Mapping[str, Any]] = (),
        silence: float | None = 5.0,
        ping_every: float = 1.0,
    ) -> None:
        self.state: Literal["idle", "greeting", "open", "over"] = "idle"
        self.ready: Ready | None = None
        self.epoch: str | None = None
        self.limits: Mapping[str, Any] = {}
        self._hello = Hello(
            client=client,
            sdk=f"npcsdk-python {sdk_version()}",
            features=FEATURES,
            actions=tuple(actions),
        )
        encode(self._hello)  # a definition that cannot be sent is an error here, not later
        self._silence = silence
        self._ping_every = ping_every
        self._conversations: dict[str, ConversationAsked] = {}
        self._turns: dict[str, TurnAsked] = {}
        self._pending = Pending()
        self._version = PROTOCOL
        self._outgoing: list[bytes] = []
        self._notices: list[ServerEvent] = []
        self._greeting_since = 0.0
        self._hello_at = 0.0
        self._heard_at = 0.0
        self._ping_at = 0.0
        self._ticked_at = 0.0
        self._gave_up = False
        self._gap = False
        self._gap_tries = 0

    # What the application asks for

    def connect(self, now: float) -> None:
        """Greet the server, unless that is done or under way."""
        if self.state == "over":
            raise BridgeError("The connection is closed.", hint="Connect anew.", code="closed")
        if self.state == "idle":
            self._greeting_since = now
            self._greet(now)

    def open(self, conversation: str, npc: str, *, player: str, history: str | None, now: float) -> None:
        """Begin a conversation; `Opened` or a `Problem` follows."""
        self.connect(now)
        known = self._conversations.get(conversation)
        if known is None:
            command = Open(conversation=conversation, npc=npc, player=player, history=history)
            encode(command)
            known = self._conversations[conversation] = ConversationAsked(command)
        self._ask(known)

    def begin(self, command: Say | React, now: float) -> None:
        """Start a turn in a conversation that was opened before; its events follow.

        Behind a turn that was cancelled but has not ended yet it waits here for that end, so that an
        application may cancel and go on in one breath.
        """
        if command.conversation not in self._conversations:
            raise TurnError(
                f"The conversation {command.conversation!r} is not open.",
                hint="Open it first.",
                code="no_conversation",
            )
        if command.turn in self._turns:
            return
        payload = encode(command)
        self.connect(now)
        conversation = self._conversations[command.conversation]
        self._turns[command.turn] = turn = TurnAsked(command, payload, now)
        behind = conversation.turns[0] if conversation.turns else None
        conversation.turns.append(command.turn)
        if behind is None or not self._turns[behind].cancelled:
            self._start(conversation, turn)

    def cancel(self, turn_id: str) -> None:
        """Stop a turn; it still ends with an event, and brings no action any more. A turn that is over stays over."""
        turn = self._turns.get(turn_id)
        if turn is None or turn.cancelled:
            return
        turn.cancelled = True
        if turn.epoch is None:
            self._finish_and_release(turn, End(reason="cancelled"))
        else:
            self._send_cancel(turn)

    def result(self, turn_id: str, action: str, status: Literal["done", "failed"], value: Any = None) -> None:
        """Tell what became of an action. Without effect when the turn is over.

        Raises:
            ProtocolError: the value has no form on the wire (code ``unencodable``) or is too large.
        """
        turn = self._turns.get(turn_id)
        if turn is None:
            return
        message = Result(
            conversation=turn.command.conversation, turn=turn_id, action=action, status=status, value=value
        )
        payload = encode(message)
        turn.results.append(payload)
        if self.state == "open":
            self._outgoing.append(payload)

    def request(self, command: Request, now: float) -> None:
        """Ask for something beside turns; one `Done` or one `Problem` with its id follows."""
        self._pending.add(command, now)
        self.connect(now)
        self._send_requests()

    def typing(self, conversation: str, line: str) -> None:
        """The beginnings of a line; worth nothing when they cannot be sent now."""
        known = self._conversations.get(conversation)
        if known is not None and self.state == "open" and self._version >= (1, 1):
            self._ask(known)
            self._send(Typing(conversation=conversation, line=line))

    def close(self, conversation: str) -> None:
        """End a conversation; what was open in it is cancelled and heard of no more."""
        known = self._conversations.pop(conversation, None)
        if known is None:
            return
        for turn_id in list(known.turns):
            self._finish(self._turns[turn_id], End(reason="cancelled"))
        if known.asked:
            self._send(Close(conversation=conversation))

    def leave(self) -> None:
        """Say goodbye; nothing can be asked for afterwards."""
        if self.state == "open":
            self._send(Leave())
        self._fail_turns("closed", "The connection was closed.", "")
        self.state = "over"

    # What happens

    def receive(self, payload: bytes, now: float) -> None:
        """Take one message of the server's. What cannot be understood is passed over."""
        self._heard_at = now
        try:
            message = decode_event(payload)
        except ProtocolError:
            return  # a newer server's message, or noise: neither ends anything here
        if isinstance(message, TurnEvent):
            self._on_turn_event(message)
        elif isinstance(message, Welcome):
            self._on_welcome(message)
        elif isinstance(message, Problem):
            self._on_problem(message, now)
        elif isinstance(message, Reset):
            self._on_reset(message)
        elif isinstance(message, Done):
            if self._pending.answered(message):
                self._notices.append(message)
        elif isinstance(message, Goodbye):
            self._fail_turns(message.code, message.message, message.hint)
            self.state = "over"
            self._notices.append(message)
        elif isinstance(message, Opened):
            if conversation := self._conversations.get(message.conversation):
                conversation.opened = True
                # Reopened after a restart, it goes on where it was.
                conversation.command = Open(
                    conversation=message.conversation,
                    npc=message.npc,
                    player=message.player,
                    history=message.history,
                )
            self._notices.append(message)
        elif isinstance(message, Ready):
            self.ready = message
            self._notices.append(message)
        elif not isinstance(message, Pong | Closed):
            self._notices.append(message)

    def tick(self, now: float) -> None:
        """Let time pass: ping, greet again, give up. Call it every quarter of a second or so."""
        if self._silence is None or self.state == "over":
            return
        if self._ticked_at and now - self._ticked_at > 2.0:
            # This side was asleep (a debugger, a suspended laptop): the server's silence proves nothing.
            self._heard_at = self._greeting_since = now
        self._ticked_at = now
        if self.state == "open":
            if now - self._heard_at > self._silence:
                self._greeting_since = now - self._silence  # it has had its time
                self._greet(now)
            elif self._gap and now - self._hello_at >= HELLO_EVERY:
                self._gap_tries += 1
                self._greet(now)
            elif now - max(self._heard_at, self._ping_at) >= self._ping_every:
                self._ping_at = now
                self._send(Ping())
        elif self.state == "greeting" and now - self._hello_at >= HELLO_EVERY:
            self._greet(now)
        elif self.state == "idle" and self.epoch is not None:  # after a reset: to hear how it goes on
            self._greeting_since = now
            self._greet(now)
        if self.state == "greeting" and now - self._greeting_since > self._silence:
            self._give_up(now)

    def outgoing(self) -> list[bytes]:
        """The messages to send now, in order."""
        out, self._outgoing = self._outgoing, []
        return out

    def notices(self) -> list[ServerEvent]:
        """What happened since the last call, in order."""
        out, self._notices = self._notices, []
        return out

    # Connection

    def _greet(self, now: float) -> None:
        self.state = "greeting"
        self._hello_at = now
        self._gap = False
        for conversation in self._conversations.values():
            conversation.asked = False
        seen = {name: known.seq for name, known in self._conversations.items() if known.opened}
        # What was not sent yet would reach a server that does not know us; `_on_welcome` sends it again.
        self._outgoing = [encode(replace(self._hello, epoch=self.epoch, seen=seen))]

    def _on_welcome(self, welcome: Welcome) -> None:
        if agreed_version(welcome.protocol) is None:
            self._over(
                "unsupported_version",
                f"The server speaks protocol {welcome.protocol[0]}, this client {PROTOCOL[0]}.",
                "Update the older of the two.",
            )
            return
        if self.state != "greeting":
            return
        if welcome.epoch != self.epoch:
            for conversation in self._conversations.values():
                conversation.opened, conversation.seq = False, 0
            self.epoch = welcome.epoch
            for turn in list(self._turns.values()):
                if turn.epoch not in (None, welcome.epoch):
                    self._finish(turn, Failed(code="turn_lost", message=_LOST[0], hint=_LOST[1]))
            self._notices += self._pending.fail("request_lost", _LOST[0], "Ask again.", sent=True)
        self.state = "open"
        self._version = agreed_version(welcome.protocol) or PROTOCOL
        self._gave_up = False
        self.limits = welcome.limits
        self._notices.append(welcome)
        for conversation in self._conversations.values():
            self._catch_up(conversation)
        self._send_requests(again=True)

    def _send_requests(self, *, again: bool = False) -> None:
        if self.state != "open":
            return
        if self._version < (1, 1):
            message = "The server speaks protocol 1.0, which has no requests."
            self._notices += self._pending.fail("not_supported", message, "Update the server.")
        for command, payload in self._pending.to_send(self.epoch, again=again):
            if known := self._conversations.get(getattr(command, "conversation", "")):
                self._ask(known)
            self._outgoing.append(payload)

    def _catch_up(self, conversation: ConversationAsked) -> None:
        """Send again what the server may not have: harmless if it has, since each is known by its id."""
        if not conversation.opened:
            self._ask(conversation)
        conversation.asked = True
        for position, turn in enumerate([self._turns[name] for name in conversation.turns]):
            if position and turn.epoch is None and self._turns[conversation.turns[0]].cancelled:
                break  # it waits for the end of the one before
            if not turn.accepted:
                self._start(conversation, turn)
            if turn.cancelled:
                self._send_cancel(turn)
            self._outgoing.extend(turn.results)

    def _on_problem(self, problem: Problem, now: float) -> None:
        if problem.code == "hello_first":
            if self.state == "open":  # the server does not know us any more
                self._greeting_since = now
                self._greet(now)
            return
        if problem.request is not None:
            if self._pending.answered(problem):
                self._notices.append(problem)
            return
        if problem.turn is not None:
            if turn := self._turns.get(problem.turn):
                self._finish_and_release(
                    turn, Failed(code=problem.code, message=problem.message, hint=problem.hint)
                )
            return
        known = self._conversations.get(problem.conversation or "")
        if known is not None and problem.code == "conversation_lost":
            if not known.opened:
                return  # known already, and being opened again
            known.opened = known.asked = False
            known.seq = 0
            for turn in [self._turns[name] for name in known.turns]:
                if turn.epoch is not None:
                    self._finish(turn, Failed(code="turn_lost", message=_LOST[0], hint=_LOST[1]))
            if known.turns:
                self._catch_up(known)
            return
        if known is not None and problem.answers == Open.command:
            known.opened = known.asked = False
            for turn in [self._turns[name] for name in known.turns]:
                self._finish(turn, Failed(code=problem.code, message=problem.message, hint=problem.hint))
        self._notices.append(problem)

    def _on_reset(self, reset: Reset) -> None:
        for conversation in self._conversations.values():
            conversation.opened = conversation.asked = False
            conversation.seq = 0
        for turn in list(self._turns.values()):
            if turn.epoch is not None:
                self._finish(turn, Failed(code=reset.code, message=reset.message, hint=reset.hint))
        self._notices += self._pending.fail(reset.code, reset.message, reset.hint, sent=True)
        if self.state == "open":
            # Not greeted again at once: a parent restarts its worker only when there is something to do.
            self.state = "idle"
        self._notices.append(reset)

    def _give_up(self, now: float) -> None:
        """Fail what has waited long enough; go on greeting, so that a server that comes back is found."""
        assert self._silence is not None
        given_up = [
            turn
            for turn in self._turns.values()
            if now - max(turn.since, self._heard_at if turn.epoch else 0.0) > self._silence
        ]
        for turn in given_up:
            self._finish(
                turn, Failed(code="server_unreachable", message=_UNREACHABLE[0], hint=_UNREACHABLE[1])
            )
        message, hint = _UNREACHABLE
        self._notices += self._pending.fail("server_unreachable", message, hint, before=now - self._silence)
        if not self._gave_up:
            self._gave_up = True
            self._notices.append(
                Problem(code="server_unreachable", message=message, hint=hint, kind="bridge_error")
            )

    def _over(self, code: str, message: str, hint: str) -> None:
        self._fail_turns(code, message, hint)
        self.state = "over"
        self._notices.append(Goodbye(code=code, message=message, hint=hint))

    # Turns

    def _start(self, conversation: ConversationAsked, turn: TurnAsked) -> None:
        self._ask(conversation)
        if self.state == "open":
            turn.epoch = self.epoch
            self._outgoing.append(turn.payload)

    def _ask(self, conversation: ConversationAsked) -> None:
        if not conversation.opened and not conversation.asked and self.state == "open":
            conversation.asked = True
            self._send(conversation.command)

    def _on_turn_event(self, message: TurnEvent) -> None:
        conversation = self._conversations.get(message.conversation)
        if conversation is None or message.seq <= conversation.seq:
            return  # closed meanwhile, or heard before
        if (
            (message.first or message.seq) > conversation.seq + 1
            and self._silence is not None
            and self._gap_tries < GAP_TRIES
        ):
            self._gap = True  # something was lost on the way: `tick` asks for it again
            return
        self._gap_tries = 0
        conversation.seq = message.seq
        conversation.opened = True  # whether or not `opened` itself arrived
        turn = self._turns.get(message.turn)
        if turn is None:
            return  # given up before
        turn.accepted = True
        event = message.event
        if isinstance(event, End | Failed):
            if isinstance(event, End) and turn.cancelled:
                event = replace(event, actions=tuple(turn.given), retracted=turn.all_retracted(event))
            self._finish_and_release(turn, event, replace(message, event=event))
            return
        if isinstance(event, Action):
            (turn.retracted if turn.cancelled else turn.given).append(event.id)
        if not (turn.cancelled and isinstance(event, Action | ActionStarted)):
            self._notices.append(message)

    def _finish_and_release(
        self, turn: TurnAsked, last: End | Failed, message: TurnEvent | None = None
    ) -> None:
        self._finish(turn, last, message)
        conversation = self._conversations.get(turn.command.conversation)
        if conversation is None:
            return
        turns = [self._turns[name] for name in conversation.turns]
        if any(other.epoch is not None for other in turns):
            return  # the one before is still ending; they go on waiting for it
        for waiting in turns:
            self._start(conversation, waiting)

    def _finish(self, turn: TurnAsked, last: End | Failed, message: TurnEvent | None = None) -> None:
        place = turn.command
        del self._turns[place.turn]
        if conversation := self._conversations.get(place.conversation):
            conversation.turns.remove(place.turn)
        self._notices.append(
            message or TurnEvent(conversation=place.conversation, turn=place.turn, seq=0, event=last)
        )

    def _fail_turns(self, code: str, message: str, hint: str) -> None:
        for turn in list(self._turns.values()):
            self._finish(turn, Failed(code=code, message=message, hint=hint))
        self._notices += self._pending.fail(code, message, hint)

    def _send_cancel(self, turn: TurnAsked) -> None:
        place = turn.command
        self._send(Cancel(conversation=place.conversation, turn=place.turn, actions=tuple(turn.given)))

    def _send(self, command: Command) -> None:
        if self.state == "open":
            self._outgoing.append(encode(command))
