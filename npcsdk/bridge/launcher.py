"""Starts, watches and ends the worker: the child process that owns world, memory and model.

The parent binds a ROUTER on a free port of 127.0.0.1; the child connects two DEALERs and proves with a token from
its environment that it is the child. Messages travel as two frames, [route, payload]; an empty route is the
worker's own word to its parent. A worker ends when its standard input does, so it cannot outlive its parent.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

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
_LAST_WORDS_MS = 20
_FROZEN_AFTER = 60.0  # seconds: a runtime may hold the interpreter's lock for a long prompt
_FROZEN_GRACE = 5.0  # seconds to prove it wrong: perhaps the whole machine was asleep
_HWM = 100_000  # messages; the turn that fills it waits


class Launcher:
    """One worker process and the socket to it. Used by one thread, but for `stop`.

    Args:
        config: handed to the child as JSON.
        context: the ZeroMQ context of the thread that polls `socket`.
        on_exit: called from another thread when a worker process has ended.
        frozen_after: seconds without a sign of life after which a worker that was ready is killed.
    """

    def __init__(
        self,
        config: WorkerConfig,
        context: zmq.Context[Any],
        on_exit: Callable[[], None],
        *,
        frozen_after: float = _FROZEN_AFTER,
    ) -> None:
        self._config = dict(config)
        self._on_exit = on_exit
        self._frozen_after = frozen_after
        self._alive_at: float | None = None  # the last sign of life, once there was one
        self._frozen_at: float | None = None  # when it was first missed
        self._token = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._down: bytes | None = None  # the identity of the child's receiving socket
        self._up: bytes | None = None
        self._waiting: list[tuple[bytes, bytes]] = []
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, _HWM)
        self.socket.setsockopt(zmq.RCVHWM, _HWM)
        try:
            port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        except zmq.ZMQError as error:
            self.socket.close()
            raise BridgeError(
                f"No local port can be opened for the worker: {error}.",
                hint="Check that this machine's firewall allows connections to 127.0.0.1.",
                code="no_port",
            ) from error
        self._endpoint = f"tcp://127.0.0.1:{port}"

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
        self._token = secrets.token_hex(16)
        self._down = self._up = self._alive_at = self._frozen_at = None
        self._waiting.clear()
        given = {**self._config, "endpoint": self._endpoint, "token": self._token}
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
        """Hand a message to the worker, or keep it until the worker has connected."""
        if self._down is None:
            self._waiting.append((route, payload))
        else:
            self.socket.send_multipart((self._down, route, payload))

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next message of the worker's, or None when there is none now."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            if frames[0] == self._up and len(frames) == 3:
                if frames[2] != ALIVE or frames[1]:
                    return frames[1], frames[2]
                self._alive_at, self._frozen_at = time.monotonic(), None
                continue
            if len(frames) == 3 and secrets.compare_digest(frames[2], self._token.encode()):
                self._greet(frames[0], frames[1])
            # Anything else comes from a process that is not ours.

    def last_words(self) -> list[tuple[bytes, bytes]]:
        """What a worker that has ended had still sent: some of it may be on its way through the system."""
        messages: list[tuple[bytes, bytes]] = []
        while self.socket.poll(_LAST_WORDS_MS):
            if message := self.receive():
                messages.append(message)
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

    def close(self) -> None:
        """End the worker and close the socket."""
        self.stop()
        self._process = None
        self.socket.close()

    def _greet(self, identity: bytes, direction: bytes) -> None:
        if direction == b"up":
            self._up = identity
        elif direction == b"down":
            self._down = identity
            waiting, self._waiting = self._waiting, []
            for route, payload in waiting:
                self.send(route, payload)

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
