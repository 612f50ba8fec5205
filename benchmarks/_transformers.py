"""transformers, against a loop over the same model with a cache of its own. In 32 bits, as any processor computes."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks._checkpoint import checkpoint
from benchmarks._sides import CACHED, NEW, OWN, REPLY, SAMPLING, Ours, by_steps, ids_of, row_of
from benchmarks.harness import Row, Setting, Skipped, interleaved, median
from benchmarks.shapes import M100
from npcsdk.backends import registry
from npcsdk.backends.base import Prompt, Request, Segment
from npcsdk.backends.sampler import Sampler

__all__ = ["rows"]


def rows(setting: Setting) -> Iterator[Row]:
    """All rows of transformers."""
    needed = ("torch", "transformers", "safetensors")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"the rows of transformers need the packages {', '.join(missing)}")
    source = registry.resolve(str(checkpoint(M100, setting.cache)))
    ours = Ours(registry.load(replace(source, options={"dtype": "fp32"})))
    try:
        bare = Bare(ours)
        yield _decode(ours, bare, setting)
        yield _first_token(ours, bare, setting)
    finally:
        ours.backend.close()


class Bare:
    """The backend's model, with a cache of the library's."""

    def __init__(self, ours: Ours) -> None:
        import torch
        import transformers

        backend: Any = ours.backend
        self._torch: Any = torch
        self._model: Any = backend._runtime._model
        self._cache: Any = transformers.DynamicCache()

    def feed(self, ids: Sequence[int], at: int) -> int:
        """Compute ``ids`` behind the first ``at`` tokens, and choose the next."""
        if self._cache.get_seq_length() > at:
            self._cache.crop(at - self._cache.get_seq_length())
        with self._torch.inference_mode():
            given = self._torch.tensor([list(ids)])
            out = self._model(input_ids=given, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            return Sampler(SAMPLING).pick(out.logits[0, -1].float().numpy())


def _decode(ours: Ours, bare: Bare, setting: Setting) -> Row:
    prompt = ids_of(OWN, 50)
    request = Request(
        prompt=Prompt((Segment("", ids=tuple(prompt)),)),
        sampling=replace(SAMPLING, max_tokens=REPLY),
        session="decode",
    )

    def loop() -> Callable[[], object]:
        token = bare.feed(prompt, 0)
        places = itertools.count(len(prompt))

        def step() -> None:
            nonlocal token
            token = bare.feed([token], next(places))

        return step

    times, floor = by_steps(lambda: iter(ours.backend.generate(request)), loop, setting.rounds(3))
    ours.backend.release("decode")
    return Row(
        what="decode, transformers 100M",
        measured=1 / median(times),
        floor=1 / median(floor),
        unit="tok/s",
        bar=0.98,
        better="higher",
        note=f"floor: a bare loop with the same sampler; medians of {min(len(times), len(floor))} tokens",
    )


def _first_token(ours: Ours, bare: Bare, setting: Setting) -> Row:
    base = ids_of(CACHED, 51)
    ours.speak(base, 1, "warm")
    bare.feed(base, 0)
    fresh = itertools.count(60)

    def warm() -> float:
        first: list[float] = []
        ids = [*base, *ids_of(NEW, next(fresh))]
        started = time.perf_counter()
        ours.speak(ids, 2, "warm", lambda: first.append(time.perf_counter()))
        return (first[0] - started) * 1000

    def fed() -> float:
        ids = ids_of(NEW, next(fresh))
        started = time.perf_counter()
        bare.feed(ids, CACHED)
        return (time.perf_counter() - started) * 1000

    results = interleaved(warm, fed, rounds=setting.rounds(12))
    ours.backend.release("warm")
    return row_of(
        "first token of a warm turn, transformers 100M",
        results,
        unit="ms",
        bar=1.15,
        better="lower",
        note=f"{CACHED} tokens cached, {NEW} computed; floor: the bare model fed only these",
    )
