"""What conversations have to do, one thing after the other in each, side by side in the pool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from npcsdk.bridge.pool import UNDER_WAY, Pool
from npcsdk.bridge.sessions import ServiceConversation

__all__ = ["UNDER_WAY", "Jobs"]

_log = logging.getLogger(__name__)


class Jobs:
    """Holds everything back until `release`: until then there is no world to work on."""

    def __init__(self, threads: int) -> None:
        self._pool = Pool(threads, "npcsdk-turn")
        self._lock = threading.Lock()
        self._held: list[ServiceConversation] | None = []

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken yet."""
        return self._pool.waiting

    def enqueue(self, conversation: ServiceConversation, job: Callable[[], str | None]) -> None:
        """Run a job after the conversation's earlier ones."""
        with self._lock:
            conversation.jobs.append(job)
            if conversation.busy:
                return
            conversation.busy = True
            if self._held is not None:
                self._held.append(conversation)
                return
        self._submit(conversation)

    def behind(
        self, conversation: ServiceConversation, other: ServiceConversation, job: Callable[[], None]
    ) -> None:
        """Run a new conversation's first job after everything that another one has to do."""
        conversation.busy = True
        conversation.jobs.append(job)
        self.enqueue(other, lambda: self._submit(conversation))

    def apart(self, owner: str, job: Callable[[], None]) -> None:
        """Run something that belongs to no conversation; the world has to be there."""
        self._pool.submit(job, owner)

    def release(self) -> None:
        """The world is there: begin what waits for it."""
        with self._lock:
            held, self._held = self._held or [], None
        for conversation in held:
            self._submit(conversation)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.close()

    def _submit(self, conversation: ServiceConversation) -> None:
        self._pool.submit(lambda: self._work(conversation), conversation.session.client)

    def _work(self, conversation: ServiceConversation) -> str | None:
        with self._lock:
            if not conversation.jobs:
                conversation.busy = False
                return None
            job = conversation.jobs.popleft()
        return self._do(conversation, job)

    def _do(self, conversation: ServiceConversation, job: Callable[[], str | None]) -> str | None:
        try:
            if job() is UNDER_WAY:
                return UNDER_WAY
        except Exception:
            _log.exception("A conversation's work failed")
        self._next(conversation)
        return None

    def resume(self, conversation: ServiceConversation, job: Callable[[], str | None]) -> None:
        """The conversation's job, which had returned `UNDER_WAY`, needs a thread again."""
        self._pool.resume(lambda: self._do(conversation, job))

    def done(self, conversation: ServiceConversation) -> None:
        """The conversation's job, which had returned `UNDER_WAY`, is over: its next may begin."""
        self._pool.done()
        self._next(conversation)

    def _next(self, conversation: ServiceConversation) -> None:
        with self._lock:
            if not conversation.jobs:
                conversation.busy = False
                return
        self._submit(conversation)  # behind what others have waiting
