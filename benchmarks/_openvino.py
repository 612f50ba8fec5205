"""OpenVINO GenAI, alone and against llama-server with a model of the same shape.

Prompts are token ids, as in `benchmarks._sides`. The weights are int8 here and Q8_0 there.
"""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks._checkpoint import checkpoint
from benchmarks._sides import (
    CACHED,
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
from benchmarks.shapes import M100
from npcsdk.backends import registry
from npcsdk.backends.base import Piece, Prompt, Request, Segment
from npcsdk.models.convert import convert

__all__ = ["many", "rows"]

PAGE = 32
CELLS = 16384


def rows(setting: Setting) -> Iterator[Row]:
    """One character alone, and one beside a long prompt."""
    with _loaded(setting) as ours:
        bare = Bare(ours)
        yield _decode(ours, bare, setting)
        yield _first_token(ours, bare, setting)
        yield gap(ours, "OpenVINO", setting)


def many(setting: Setting) -> Iterator[Row]:
    """Many characters. The rows with a rival stand alone where no llama-server is."""
    amx = _has_amx()
    note = "the same shape in Q8_0" + (
        "" if amx else "; a processor without AMX, where 2.1 is the bar instead of 2.5"
    )
    with _loaded(setting) as ours:
        yield one_after_the_other(ours, "OpenVINO")
        bar = 2.5 if amx else 2.1
        yield from at_once_rows(ours, "OpenVINO", setting, cells=CELLS, bar=bar, note=note)


@contextmanager
def _loaded(setting: Setting) -> Iterator[Ours]:
    needed = ("openvino", "openvino_genai", "openvino_tokenizers", "transformers", "safetensors")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"OpenVINO's rows need the packages {', '.join(missing)}")
    ours = Ours(registry.load(registry.resolve(str(model(setting.cache)))))
    try:
        yield ours
    finally:
        ours.backend.close()


def model(cache: Path) -> Path:
    """The model of random weights, converted by npcsdk, once."""
    folder = cache / f"{M100.name}-openvino-int8"
    if not (folder / "openvino_model.bin").is_file():
        convert(str(checkpoint(M100, cache)), "openvino", folder, precision="int8")
    return folder


def request_of(ids: Sequence[int], limit: int) -> Request:
    return Request(
        prompt=Prompt((Segment("", ids=tuple(ids)),)),
        sampling=replace(SAMPLING, max_tokens=limit),
    )


class Bare:
    """The pipeline of a backend at rest, stepped by a loop that does nothing else."""

    def __init__(self, ours: Ours) -> None:
        backend: Any = ours.backend
        self._pipeline = backend._engine._pipeline
        self._numbers = itertools.count(1 << 40)

    def speak(self, ids: Sequence[int], limit: int) -> tuple[float, float]:
        """Seconds until the first token, and from there to the last."""
        import numpy as np
        import openvino
        import openvino_genai as genai

        config = genai.GenerationConfig()
        config.max_new_tokens = limit
        config.do_sample, config.temperature, config.top_p, config.top_k = True, 0.7, 0.95, 40
        config.rng_seed = 1
        started = time.perf_counter()
        tensor = openvino.Tensor(np.array([ids], dtype=np.int64))
        handle = self._pipeline.add_request(next(self._numbers), tensor, config)
        first = 0.0
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            while handle.can_read():
                handle.read()
                first = first or time.perf_counter()
        return first - started, time.perf_counter() - first


def _decode(ours: Ours, bare: Bare, setting: Setting) -> Row:
    prompt = ids_of(OWN, 50)

    def engine() -> float:
        times: list[float] = []
        ours.speak(prompt, REPLY, "decode", lambda: times.append(time.perf_counter()))
        return (len(times) - 1) / (times[-1] - times[0])

    def loop() -> float:
        return (REPLY - 1) / bare.speak(prompt, REPLY)[1]

    return row_of(
        "decode, OpenVINO 100M",
        interleaved(engine, loop, rounds=setting.rounds(12)),
        unit="tok/s",
        bar=0.98,
        better="higher",
        note="floor: the same pipeline, stepped by a bare loop",
    )


def _first_token(ours: Ours, bare: Bare, setting: Setting) -> Row:
    """One conversation goes on: its prompt and reply so far, then new tokens.

    The floor's cache ends at a page's end, so that it computes the new tokens and nothing else.
    """
    talk = ids_of(CACHED, 51)
    fresh = itertools.count(60)

    def warm() -> float:
        started = time.perf_counter()
        first = 0.0
        for item in ours.backend.generate(request_of(talk, 2)):
            if isinstance(item, Piece):
                first = first or time.perf_counter()
                talk.extend(item.ids)
        talk.extend(ids_of(NEW, next(fresh)))
        return (first - started) * 1000

    def fed() -> float:
        whole = (len(talk) - NEW) // PAGE * PAGE
        return bare.speak([*talk[:whole], *ids_of(NEW, next(fresh))], 2)[0] * 1000

    return row_of(
        "first token of a warm turn, OpenVINO 100M",
        interleaved(warm, fed, rounds=setting.rounds(25), warm_up=3),
        unit="ms",
        bar=1.15,
        better="lower",
        note=f"{CACHED} tokens and more cached, {NEW} new; floor: the bare pipeline, which computes the new ones only",
    )


def _has_amx() -> bool:
    try:
        return "amx_int8" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
