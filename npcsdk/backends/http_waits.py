"""Connections whose every wait can be ended: the transport of `npcsdk.backends.http_stream`. The owner of `httpcore`.

What is read is read by the thread that wants it, in short waits between which it asks whether anybody still cares. An
event loop in a thread beside it costs four switches and five times the work for each token.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from npcsdk.errors import BackendError

__all__ = ["GaveUp", "Transport"]

_SLICE_S = 0.02
_IDLE_S = 4.0  # Less than the five seconds after which many servers close an idle connection.
_IDLE = 20


class GaveUp(Exception):
    """A wait was ended because nobody cares any more."""


class _Patience(float):
    """Seconds to wait at most, unless ``gone()`` first. To all that hand it on it is a number."""

    gone: Callable[[], bool]

    def __new__(cls, seconds: float | None, gone: Callable[[], bool]) -> _Patience:
        patience = super().__new__(cls, float("inf") if seconds is None else seconds)
        patience.gone = gone
        return patience


class Transport(httpx.BaseTransport):
    """Requests to the server of ``url``, through the proxy that the environment names for it.

    A request's extension ``gone`` is a function that says whether nobody waits for the answer any more; then whatever
    the request waits for is left within a few hundredths of a second, with `GaveUp`.

    Args:
        trust_env: whether proxies and certificates that the environment names count.
    """

    def __init__(self, url: str, *, trust_env: bool) -> None:
        parts = urlsplit(url)
        proxy = _proxy_of(parts.scheme, parts.hostname or "") if trust_env else ""
        secure = "https" in (parts.scheme, urlsplit(proxy).scheme)  # A context takes 20 ms to make.
        context = httpx.create_ssl_context(trust_env=trust_env) if secure else None
        settings: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": None,
            "max_keepalive_connections": _IDLE,
            "keepalive_expiry": _IDLE_S,
            "network_backend": _Network(),
        }
        self._pool = _pool(proxy, settings)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        gone: Callable[[], bool] = request.extensions.get("gone", _never)
        waits = cast("Mapping[str, float | None]", request.extensions["timeout"])
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("httpx.SyncByteStream", request.stream),
            extensions={"timeout": {name: _Patience(wait, gone) for name, wait in waits.items()}},
        )
        try:
            answer = self._pool.handle_request(asked)
        except _ERRORS as error:
            raise _as_httpx(error) from error
        stream = _Body(cast("Iterable[bytes]", answer.stream))
        return httpx.Response(answer.status, headers=answer.headers, stream=stream)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._parts
        except _ERRORS as error:
            raise _as_httpx(error) from error

    def close(self) -> None:
        cast("Any", self._parts).close()


class _Network(httpcore.NetworkBackend):
    """TCP connections. To look a name up and to connect cannot be interrupted, so it is done aside."""

    def __init__(self) -> None:
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        def work() -> httpcore.NetworkStream:
            return self._sockets.connect_tcp(host, port, _seconds(timeout), local_address, socket_options)

        return _Stream(_aside(work, timeout))


class _Stream(httpcore.NetworkStream):
    """One connection. Its socket is not closed under a thread that reads from it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._lock = threading.Lock()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        until = 0.0
        while True:
            _look(timeout)
            with self._lock:
                try:
                    return self._inner.read(max_bytes, _SLICE_S)
                except httpcore.ReadTimeout:
                    pass
            now = time.monotonic()
            until = until or now - _SLICE_S + (float("inf") if timeout is None else timeout)
            if now >= until:
                raise httpcore.ReadTimeout(f"nothing came for {timeout:g} seconds")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _seconds(timeout))

    def close(self) -> None:
        with self._lock:
            self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        def work() -> httpcore.NetworkStream:
            return self._inner.start_tls(ssl_context, server_hostname, _seconds(timeout))

        return _Stream(_aside(work, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _aside(work: Callable[[], httpcore.NetworkStream], timeout: float | None) -> httpcore.NetworkStream:
    """A connection that ``work`` makes in a thread of its own; it is closed if it comes when nobody waits."""
    made: Future[httpcore.NetworkStream] = Future()

    def run() -> None:
        try:
            stream = work()
        except BaseException as error:
            if made.set_running_or_notify_cancel():
                made.set_exception(error)
            return
        if made.set_running_or_notify_cancel():
            made.set_result(stream)
        else:
            stream.close()

    threading.Thread(target=run, name="npcsdk-connect", daemon=True).start()
    while not wait((made,), _SLICE_S).done:
        try:
            _look(timeout)
        except GaveUp:
            if not made.cancel():
                made.add_done_callback(_close_made)
            raise
    return made.result()


def _close_made(made: Future[httpcore.NetworkStream]) -> None:
    if made.exception() is None:
        made.result().close()


def _look(timeout: float | None) -> None:
    if isinstance(timeout, _Patience) and timeout.gone():
        raise GaveUp


def _seconds(timeout: float | None) -> float | None:
    """As a socket takes it."""
    return None if timeout is None or timeout == float("inf") else float(timeout)


def _never() -> bool:
    return False


def _proxy_of(scheme: str, host: str) -> str:
    """The proxy's address, or ""."""
    named = getproxies()
    proxy = named.get(scheme) or named.get("all") or ""
    if not proxy or proxy_bypass(host):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _pool(proxy: str, settings: dict[str, Any]) -> httpcore.ConnectionPool:
    if not proxy:
        return httpcore.ConnectionPool(**settings)
    parts = urlsplit(proxy)
    user = (unquote(parts.username or ""), unquote(parts.password or "")) if parts.username else None
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not parts.scheme.startswith("socks"):
        return httpcore.HTTPProxy(address, proxy_auth=user, **settings)
    try:
        return httpcore.SOCKSProxy(address, proxy_auth=user, **settings)
    except RuntimeError as error:
        raise BackendError(
            f"The environment names a SOCKS proxy, {address}: the package for it is not installed.",
            code="proxy_unusable",
            hint='pip install "httpx[socks]", or except the server in NO_PROXY.',
        ) from error


_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


def _as_httpx(error: Exception) -> httpx.HTTPError:
    """httpx calls its errors as httpcore does."""
    return getattr(httpx, type(error).__name__, httpx.TransportError)(str(error))
