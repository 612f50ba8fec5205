"""The worker: the child process that owns world, memory and model, and answers its parent only.

Started by `npcsdk.bridge.launcher`, which gives it its configuration in an environment variable. It prints nothing
on standard output, and ends when its standard input does: its parent is gone then, however it ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from npcsdk.bridge.launcher import ALIVE, CONFIG_VARIABLE, DRAIN, DRAINED, OVER, STATS
from npcsdk.bridge.pipe import Pipe
from npcsdk.bridge.section import Section
from npcsdk.bridge.service import Service
from npcsdk.bridge.sessions import ServiceLimits, WorldLike
from npcsdk.bridge.suspects import digest
from npcsdk.errors import NpcError, ProtocolError
from npcsdk.wire.codec import decode_command, encode
from npcsdk.wire.faults import fault_of
from npcsdk.wire.messages import Done, Goodbye, Loading

__all__ = ["DEFAULT_OPENER", "load_world", "main"]

_log = logging.getLogger(__name__)

DEFAULT_OPENER = "npcsdk.dialogue.world:open_world"
_TICK = 1.0  # seconds
_CLOSE_WITHIN = 2.0  # seconds; the launcher kills a little later


def load_world(service: Service, config: Mapping[str, Any]) -> WorldLike | None:
    """Load what the configuration names and attach it to the service; an error goes to its clients."""
    service.loading("world")
    try:
        module, _, name = str(config.get("opener") or DEFAULT_OPENER).partition(":")
        opener: Callable[..., WorldLike] = getattr(importlib.import_module(module), name)
        folder, memory = config.get("folder"), config.get("memory")
        world = opener(
            Path(folder) if folder is not None else None,
            model=config.get("model"),
            memory=memory,
            options=config.get("options") or {},
        )
        if config.get("prefix") or config.get("npcs") is not None:
            world = Section(world, config.get("prefix") or "", config.get("npcs"))
    except Exception as error:
        if not isinstance(error, NpcError):
            _log.exception("The world cannot be loaded")
        service.fail(error)
        return None
    service.attach(world)
    return world


class _Tee(Service):
    """A service that tells its parent, too, how the loading goes."""

    def __init__(self, pipe: Pipe, limits: ServiceLimits, *, announces: bool) -> None:
        super().__init__(
            pipe.send,
            limits=limits,
            drained=lambda: pipe.send(b"", DRAINED),
            over=lambda command: pipe.send(b"", OVER + digest(command)),
            together=pipe.together,
            announces=announces,
        )
        self._pipe = pipe

    def loading(self, stage: str, progress: float | None = None) -> None:
        super().loading(stage, progress)
        self._pipe.send(b"", encode(Loading(stage=stage, progress=progress)))

    def attach(self, world: WorldLike) -> None:
        gc.freeze()  # what is there now stays: no need to look through it for garbage in the middle of a sentence
        self._pipe.send(b"", ALIVE)  # before the first turn: it may hang in that one
        super().attach(world)
        self._pipe.send(b"", encode(self.ready()))
        self.tell_alive()

    def tell_alive(self) -> None:
        """A sign of life, once the world is there: while it loads, a runtime may hold everything up."""
        if self.loaded:
            self._pipe.send(b"", ALIVE)
            value = {**self.stats.as_data(), "waiting": self.waiting, "conversations": self.conversations}
            self._pipe.send(b"", STATS + encode(Done(request="stats", answers="metrics", value=value)))

    def fail(self, error: BaseException) -> None:
        super().fail(error)
        self._pipe.send(b"", encode(Goodbye(**fault_of(error))))


def main() -> None:
    """Run until the parent is gone."""
    config: dict[str, Any] = json.loads(os.environ.pop(CONFIG_VARIABLE))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.extend(config.get("path") or ())
    sys.stdout = sys.stderr  # a library's print is a message for people, never data
    pipe = Pipe(int(config["port"]), str(config["token"]))
    limits = ServiceLimits(**cast("dict[str, Any]", config.get("limits") or {}))
    service = _Tee(pipe, limits, announces=config.get("announces", True))
    over = threading.Event()
    threading.Thread(target=_serve, args=(pipe, service, over), name="npcsdk-io", daemon=True).start()
    threading.Thread(target=_watch_parent, args=(over,), name="npcsdk-parent", daemon=True).start()
    threading.Thread(target=_end, args=(service, over), name="npcsdk-end", daemon=True).start()
    load_world(service, config)
    threading.Event().wait()  # the last word is `_end`'s, even when the loading never returns


def _end(service: Service, over: threading.Event) -> None:
    over.wait()
    # Turns and native runtimes may be in the middle of something; what matters is on disk already.
    closing = threading.Thread(target=service.close, daemon=True)
    closing.start()
    closing.join(_CLOSE_WITHIN)
    os._exit(0)


def _serve(pipe: Pipe, service: _Tee, over: threading.Event) -> None:
    parent = os.getppid()
    try:
        tick_at = 0.0
        while not over.is_set():
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + _TICK
                service.tick(now)
                service.tell_alive()
                if os.getppid() != parent:
                    return  # standard input may have been inherited by somebody else, and stay open
            messages = pipe.receive(_TICK)
            if messages is None:
                return
            for route, payload in messages:
                _dispatch(service, route, payload)
    finally:
        over.set()


def _dispatch(service: Service, route: bytes, payload: bytes) -> None:
    try:
        if not route:
            if payload == DRAIN:
                service.drain()
        elif not payload:
            service.vanished(route, time.monotonic())
        else:
            service.receive(route, decode_command(payload))
    except ProtocolError:
        _log.warning("The parent let a bad message through")
    except Exception:
        _log.exception("A command failed")


def _watch_parent(over: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.buffer.read(4096):
            pass
    over.set()


if __name__ == "__main__":
    main()
