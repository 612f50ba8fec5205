"""llama.cpp: alone against a loop over its own context, and against llama-server on the same file."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks._gguf import gguf
from benchmarks._sides import (
    CACHED,
    CHARACTERS,
    NEW,
    OWN,
    REPLY,
    SAMPLING,
    Ours,
    at_once,
    at_once_rows,
    gap,
    ids_of,
    one_after_the_other,
    row_of,
)
from benchmarks.harness import Row, Setting, Skipped, interleaved, median
from benchmarks.shapes import B4, M100, Shape
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, ModelSource
from npcsdk.backends.plan import Entry
from npcsdk.backends.sampler import Sampler

__all__ = ["rows"]


def rows(setting: Setting) -> Iterator[Row]:
    """All rows of llama.cpp. Those with a rival stand alone where no llama-server is."""
    for name in ("llama_cpp", "gguf"):
        if importlib.util.find_spec(name) is None:
            raise Skipped(f"llama.cpp's rows need the package {name}")
    cells = 8192 if setting.quick else 16384
    ours = Ours(_load(gguf(M100, setting.cache), M100, cells))
    try:
        yield from _alone(ours, setting)
        yield gap(ours, "llama.cpp", setting)
        yield _memory(ours)
        yield one_after_the_other(ours, "llama.cpp", setting)
        yield from at_once_rows(ours, "llama.cpp", setting, cells=cells, bar=0.95, note="the same file")
    finally:
        ours.backend.close()
    if setting.option("large"):
        yield from _large(setting)


def _load(path: Path, shape: Shape, cells: int) -> Backend:
    each = shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * 2 * 2
    options = {"cache_bytes": cells * each}
    return registry.load(ModelSource(name="random", backend="llama_cpp", path=str(path), options=options))


def _alone(ours: Ours, setting: Setting) -> Iterator[Row]:
    """One character, against the bare runtime: the same context, driven by a loop without an engine."""
    backend: Any = ours.backend
    runtime = backend._engine._runtime
    bare, prompt = runtime.sequences - 1, ids_of(OWN, 50)

    def fill(ids: Sequence[int], start: int = 0) -> Any:
        for at in range(0, len(ids), runtime.batch):
            piece = ids[at : at + runtime.batch]
            (row,) = runtime.compute([Entry(0, bare, start + at, piece, reply=False, last=True)])
        return row

    def engine() -> float:
        times: list[float] = []
        ours.speak(prompt, REPLY, "decode", lambda: times.append(time.perf_counter()))
        return (len(times) - 1) / (times[-1] - times[0])

    def loop() -> float:
        sampler = Sampler(SAMPLING)
        token = sampler.pick(fill(prompt))
        started = time.perf_counter()
        for at in range(REPLY - 1):
            entry = Entry(0, bare, len(prompt) + at, (token,), reply=True, last=True)
            token = sampler.pick(runtime.compute([entry])[0])
        took = time.perf_counter() - started
        runtime.cut(bare, 0)
        return (REPLY - 1) / took

    speeds = interleaved(engine, loop, rounds=setting.rounds(12))
    yield row_of(
        "decode, llama.cpp 100M",
        speeds,
        unit="tok/s",
        bar=0.98,
        better="higher",
        note="floor: a bare loop over the same context with the same sampler",
    )
    base = ids_of(CACHED, 51)
    ours.speak(base, 1, "warm")
    fresh = itertools.count(60)

    def warm() -> float:
        ids = [*base, *ids_of(NEW, next(fresh))]
        first: list[float] = []
        started = time.perf_counter()
        ours.speak(ids, 2, "warm", lambda: first.append(time.perf_counter()))
        return (first[0] - started) * 1000

    def fed() -> float:
        fill(base)
        ids = ids_of(NEW, next(fresh))
        started = time.perf_counter()
        Sampler(SAMPLING).pick(fill(ids, CACHED))
        took = time.perf_counter() - started
        runtime.cut(bare, 0)
        return took * 1000

    yield row_of(
        "first token of a warm turn, llama.cpp 100M",
        interleaved(warm, fed, rounds=setting.rounds(12)),
        unit="ms",
        bar=1.15,
        better="lower",
        note=f"{CACHED} tokens cached, {NEW} computed; floor: the bare runtime fed only these",
    )
    for session in ("warm", "decode"):
        backend.release(session)


def _memory(ours: Ours) -> Row:
    common, tail = ids_of(1000, 80), 100
    before = ours.backend.memory_bytes()
    ours.speak(common, 1, "one")
    one = ours.backend.memory_bytes() - before
    ours.backend.release("one")
    for at in range(CHARACTERS):
        ours.speak([*common, *ids_of(tail, 81 + at)], 1, at)
    held = ours.backend.memory_bytes() - before
    for at in range(CHARACTERS):
        ours.backend.release(str(at))
    return Row(
        what=f"memory of {CHARACTERS} characters with a 1,000-token common prefix, llama.cpp 100M",
        measured=held / 2**20,
        floor=(one + CHARACTERS * tail * one / len(common)) / 2**20,
        unit="MB",
        bar=1.1,
        note=f"floor: one prefix and {CHARACTERS} tails of {tail} tokens; cells in use, of a memory taken at once",
    )


def _large(setting: Setting) -> Iterator[Row]:
    """What this machine gives for the shape of Nemotron Mini itself."""
    ours = Ours(_load(gguf(B4, setting.cache, vocabulary=256_000), B4, 4096))
    length, reply = 128, 16
    try:
        ours.speak(ids_of(8, 0), 2, "first")  # The weights come into memory.
        fresh = itertools.count(100)

        def prefill() -> float:
            started = time.perf_counter()
            ours.speak(ids_of(length, next(fresh)), 1, "prefill")
            return length / (time.perf_counter() - started)

        prompts = [ids_of(24, seed) for seed in range(CHARACTERS)]

        def decode(count: int) -> float:
            at_once(ours, prompts[:count], 1)
            return at_once(ours, prompts[:count], reply)[0]

        for what, work in (
            ("prefill", prefill),
            ("decode", lambda: decode(1)),
            (f"{CHARACTERS} characters at once", lambda: decode(CHARACTERS)),
        ):
            yield Row(
                what=f"{what}, llama.cpp 4B",
                measured=median([work() for _ in range(setting.rounds(3))]),
                unit="tok/s",
                better="higher",
                note="the shape of Nemotron Mini 4B with random weights, Q8_0",
            )
    finally:
        ours.backend.close()
