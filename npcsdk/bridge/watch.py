"""Which of many sockets have something to be done: one interface over the system's best way, and over ZeroMQ's."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import sys
from typing import Any, Protocol

import zmq

__all__ = ["READ", "WRITE", "Poller", "Waker", "Watch", "Watcher", "new_watcher"]

READ: int = int(zmq.POLLIN)
WRITE: int = int(zmq.POLLOUT)


class Watch(Protocol):
    """Where plain sockets, named by their number, come and go."""

    def register(self, socket: int, flags: int = ..., /) -> None:
        """Watch a socket, from now on for these flags."""
        ...

    def unregister(self, socket: int, /) -> None:
        """Watch it no more; KeyError when it was not watched."""
        ...


class Poller(Watch, Protocol):
    """A `Watch` that can be asked: a `Watcher`, or a `zmq.Poller`, which knows ZeroMQ's sockets, too."""

    def poll(self, timeout: int | None = None, /) -> list[tuple[Any, int]]:
        """The sockets that are ready, each with its flags; waits so many milliseconds, or for ever."""
        ...


class Watcher:
    """A `Poller` for plain sockets, wherever this runs."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, socket: int, flags: int = READ, /) -> None:
        events = (selectors.EVENT_READ if flags & READ else 0) | (
            selectors.EVENT_WRITE if flags & WRITE else 0
        )
        try:
            self._selector.register(socket, events)
        except KeyError:
            self._selector.modify(socket, events)

    def unregister(self, socket: int, /) -> None:
        self._selector.unregister(socket)

    def poll(self, timeout: int | None = None, /) -> list[tuple[int, int]]:
        ready = self._selector.select(None if timeout is None else timeout / 1000)
        return [(key.fd, READ * bool(events & 1) | WRITE * bool(events & 2)) for key, events in ready]

    def close(self) -> None:
        """Give it back; the sockets stay open."""
        self._selector.close()


if sys.platform == "linux":

    class EpollWatcher(Watcher):
        """The same over Linux' own way without a layer in between: every token waits in it."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._watched: set[int] = set()

        def register(self, socket: int, flags: int = READ, /) -> None:
            events = (select.EPOLLIN if flags & READ else 0) | (select.EPOLLOUT if flags & WRITE else 0)
            if socket in self._watched:
                self._epoll.modify(socket, events)
            else:
                self._epoll.register(socket, events)
                self._watched.add(socket)

        def unregister(self, socket: int, /) -> None:
            self._watched.remove(socket)
            with contextlib.suppress(OSError):  # closed before
                self._epoll.unregister(socket)

        def poll(self, timeout: int | None = None, /) -> list[tuple[int, int]]:
            ready = self._epoll.poll(None if timeout is None else timeout / 1000, len(self._watched) or 1)
            if len(ready) == 1 and ready[0][1] == READ:
                return ready
            # An error or an end shows to whoever reads or writes.
            return [
                (number, READ * bool(events & ~select.EPOLLOUT) | WRITE * bool(events & ~select.EPOLLIN))
                for number, events in ready
            ]

        def close(self) -> None:
            self._epoll.close()


def new_watcher() -> Watcher:
    """The best `Poller` for plain sockets that there is here."""
    return EpollWatcher() if sys.platform == "linux" else Watcher()


class Waker:
    """Wakes whoever polls, from another thread."""

    def __init__(self) -> None:
        self.socket, self._sender = socket.socketpair()
        self.socket.setblocking(False)
        self._sender.setblocking(False)

    def wake(self) -> None:
        # A full buffer means that it is being woken already; a closed one, that nobody waits.
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(4096)

    def close(self) -> None:
        self.socket.close()
        self._sender.close()
