"""A hub in this process: the part of the protocol that downloading needs, over real HTTP, with faults on request."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY = "studio/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_secret"

Fault = Callable[["Handler", bytes], None]
"""Answers a GET of a file, given its content from the asked offset on."""


@dataclass
class Hub:
    """What the server has and does.

    ``faults`` are used up one GET at a time; ``asked`` records file GETs, ``keys`` their authorization. ``listing`` is
    what the interface answers instead of the truth; ``elsewhere`` is another server, to which files are redirected.
    """

    files: dict[str, bytes]
    large: frozenset[str] = frozenset({"model.onnx.data"})
    gated: bool = False
    status: int = 0
    listing: bytes | None = None
    elsewhere: str = ""
    keys: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    announced: dict[str, bytes] = field(default_factory=dict[str, bytes])
    faults: list[Fault] = field(default_factory=list[Fault])
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def info(self) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for name, real in self.files.items():
            data = self.announced.get(name, real)
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            item: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
            if name in self.large:
                digest = hashlib.sha256(data).hexdigest()
                item["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
            siblings.append(item)
        return {
            "id": REPOSITORY,
            "modelId": REPOSITORY,
            "sha": COMMIT,
            "siblings": siblings,
            "private": False,
            "tags": [],
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        hub, path = self.hub, self.path.split("?")[0]
        if hub.status:
            return self.send({}, b"", status=hub.status)
        if hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            fault = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}
            if "/api/" not in path or body:
                return self.send(fault, b"", status=403)
        if path.startswith(f"/api/models/{REPOSITORY}"):
            listing = hub.listing if hub.listing is not None else json.dumps(hub.info()).encode()
            return self.send({"Content-Type": "application/json"}, listing)
        found = re.fullmatch(rf"/{REPOSITORY}/resolve/[^/]+/(.+)", path)
        if not found:
            return self.send({"X-Error-Code": "RepoNotFound"}, b"", status=404)
        name = found[1]
        if name not in hub.files:
            return self.send({"X-Error-Code": "EntryNotFound"}, b"", status=404)
        data = hub.files[name]
        etag = hashlib.sha256(hub.announced.get(name, data)).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if hub.elsewhere:
            moved = {
                "Location": hub.elsewhere + path,
                "X-Linked-Size": str(len(data)),
                "X-Linked-ETag": f'"{etag}"',
            }
            return self.send({**headers, **moved}, b"", status=302)
        if not body:
            return self.send({**headers, "Content-Length": str(len(data))}, b"")
        hub.keys.append((name, self.headers.get("Authorization", "")))
        asked = self.headers.get("Range", "")
        hub.asked.append((name, asked))
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        rest = data[start:]
        if hub.faults and name in hub.large:
            return hub.faults.pop(0)(self, rest)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send(headers, rest, status=206 if asked else 200)

    def send(self, headers: dict[str, str], body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def part(self, body: bytes, length: int) -> None:
        """Announce ``length`` bytes and send some."""
        self.send_response(206 if self.headers.get("Range") else 200)
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")  # told, or the client may ask again before it sees the end
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = True


def cut_off(handler: Handler, rest: bytes) -> None:
    """The connection breaks in the middle."""
    handler.part(rest[: len(rest) // 2], len(rest))


def damaged(handler: Handler, rest: bytes) -> None:
    """All bytes come, one of them wrong."""
    handler.part(rest[:-1] + bytes([rest[-1] ^ 1]), len(rest))


def stalled(handler: Handler, rest: bytes) -> None:
    """Some bytes come, and then nothing until the client has given up."""
    handler.part(rest[:10], len(rest))
    handler.hub.over.wait(30)


def whole_again(handler: Handler, rest: bytes) -> None:
    """All of the file, whatever part was asked for."""
    data = handler.hub.files["model.onnx.data"]
    handler.send({}, data)


def too_many(handler: Handler, rest: bytes) -> None:
    """The hub has had enough of this client."""
    handler.send({"Retry-After": "0"}, b"", status=429)


def trickled(handler: Handler, rest: bytes) -> None:
    """All bytes come, in many small pieces."""
    handler.part(rest[:1], len(rest))
    for at in range(1, len(rest), 997):
        handler.wfile.write(rest[at : at + 997])
        handler.wfile.flush()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Bound(Handler):
        pass

    Bound.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
