"""A server with OpenAI's interface, against a bare client of the same server. Measured with llama-server."""

from __future__ import annotations

import http.client
import importlib.util
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks._gguf import gguf
from benchmarks._sides import CACHED, NEW, OWN, REPLY, SAMPLING, SERVER, Server, row_of, server_path
from benchmarks.harness import Row, Setting, Skipped, interleaved
from benchmarks.shapes import M100
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Piece, Prompt, Request, Segment

__all__ = ["rows"]


def rows(setting: Setting) -> Iterator[Row]:
    """All rows of a model behind a server."""
    missing = [name for name in ("httpx", "gguf") if importlib.util.find_spec(name) is None]
    binary = server_path(setting)
    if missing or binary is None:
        lacking = (
            f"the packages {', '.join(missing)}" if missing else f"a llama-server: --llama-server or {SERVER}"
        )
        raise Skipped(f"the rows of a server need {lacking}")
    with Server(binary, gguf(M100, setting.cache), 16384) as server:
        source = registry.resolve(f"http://127.0.0.1:{server.port}/v1")
        options = {**source.options, "api": "completion"}
        backend = registry.load(replace(source, options=options))
        try:
            yield _decode(backend, server, setting)
            yield _first_token(backend, server, setting)
        finally:
            backend.close()


def _ours(backend: Backend, text: str, limit: int) -> list[float]:
    """When each piece came; the first is when it was asked for."""
    request = Request(prompt=Prompt((Segment(text),)), sampling=replace(SAMPLING, max_tokens=limit))
    times = [time.perf_counter()]
    times += [time.perf_counter() for item in backend.generate(request) if isinstance(item, Piece)]
    return times


def _bare(server: Server, text: str, limit: int) -> list[float]:
    """The same of a client that does nothing else."""
    body = {"prompt": text, "max_tokens": limit, "stream": True, "cache_prompt": True}
    body |= {"temperature": SAMPLING.temperature, "top_p": SAMPLING.top_p, "top_k": SAMPLING.top_k}
    body |= {"seed": SAMPLING.seed, "repeat_penalty": SAMPLING.repetition_penalty}
    times = [time.perf_counter()]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    for line in connection.getresponse():
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["text"]:
            times.append(time.perf_counter())
    connection.close()
    return times


def _text(length: int, number: int) -> str:
    """So many tokens: of this model each letter is one."""
    words = f"{number} the gate is shut at night and the smith sells iron to the king of Veldran "
    return (words * (length // len(words) + 1))[:length]


def _decode(backend: Backend, server: Server, setting: Setting) -> Row:
    text = _text(OWN, 1)

    def speed(times: list[float]) -> float:
        return (len(times) - 2) / (times[-1] - times[1])

    return row_of(
        "decode, a server, 100M",
        interleaved(
            lambda: speed(_ours(backend, text, REPLY)),
            lambda: speed(_bare(server, text, REPLY)),
            rounds=setting.rounds(12),
        ),
        unit="tok/s",
        bar=0.98,
        better="higher",
        note="floor: a bare client of the same llama-server",
    )


def _first_token(backend: Backend, server: Server, setting: Setting) -> Row:
    base = _text(CACHED, 2)
    fresh = itertools.count(100)

    def first(times: list[float]) -> float:
        return (times[1] - times[0]) * 1000

    return row_of(
        "first token of a warm turn, a server, 100M",
        interleaved(
            lambda: first(_ours(backend, base + _text(NEW, next(fresh)), 2)),
            lambda: first(_bare(server, base + _text(NEW, next(fresh)), 2)),
            rounds=setting.rounds(16),
            warm_up=2,
        ),
        unit="ms",
        bar=1.15,
        better="lower",
        note=f"{CACHED} tokens cached, {NEW} new; floor: a bare client. Ours asks first how long the prompt is",
    )
