"""Starts, watches and ends the worker: the child process that owns world, memory and model.

The parent listens on a free port of 127.0.0.1; the child connects and proves with a token from its environment that
it is the child (`npcsdk.bridge.pipe`). An empty route is the worker's own word to its parent. A worker ends when its
standard input does, so it cannot outlive its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from npcsdk.bridge.pipe import Port
from npcsdk.bridge.watch import Watch
from npcsdk.errors import BridgeError

__all__ = ["ALIVE", "CONFIG_VARIABLE", "DRAIN", "DRAINED", "OVER", "STATS", "Launcher", "WorkerConfig"]

CONFIG_VARIABLE = "NPCSDK_WORKER"
DRAIN = b"drain"
"""What a parent says to its worker (empty route): begin no more turns."""
DRAINED = b"drained"
"""The worker's answer when the last turn has ended."""
ALIVE = b"alive"
"""What a worker says every second once its world is loaded."""

OVER = b"over:"
"""Begins what a worker says when a turn has ended; the digest of its line follows."""
STATS = b"stats:"
"""Begins what a worker says of itself every second; a `Done` message with the numbers follows."""

WorkerConfig = Mapping[str, Any]
"""What to load: ``folder``, ``model``, ``memory`` (None or text), ``options``; and ``opener`` ("module:function")."""

_KILL_AFTER = 3.0  # seconds for a worker to end by itself
_LAST_WORDS = 0.02  # seconds without a further one
_FROZEN_AFTER = 60.0  # seconds: a runtime may hold the interpreter's lock for a long prompt
_FROZEN_GRACE = 5.0  # seconds to prove it wrong: perhaps the whole machine was asleep


class Launcher:
    """One worker process and the way to it. Used by one thread, but for `stop`.

    Args:
        config: handed to the child as JSON.
        poller: when it says that something is there, `receive` has it.
        on_exit: called from another thread when a worker process has ended.
        frozen_after: seconds without a sign of life after which a worker that was ready is killed.
    """

    def __init__(
        self,
        config: WorkerConfig,
        poller: Watch,
        on_exit: Callable[[], None],
        *,
        frozen_after: float = _FROZEN_AFTER,
    ) -> None:
        self._config = dict(config)
        self._on_exit = on_exit
        self._frozen_after = frozen_after
        self._alive_at: float | None = None  # the last sign of life, once there was one
        self._frozen_at: float | None = None  # when it was first missed
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[Any, Any] | None = None
        self._port = Port(poller)

    @property
    def running(self) -> bool:
        """Whether a worker was started and has not been seen to end."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start a worker, unless one runs.

        Raises:
            BridgeError: the operating system did not start it (code ``worker_not_started``).
        """
        if self._process is not None:
            return
        self._alive_at = self._frozen_at = None
        given = {**self._config, "port": self._port.number, "token": self._port.expect()}
        environment = {**os.environ, CONFIG_VARIABLE: json.dumps(given), "PYTHONUNBUFFERED": "1"}
        # -P: a game's own random.py must not become the child's `random`. Hence the path to this package.
        root = str(Path(__file__).resolve().parents[2])
        code = f"import sys; sys.path.append({root!r}); from npcsdk.bridge.worker import main; main()"
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=environment,
                creationflags=flags,
                start_new_session=True,  # a terminal's Ctrl-C is for the game, not for its worker
            )
        except OSError as error:
            raise BridgeError(
                f"The worker process cannot be started: {error}.",
                hint=f"It runs {sys.executable!r}; with inline=True no process is needed.",
                code="worker_not_started",
            ) from error
        self._process = process
        # Runs when this object is dropped, and at the interpreter's exit if nobody closed it.
        self._end = weakref.finalize(self, _end_process, process, os.getpid())
        threading.Thread(
            target=_watch, args=(process, weakref.WeakMethod(self._exited)), name="npcsdk-watch", daemon=True
        ).start()

    def send(self, route: bytes, payload: bytes) -> None:
        """Hand a message to the worker, or keep it until the worker takes it."""
        if not self._port.send(route, payload) and self._process is not None:
            self._process.kill()  # it has not read for very long

    def has_news(self, ready: Container[int]) -> bool:
        """Whether one of the sockets that are ready is the worker's."""
        return self._port.has_news(ready)

    def receive(self) -> list[tuple[bytes, bytes]]:
        """The worker's messages that are there now."""
        return self._heard(self._port.take())

    def last_words(self) -> list[tuple[bytes, bytes]]:
        """What a worker that has ended had still sent: some of it may be on its way through the system."""
        return self._heard(self._port.drain(_LAST_WORDS))

    def _heard(self, messages: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        if (b"", ALIVE) in messages:
            self._alive_at, self._frozen_at = time.monotonic(), None
            return [message for message in messages if message != (b"", ALIVE)]
        return messages

    def exited(self) -> int | None:
        """The exit status of a worker that has ended since the last call, else None."""
        if self._process is None:
            return None
        status = self._process.poll()
        if status is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
            if self._end is not None:
                self._end.detach()
        return status

    def end_if_frozen(self, now: float) -> None:
        """Kill a worker that has given no sign of life for too long; `exited` tells of its end as of any other."""
        if self._process is None or self._alive_at is None or now - self._alive_at < self._frozen_after:
            return
        if self._frozen_at is None:
            self._frozen_at = now
        elif now - self._frozen_at > min(_FROZEN_GRACE, self._frozen_after):
            self._alive_at = None
            self._process.kill()

    def stop(self) -> None:
        """End the worker: ask, wait a little, kill. Any thread, more than once."""
        if self._end is not None:
            self._end()

    def ask_to_end(self) -> None:
        """Ask the worker to end, without waiting for it; `close` does."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def close(self) -> None:
        """End the worker and close the way to it."""
        self.stop()
        self._process = None
        self._port.close()

    def _exited(self) -> None:
        self._on_exit()


def _watch(process: subprocess.Popen[bytes], exited: weakref.WeakMethod[Callable[[], None]]) -> None:
    process.wait()
    call = exited()
    if call is not None:
        call()


def _end_process(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner or process.poll() is not None:
        return  # a fork of the game ends; the worker is not its own
    try:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(_KILL_AFTER)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    except OSError:
        process.kill()
