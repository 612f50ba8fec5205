"""Requests to one server, streamed, repeated while that is safe, and cancelled at once. The owner of `httpx`.

All run on one event loop in a thread of its own: a cancel ends a wait wherever it is and closes the connection, by
which a server knows that nobody listens.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from npcsdk.backends.server_chat import EventLines
from npcsdk.errors import BackendError, NpcError

__all__ = ["HttpStreams", "endpoint"]

_Value = TypeVar("_Value")
_ATTEMPTS = 4
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECT_S = 5.0
_ASK_S = 5.0
_ERROR_BYTES = 16 << 10
_END = b"[DONE]"


def endpoint(url: str, path: str) -> str:
    """A path of the same server that is not below ``/v1``."""
    return url.rstrip("/").removesuffix("/v1") + path


class HttpStreams:
    """A server at ``url``, the address that ends in ``/v1``.

    Args:
        key: a bearer token, or "".
        timeout_s: how long to wait for the next bytes.
    """

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        host = urlsplit(url).hostname or ""
        self._where = urlsplit(url).netloc.rpartition("@")[2]
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S, pool=None),
            trust_env=host not in ("localhost", "127.0.0.1", "::1"),  # A proxy does not reach this machine.
        )
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def post(
        self,
        path: str,
        body: bytes,
        put: Callable[[bytes | NpcError | None], None],
        instead: Callable[[str], bytes | None] = lambda _: None,
    ) -> Future[None]:
        """Post ``body`` and ``put`` every event's data, then None or the error that ended it.

        Args:
            instead: is asked, when the server refuses the request and says why, for another body to try.

        Returns:
            The running request; cancel it to close the connection.
        """

        async def work() -> None:
            try:
                await self._stream(path, body, put, instead)
                put(None)
            except NpcError as error:
                put(error)
            except asyncio.CancelledError:
                put(_closed())  # Nobody reads it unless it was `close` that ended the request.
                raise
            except Exception as error:  # Whoever waits must not wait for ever.
                put(self._failed(error, begun=True))

        return self._start(work())

    def ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object from the server, once, with little patience.

        Raises:
            BackendError: as `post` puts them, or ``reply_malformed``.
        """

        async def work() -> bytes:
            try:
                response = await self._client.request(method, url, json=body, timeout=_ASK_S)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._failed(error) from error
            if response.status_code != 200:
                raise self._refused(response.status_code, response.text)
            return response.content

        data = self._start(work()).result()
        try:
            value: Any = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise BackendError(
                f"{url} answers, but not as a server with OpenAI's interface: {data[:80]!r}.",
                code="reply_malformed",
                hint="Name the address that ends in /v1.",
            )
        return cast("dict[str, Any]", value)

    def close(self) -> None:
        """End all requests. Idempotent."""
        with self._lock:
            thread, self._thread = self._thread, None
            closed, self._closed = self._closed, True
        if closed:
            return
        if thread is not None:
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop)
            thread.join()
        self._loop.close()

    def _start(self, work: Coroutine[Any, Any, _Value]) -> Future[_Value]:
        with self._lock:
            if self._closed:
                work.close()
                raise _closed()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="npcsdk-http", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _shut(self) -> None:
        others = asyncio.all_tasks(self._loop) - {asyncio.current_task(self._loop)}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.aclose()
        self._loop.stop()

    async def _stream(
        self,
        path: str,
        body: bytes,
        put: Callable[[bytes | NpcError | None], None],
        instead: Callable[[str], bytes | None],
    ) -> None:
        for attempt in range(_ATTEMPTS):
            begun = False
            wait = ""
            try:
                async with self._client.stream(
                    "POST", f"{self.url}/{path}", content=body, headers={"Content-Type": "application/json"}
                ) as response:
                    if response.status_code == 200:
                        begun, empty = True, True
                        async for event in _events(response):
                            empty = False
                            put(event)
                            if event == _END:
                                return
                        if empty:  # as llama-cpp-python's server does with a prompt beyond its window
                            raise httpx.RemoteProtocolError("it accepted the request and said nothing")
                        return
                    refusal = await _limited(response)
                    other = instead(refusal) if 400 <= response.status_code < 600 else None
                    if other is not None:
                        body = other
                        continue
                    failure = self._refused(response.status_code, refusal)
                    if response.status_code not in _AGAIN:
                        raise failure
                    wait = response.headers.get("Retry-After", "")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = self._failed(error, begun=begun)
                if begun or isinstance(
                    error, httpx.ReadTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol
                ):
                    raise failure from error
            if attempt == _ATTEMPTS - 1:
                raise failure
            pause = float(wait) if wait.isdecimal() else _PAUSE_S * 2**attempt
            await asyncio.sleep(min(pause, _LONGEST_PAUSE_S))

    def _failed(self, error: Exception, *, begun: bool = False) -> BackendError:
        what = str(error) or type(error).__name__
        if isinstance(error, httpx.ReadTimeout):
            return BackendError(
                f"The server at {self._where} says nothing any more.",
                code="server_timeout",
                hint="It may be computing a long prompt: raise the option timeout_s. See the server's log.",
            )
        if begun:
            return BackendError(
                f"The server at {self._where} broke off in the middle of a reply: {what}",
                code="server_stopped",
                hint="The turn is lost; see whether the server is still running.",
            )
        return BackendError(
            f"The server at {self._where} cannot be reached: {what}",
            code="server_unreachable",
            hint="Start it, or check host and port. The address usually ends in /v1.",
        )

    def _refused(self, status: int, text: str) -> BackendError:
        said = _message(text)
        if status in (401, 403):
            return BackendError(
                f"The server at {self._where} does not accept the key ({status}): {said}",
                code="bad_key",
                hint="Set NPCSDK_API_KEY, or the option api_key.",
            )
        if status == 404:
            return BackendError(
                f"The server at {self._where} does not have that: {said}",
                code="not_served",
                hint="The address usually ends in /v1; name a model that the server has: URL#MODEL.",
            )
        if status == 429:
            return BackendError(
                f"The server at {self._where} has too much to do: {said}",
                code="server_busy",
                hint="Try again later, or run fewer characters at once.",
            )
        if status >= 500:
            return BackendError(
                f"The server at {self._where} failed ({status}): {said}",
                code="server_error",
                hint="See the server's log.",
            )
        long = any(
            word in said.lower() for word in ("context length", "context size", "n_ctx", "too many tokens")
        )
        return BackendError(
            f"The server at {self._where} refused the request ({status}): {said}",
            code="prompt_too_long" if long else "request_refused",
            hint="Set the option context_length to the window that the server has." if long else "",
        )


def _closed() -> BackendError:
    return BackendError("The model was closed.", code="backend_closed", hint="Load it again.")


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of the events, or the whole body where the server does not stream."""
    if "json" in response.headers.get("Content-Type", ""):
        yield await response.aread()
        yield _END
        return
    lines = EventLines()
    async for chunk in response.aiter_bytes():
        for event in lines.feed(chunk):
            yield event
    for event in lines.finish():
        yield event


async def _limited(response: httpx.Response) -> str:
    data = b""
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > _ERROR_BYTES:
            break
    return data.decode("utf-8", "replace")


def _message(text: str) -> str:
    """What an error's body says, in one line."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text
    for _ in range(3):
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            value = fields.get("error", fields.get("message", fields.get("detail", "")))
    return " ".join(str(value).split())[:300] or "it does not say why"
