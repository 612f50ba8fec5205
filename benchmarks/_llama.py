"""llama.cpp: alone against a loop over its own context, and against llama-server on the same file."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    at_once_rows,
    gap,
    ids_of,
    one_after_the_other,
    row_of,
)
from benchmarks.harness import Row, Setting, Skipped, interleaved
from benchmarks.shapes import M100, Shape
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, ModelSource
from npcsdk.backends.plan import Entry
from npcsdk.backends.sampler import Sampler

__all__ = ["many", "rows"]


def rows(setting: Setting) -> Iterator[Row]:
    """One character alone, one beside a long prompt, and the memory of eight."""
    with _loaded(setting) as ours:
        yield from _alone(ours, setting)
        yield gap(ours, "llama.cpp", setting)
        yield _memory(ours)


def many(setting: Setting) -> Iterator[Row]:
    """Many characters. The rows with a rival stand alone where no llama-server is."""
    with _loaded(setting) as ours:
        yield one_after_the_other(ours, "llama.cpp")
        cells = _cells(setting)
        yield from at_once_rows(ours, "llama.cpp", setting, cells=cells, bar=0.95, note="the same file")


def _cells(setting: Setting) -> int:
    return 8192 if setting.quick else 16384


@contextmanager
def _loaded(setting: Setting) -> Iterator[Ours]:
    for name in ("llama_cpp", "gguf"):
        if importlib.util.find_spec(name) is None:
            raise Skipped(f"llama.cpp's rows need the package {name}")
    ours = Ours(_load(gguf(M100, setting.cache), M100, _cells(setting)))
    try:
        yield ours
    finally:
        ours.backend.close()


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

    speeds = interleaved(engine, loop, rounds=setting.rounds(10))
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

    fill(base)

    def fed() -> float:
        ids = ids_of(NEW, next(fresh))
        started = time.perf_counter()
        Sampler(SAMPLING).pick(fill(ids, CACHED))
        took = time.perf_counter() - started
        runtime.cut(bare, CACHED)
        return took * 1000

    yield row_of(
        "first token of a warm turn, llama.cpp 100M",
        interleaved(warm, fed, rounds=setting.rounds(12)),
        unit="ms",
        bar=1.15,
        better="lower",
        note=f"{CACHED} tokens cached, {NEW} computed; floor: the bare runtime fed only these",
    )
    runtime.cut(bare, 0)
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
