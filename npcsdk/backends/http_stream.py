"""Requests to one server, streamed, repeated while that is safe, and cancelled at once. The owner of `httpx`.

The thread that wants an answer reads it itself (`npcsdk.backends.http_waits`). When nobody wants it any more, the wait
ends wherever it is and the connection is closed, by which a server knows that nobody listens.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import httpx

from npcsdk.backends.http_waits import GaveUp, Transport
from npcsdk.backends.server_chat import EventLines
from npcsdk.errors import BackendError, NpcError

__all__ = ["END", "HttpStreams", "endpoint", "parts_of"]

_ATTEMPTS = 4
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECT_S = 5.0
_ASK_S = 5.0
_LOOK_S = 0.02
_HUNG_UP = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""It may be that a connection from before was closed while it was taken for the next request."""
_ERROR_BYTES = 16 << 10
END = b"[DONE]"


def endpoint(url: str, path: str) -> str:
    """A path of the same server that is not below ``/v1``."""
    return url.rstrip("/").removesuffix("/v1") + path


def parts_of(url: str) -> SplitResult:
    """The address, taken apart.

    Raises:
        BackendError: ``server_unreachable``: it is none.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError as error:
        raise BackendError(
            f"{url} is no address of a server: {error}.",
            code="server_unreachable",
            hint="An address looks like http://HOST:PORT/v1.",
        ) from error
    return parts


class HttpStreams:
    """A server at ``url``, the address that ends in ``/v1``.

    Args:
        key: a bearer token, or "".
        timeout_s: how long to wait for the next bytes.

    Raises:
        BackendError: ``server_unreachable`` or ``bad_key``: the address or the key cannot be one.
    """

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        parts = parts_of(url)
        host = parts.hostname or ""
        self._where = parts.netloc.rpartition("@")[2]
        if not (key.isascii() and key.isprintable()):
            raise BackendError(
                f"The key for the server at {self._where} has characters that no key has.",
                code="bad_key",
                hint="Set NPCSDK_API_KEY, or the option api_key, to the key alone.",
            )
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S, pool=None),
            transport=Transport(
                url,
                trust_env=host
                not in ("localhost", "127.0.0.1", "::1"),  # A proxy does not reach this machine.
            ),
            trust_env=False,  # That is the transport's.
        )
        self._closed = threading.Event()

    def post(
        self,
        path: str,
        body: bytes,
        gone: Callable[[], bool],
        instead: Callable[[str], bytes | None] = lambda _: None,
    ) -> Generator[bytes, None, None]:
        """Post ``body``; every event's data, as it comes. Close it early to close the connection.

        Args:
            gone: says whether nobody waits any more; then the events end.
            instead: is asked for another body to try, with what the server says when it refuses the request, or with ""
                when it accepts and says nothing.

        Raises:
            BackendError: ``server_unreachable``, ``server_timeout``, ``server_stopped``, ``bad_key``, ...; or
                ``backend_closed``.
        """
        if self._closed.is_set():
            raise _closed()
        try:
            yield from self._stream(path, body, lambda: self._closed.is_set() or gone(), instead)
        except (GaveUp, RuntimeError, OSError) as error:  # as in `ask`
            if self._closed.is_set():
                raise _closed() from error
            if not isinstance(error, GaveUp):
                raise self._failed(error, begun=True) from error

    def ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A JSON object from the server, with little patience.

        Raises:
            BackendError: as `post` does, or ``reply_malformed``.
        """
        if self._closed.is_set():
            raise _closed()
        extensions = {"gone": self._closed.is_set}
        ask = partial(self._client.request, method, url, json=body, timeout=_ASK_S, extensions=extensions)
        try:
            try:
                response = ask()
            except _HUNG_UP:
                response = ask()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._failed(error) from error
        except (
            GaveUp,
            RuntimeError,
            OSError,
        ) as error:  # httpx says RuntimeError to what comes after its end.
            raise _closed() if self._closed.is_set() else self._failed(error) from error
        if response.status_code != 200:
            raise self._refused(response.status_code, response.text)
        data = response.content
        try:
            value: Any = json.loads(data)
        except (ValueError, RecursionError):
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
        self._closed.set()
        self._client.close()

    def _stream(
        self, path: str, body: bytes, gone: Callable[[], bool], instead: Callable[[str], bytes | None]
    ) -> Iterator[bytes]:
        until = float("inf")
        extensions = {"gone": lambda: gone() or time.monotonic() > until}
        for attempt in range(_ATTEMPTS):
            accepted = heard = hung_up = False
            wait = ""
            try:
                with self._client.stream(
                    "POST",
                    f"{self.url}/{path}",
                    content=body,
                    headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                    extensions=extensions,
                ) as response:
                    if response.status_code == 200:
                        accepted = True
                        events = _events(response)
                        for event in events:
                            heard = True
                            if event == END:
                                until = time.monotonic() + _LOOK_S
                                _drained(events)  # so that the next request can have the connection
                                yield event
                                return
                            yield event
                        if heard:
                            return
                        other = instead("")
                        if other is None:  # as llama-cpp-python's server does with a prompt beyond its window
                            silence = httpx.RemoteProtocolError("it accepted the request and said nothing")
                            raise self._failed(silence, begun=True)
                        body = other
                        continue
                    refusal = _limited(response)
                    other = instead(refusal) if 400 <= response.status_code < 600 else None
                    if other is not None:
                        body = other
                        continue
                    failure = self._refused(response.status_code, refusal)
                    if response.status_code not in _AGAIN:
                        raise failure
                    wait = response.headers.get("Retry-After", "")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = self._failed(error, begun=accepted)
                if heard or isinstance(
                    error, httpx.ReadTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol
                ):
                    raise failure from error
                hung_up = attempt == 0 and isinstance(error, _HUNG_UP)
            if attempt == _ATTEMPTS - 1:
                raise failure
            pause = float(wait) if wait.isdecimal() else 0.0 if hung_up else _PAUSE_S * 2**attempt
            self._rest(min(pause, _LONGEST_PAUSE_S), gone)

    def _rest(self, seconds: float, gone: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if gone():
                raise GaveUp
            self._closed.wait(min(left, _LOOK_S))

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


def _events(response: httpx.Response) -> Iterator[bytes]:
    """The data of the events, or the whole body where the server does not stream."""
    if "json" in response.headers.get("Content-Type", ""):
        yield response.read()
        yield END
        return
    lines = EventLines()
    packed = "Content-Encoding" in response.headers  # though it was asked not to
    for chunk in response.iter_bytes() if packed else response.iter_raw():
        yield from lines.feed(chunk)
    yield from lines.finish()


def _drained(events: Iterator[bytes]) -> None:
    try:
        for _ in events:
            pass
    except (GaveUp, httpx.HTTPError, NpcError):
        pass


def _limited(response: httpx.Response) -> str:
    data = b""
    for chunk in response.iter_bytes():
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
