"""Runs the game's functions when a character acts, and tells the server what became of it.

A handler that raises costs the action, not the turn: the character is told that it failed, and the log has the
traceback. One that never returns costs its action's time and a thread; the turn goes on without an answer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from npcsdk.errors import ActionError, NpcError
from npcsdk.events import Action, Refused

if TYPE_CHECKING:
    from npcsdk.actions.schema import ActionDefinition

__all__ = ["Actions", "Handler", "Handlers", "Veto", "Where", "collect"]

_log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[..., Any]
Actions: TypeAlias = "Iterable[Handler | ActionDefinition | Mapping[str, Any]] | Mapping[str, Handler]"
"""What a game can give as actions: functions; definitions without a handler (the game answers their events itself),
also as plain data, ours or in the form of OpenAI's tools; or handlers by name for actions that the world defines."""
Where: TypeAlias = Literal["thread", "caller"]
"""Where handlers run: in a helper thread, or in the thread that iterates over the turn."""

Veto: TypeAlias = Callable[[Action], "str | None"]
"""The game's last word on an action: a reason why it may not happen, or None."""

SendResult: TypeAlias = Callable[[str, str, Literal["done", "failed"], Any], None]

_DEFAULT_TIMEOUT = 10.0


@dataclass(slots=True)
class Collected:
    """The game's actions: definitions to register as plain data, and what to call."""

    definitions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    handlers: dict[str, Handler] = field(default_factory=dict[str, Handler])
    timeouts: dict[str, float] = field(default_factory=dict[str, float])


def collect(actions: Actions) -> Collected:
    """Sort what the game gave.

    Raises:
        ActionError: something that is neither a function nor a definition, or one that has no schema.
    """
    found = Collected()
    if isinstance(actions, Mapping):
        for name, function in cast("Mapping[str, Handler]", actions).items():
            found.handlers[name] = _named(name, function)
        return found
    for one in actions:
        from npcsdk.actions.schema import ActionDefinition, definition_of, handler_of

        if not isinstance(one, (ActionDefinition, Mapping)) and not callable(one):
            raise ActionError(
                f"{one!r} is neither a function nor an ActionDefinition.",
                hint="Give functions, definitions, OpenAI tools, or {name: function} for what the world defines.",
                code="bad_action",
            )
        definition = definition_of(cast("Handler | ActionDefinition", one))
        found.definitions.append(definition.to_dict())
        found.timeouts[definition.name] = definition.timeout
        if not isinstance(one, (ActionDefinition, Mapping)):
            found.handlers[definition.name] = handler_of(one)
    return found


def _named(name: str, function: Handler) -> Handler:
    """The handler of an action that the world defines."""
    from npcsdk.actions.schema import named_handler_of

    if not callable(function):
        raise ActionError(
            f"The handler of action {name!r} is {function!r}, which cannot be called.",
            hint="Give {name: function} for what the world defines; a list of definitions for what it does not.",
            code="bad_action",
        )
    try:
        return named_handler_of(function)
    except NameError as error:
        _log.warning(
            "The handler of action %r gets plain values, for its type hints are not here: %s", name, error
        )
        return function


class Handlers:
    """Calls the handlers of one client.

    Actions of one turn run one after the other, as the character said them; a handler that does not return holds
    up the next one for its own timeout at most.
    """

    def __init__(self, collected: Collected, where: Where, veto: Veto | None = None) -> None:
        self._veto = veto
        self._handlers = collected.handlers
        self._timeouts = collected.timeouts
        self.where = where
        self.send: SendResult | None = None  # set when there is a core
        self.loop: asyncio.AbstractEventLoop | None = None  # where coroutines run
        self._seen: deque[tuple[str, str]] = deque(maxlen=1024)
        self._last: tuple[str, threading.Event, float] | None = None

    def arrived(self, turn: str, action: Action) -> Refused | None:
        """An action has arrived, in the core's thread: run its handler in a helper thread, once.

        What the game forbids is told as the `Refused` that this returns.
        """
        if (refused := self._vetoed(turn, action)) is not None:
            return refused
        if self.where == "thread" and self._takes(turn, action):
            self._run_behind(turn, action)
        return None

    def _run_behind(self, turn: str, action: Action) -> None:
        """Run a handler in a thread, behind the turn's handler before it."""
        done = threading.Event()
        before = self._last if self._last and self._last[0] == turn else None
        self._last = (turn, done, self._timeouts.get(action.name, _DEFAULT_TIMEOUT))

        def work() -> None:
            if before is not None:
                before[1].wait(before[2])
            try:
                self._run(turn, action)
            finally:
                done.set()

        threading.Thread(target=work, name=f"npcsdk-action-{action.name}", daemon=True).start()

    def _vetoed(self, turn: str, action: Action) -> Refused | None:
        """What becomes of an action that the game forbids; the character is told why. None: it may happen.

        A hook that raises forbids: nothing happens that the game has not agreed to.
        """
        if self._veto is None:
            return None
        try:
            reason = cast(Any, self._veto(action))
        except Exception as error:
            _log.exception("The veto hook failed on action %r", action.name)
            reason = f"{type(error).__name__}: {error}"
        if reason is None:
            return None
        if not isinstance(reason, str):  # True could mean either: a mistake in the game, not to be guessed at
            _log.error("The veto hook answered %r for action %r, not a reason or None", reason, action.name)
            reason = "not allowed"
        if self.send is not None:
            self.send(turn, action.id, "failed", reason)
        return Refused(id=action.id, name=action.name, code="vetoed", message=reason, offset=action.offset)

    def in_caller(self, turn: str, action: Action) -> None:
        """Run the handler here, when handlers run in the thread that iterates."""
        if self.where == "caller" and self._takes(turn, action):
            self._run(turn, action)

    async def in_task(self, turn: str, action: Action) -> None:
        """As `in_caller`, in the task that iterates; a coroutine is awaited there."""
        if self.where != "caller" or not self._takes(turn, action):
            return
        try:
            value = self._handlers[action.name](**action.arguments)
            if inspect.isawaitable(value):
                value = await value
        except Exception as error:
            self._failed(turn, action, error)
        else:
            self._done(turn, action, value)

    def _takes(self, turn: str, action: Action) -> bool:
        if action.name not in self._handlers or (turn, action.id) in self._seen:
            return False
        self._seen.append((turn, action.id))
        return True

    def _run(self, turn: str, action: Action) -> None:
        try:
            value = self._handlers[action.name](**action.arguments)
            if inspect.iscoroutine(value):
                value = self._await(action, value)
        except Exception as error:
            self._failed(turn, action, error)
        else:
            self._done(turn, action, value)

    def _await(self, action: Action, coroutine: Any) -> Any:
        if self.loop is None:
            coroutine.close()
            raise ActionError(
                f"The handler of action {action.name!r} is a coroutine.",
                hint="Use AsyncWorld, or a plain function.",
                code="bad_handler",
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def _done(self, turn: str, action: Action, value: Any) -> None:
        if action.returns != "result" or self.send is None:
            return
        try:
            self.send(turn, action.id, "done", value)
        except NpcError as error:
            self._failed(turn, action, error)

    def _failed(self, turn: str, action: Action, error: Exception) -> None:
        _log.error("The handler of action %r failed", action.name, exc_info=error)
        if action.returns == "result" and self.send is not None:
            reason = error.message if isinstance(error, NpcError) else str(error)
            try:
                self.send(turn, action.id, "failed", reason or type(error).__name__)
            except NpcError:
                return  # the connection is gone, and the turn with it
