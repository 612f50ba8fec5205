"""A server's numbers for operators: as Prometheus reads them, over HTTP in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from npcsdk.bridge.stats import BUCKETS_MS
from npcsdk.errors import BridgeError

__all__ = ["MetricsServer", "prometheus"]

_GAUGES = {
    "up_s": ("up_seconds", "Seconds since the bridge began."),
    "ready": ("ready", "Whether the world is loaded."),
    "clients": ("clients", "Clients that are connected."),
    "slow_clients": ("slow_clients", "Clients that do not read as fast as they are written to."),
    "backlog_bytes": ("backlog_bytes", "What waits for slow clients."),
}
_TIMES = {
    "first_token_ms": ("first_token_seconds", "From a turn's line to its first token."),
    "recall_ms": ("recall_seconds", "What recall took of a turn."),
    "queue_ms": ("queue_seconds", "What a turn waited before it began."),
    "turn_ms": ("turn_seconds", "Whole turns."),
}


_COUNTS = {
    "turns": ("turns_total", "Turns begun.", "counter"),
    "busy": ("busy_total", "Turns refused because of load.", "counter"),
    "waiting": ("queue", "Turns that wait for a thread.", "gauge"),
    "conversations": ("conversations", "Conversations open.", "gauge"),
}
_KINDS = {
    "ended": ("turns_ended_total", "Turns by how they ended.", "reason"),
    "actions": ("actions_total", "Actions by what became of them.", "outcome"),
    "tokens": ("tokens_total", "Tokens by kind.", "kind"),
}


def prometheus(numbers: Mapping[str, Any]) -> str:
    """The numbers of `npcsdk.bridge.server.Server.metrics` in Prometheus' text format (0.0.4)."""
    return "".join(f"{line}\n" for line in _lines(numbers))


def _lines(numbers: Mapping[str, Any]) -> Iterator[str]:
    several: Sequence[Mapping[str, Any]] = numbers.get("workers") or ()
    one: Mapping[str, Any] = {
        "numbers": numbers.get("worker") or {},
        "restarts": numbers.get("worker_restarts", 0),
    }
    workers = {str(each.get("name", "")): each for each in several or (one,)}
    counted: dict[str, Mapping[str, Any]] = {name: each["numbers"] for name, each in workers.items()}
    for key, (name, text) in _GAUGES.items():
        yield from _each(name, text, "gauge", {"": float(numbers.get(key, 0))})
    if several:
        ready = {name: each["ready"] for name, each in workers.items()}
        yield from _each("worker_ready", "Whether a worker's world is loaded.", "gauge", ready)
    restarts = {name: each["restarts"] for name, each in workers.items()}
    yield from _each("worker_restarts_total", "Workers that died.", "counter", restarts)
    strangers = {"": numbers.get("strangers", 0)}
    yield from _each("strangers_total", "Connections without a known key.", "counter", strangers)
    yield from _labelled("refused_total", "Messages refused.", "code", {"": numbers.get("refused", {})})
    for key, (name, text, kind) in _COUNTS.items():
        yield from _each(name, text, kind, {worker: has.get(key, 0) for worker, has in counted.items()})
    for key, (name, text, label) in _KINDS.items():
        yield from _labelled(name, text, label, {worker: has.get(key, {}) for worker, has in counted.items()})
    seconds = {worker: has.get("generating_ms", 0.0) / 1000 for worker, has in counted.items()}
    yield from _each("generating_seconds_total", "Spent generating after first tokens.", "counter", seconds)
    for key, (name, text) in _TIMES.items():
        times = {worker: has["times"][key] for worker, has in counted.items() if key in has.get("times", {})}
        if times:
            yield from _histogram(name, text, times)


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP npcsdk_{name} {text}"
    yield f"# TYPE npcsdk_{name} {kind}"


def _labels(**labels: str) -> str:
    """Between braces, as far as they are given."""
    shown = [f'{name}="{_escaped(value)}"' for name, value in labels.items() if value]
    return "{" + ",".join(shown) + "}" if shown else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _each(name: str, text: str, kind: str, values: Mapping[str, float]) -> Iterator[str]:
    yield from _head(name, text, kind)
    for worker, value in values.items():
        yield f"npcsdk_{name}{_labels(worker=worker)} {value:g}"


def _labelled(name: str, text: str, label: str, values: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield from _head(name, text, "counter")
    for worker, counts in values.items():
        for key, value in sorted(counts.items()):
            yield f"npcsdk_{name}{_labels(**{label: key}, worker=worker)} {value}"


def _histogram(name: str, text: str, values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from _head(name, text, "histogram")
    for worker, times in values.items():
        total = 0
        for bound, count in zip((*BUCKETS_MS, None), times["counts"], strict=True):
            total += count
            least = "+Inf" if bound is None else format(bound / 1000, "g")
            yield f"npcsdk_{name}_bucket{_labels(le=least, worker=worker)} {total}"
        yield f"npcsdk_{name}_sum{_labels(worker=worker)} {times['sum'] / 1000:g}"
        yield f"npcsdk_{name}_count{_labels(worker=worker)} {total}"


class MetricsServer:
    """Serves ``/metrics`` over HTTP until it is closed.

    Args:
        address: ``host:port``; a port of 0 takes a free one (see `address`).
        numbers: asked at each request.

    Raises:
        BridgeError: the address cannot be had (``bad_metrics_address``).
    """

    def __init__(self, address: str, numbers: Callable[[], Mapping[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                if self.path.split("?")[0] != "/metrics":
                    self.send_error(404)
                    return
                body = prometheus(numbers()).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Not on standard error."""

        host, _, port = address.rpartition(":")
        try:
            self._server = ThreadingHTTPServer((host or "127.0.0.1", int(port)), Handler)
        except (OSError, ValueError, OverflowError) as error:
            raise BridgeError(
                f"Metrics cannot be served on {address!r}: {error}.",
                hint="Write it as 127.0.0.1:9190, with a port that is free.",
                code="bad_metrics_address",
            ) from error
        self._server.daemon_threads = True
        self.address = f"{self._server.server_address[0]}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="npcsdk-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
