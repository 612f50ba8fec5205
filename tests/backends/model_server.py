"""A real HTTP server with OpenAI's interface, in this process: what it says and how it fails is a test's to choose."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_TOKEN = re.compile(r" ?\w+|\s|[^\w\s]")
Answer = Callable[["Handler", dict[str, Any]], None]


@dataclass
class ModelServer:
    """What it has, what it was asked, and how it answers. ``answers`` are used up one by one, then ``answer`` stays."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "toy", "owned_by": "somebody"}])
    props: dict[str, Any] | None = None
    counts: bool = False
    version: str = ""
    hang_up: int = 0
    answers: list[Answer] = field(default_factory=list)
    answer: Answer | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    clients: list[Any] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    state: ModelServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.path = urlsplit(self.path).path  # A proxy gets the whole address.
        state = self.state
        state.keys.append(self.headers.get("Authorization"))
        if self.path == "/v1/models":
            self.json(200, {"object": "list", "data": state.models})
        elif self.path == "/version" and state.version:
            self.json(200, {"version": state.version})
        elif self.path == "/props" and state.props is not None:
            self.json(200, state.props)
        else:
            self.json(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        self.path = urlsplit(self.path).path
        state = self.state
        state.clients.append(self.client_address)
        if state.hang_up:
            state.hang_up -= 1
            self.close_connection = True
            return None
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            if not state.counts:
                return self.json(404, {"error": "no such path"})
            begin = [0] if body.get("add_special") else []
            text = body["content"] if "content" in body else body["prompt"]
            return self.json(200, {"tokens": begin + [1] * len(_TOKEN.findall(text))})
        state.requests.append(body)
        state.paths.append(self.path)
        state.keys.append(self.headers.get("Authorization"))
        answer = state.answers.pop(0) if state.answers else state.answer
        assert answer is not None
        try:
            answer(self, body)
        except (BrokenPipeError, ConnectionResetError, ConnectionAbortedError):
            state.hung_up.set()
            self.close_connection = True
        return None

    def json(self, status: int, value: Any, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)

    def begin(self) -> None:
        """The head of an event stream, which ends when the connection does."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def event(self, value: Any) -> None:
        self.send(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")

    def done(self) -> None:
        self.send(b"data: [DONE]\n\n")


def chunk(text: str = "", finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """An event of a chat."""
    return {"choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}]}


def says(text: str) -> Answer:
    """Say ``text`` token by token as a sound server does, both interfaces, with stops, a limit and a count."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        chat = handler.path.endswith("/chat/completions")
        handler.begin()
        given = json.dumps(body["messages"]) if chat else body["prompt"]
        shown = text
        for stop in body.get("stop", []):
            shown = shown.partition(stop)[0]
        tokens = _TOKEN.findall(shown)
        finish = "stop"
        if len(tokens) > body["max_tokens"]:
            tokens, finish = tokens[: body["max_tokens"]], "length"
        for token in tokens:
            handler.event(chunk(token) if chat else {"choices": [{"text": token, "finish_reason": None}]})
        handler.event(chunk(finish=finish) if chat else {"choices": [{"text": "", "finish_reason": finish}]})
        counts = {"prompt_tokens": len(_TOKEN.findall(given)), "completion_tokens": len(tokens)}
        handler.event({"choices": [], "usage": counts})
        handler.done()

    return answer


def fails(status: int, message: str = "no", **headers: str) -> Answer:
    return lambda handler, _: handler.json(status, {"error": {"message": message}}, **headers)


@contextmanager
def serving(**settings: Any) -> Iterator[ModelServer]:
    state = ModelServer(**settings)
    handler = type("BoundHandler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
