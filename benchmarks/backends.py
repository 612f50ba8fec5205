"""The model runtimes against the bare runtimes: first token of a warm turn, decoding, constraints, memory; and many
characters at once against llama-server.

The floors use the runtime directly, on the same model, in alternating rounds. All of it takes about seven minutes of a
machine that does nothing else, after the models are built. ``--runtime`` measures one part of it, a minute or so, and
leaves what was measured of the others in the file of results.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _llama, _openvino, _random_calls, _served, _sides, _transformers, shapes, shapes4b
from benchmarks._sides import REPLY, by_steps
from benchmarks.harness import Row, Setting, Skipped, interleaved, median, paired_ratio
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Constraint, Finish, Piece, Prompt, Request, Sampling, Segment
from npcsdk.backends.sampler import Sampler
from npcsdk.errors import MissingExtra, ModelError, NpcError

CACHED, NEW, IDLE = 2000, 40, 6
TALK = [
    "the",
    "gate",
    "is",
    "shut",
    "at",
    "night",
    "and",
    "the",
    "smith",
    "sells",
    "iron",
    "to",
    "the",
    "king",
    "of",
    "Veldran",
]


ON_REQUEST = ("large", "soak")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--llama-server",
        help=f"the rival of llama.cpp's and OpenVINO's rows, and the server's (default: ${_sides.SERVER})",
    )
    parser.add_argument(
        "--large", action="store_true", help="backends: the shape of Nemotron Mini 4B as well"
    )
    parser.add_argument("--runtime", choices=tuple(_parts()), help="backends: measure this part only")


def run(setting: Setting) -> Iterator[Row]:
    asked = setting.option("runtime")
    absent: list[str] = []
    for name, part in _parts().items():
        wanted = name not in ON_REQUEST or bool(setting.option(name))
        if not (wanted if asked is None else name == asked):
            continue
        try:
            yield from part(setting)
        except Skipped as skipped:
            absent.append(str(skipped))
        except (NpcError, OSError, RuntimeError, ValueError, AssertionError) as error:
            traceback.print_exc()  # The other parts are measured all the same; this one has failed.
            note = f"{type(error).__name__}: {error}"
            yield Row(what=f"{name}: failed", measured=0, unit="rows", bar=1, better="higher", note=note)
    if absent:
        raise Skipped("; ".join(absent))


def _parts() -> dict[str, Callable[[Setting], Iterator[Row]]]:
    return {
        "onnx": _onnx,
        "llama": _llama.rows,
        "llama-many": _llama.many,
        "openvino": _openvino.rows,
        "openvino-many": _openvino.many,
        "transformers": _transformers.rows,
        "server": _served.rows,
        "large": shapes4b.rows,
        "soak": _soak,
    }


def _onnx(setting: Setting) -> Iterator[Row]:
    try:
        source = registry.resolve(setting.model)
    except ModelError as error:
        raise Skipped(str(error)) from error
    small = Pair(Path(source.path))
    yield from _decode(small, "embedded" if setting.model is None else source.name, setting, bar=0.9)
    yield from _first_token(small, "embedded" if setting.model is None else source.name, setting, bar=None)
    yield from _constraints(small)
    yield _memory(small)
    yield _sampler()
    small.close()
    large = Pair(shapes.build(shapes.M100, Path(source.path), setting.cache))
    yield from _first_token(large, "100M", setting, bar=1.15)
    yield from _decode(large, "100M", setting, bar=0.98)
    large.close()


def _soak(setting: Setting) -> Iterator[Row]:
    """What a thousand turns of nine characters leave behind, beyond what the first hundred take."""
    for runtime in ("onnx_genai", "llama_cpp", "transformers", "openvino_genai"):
        try:
            model = None if runtime == "onnx_genai" else str(_random_calls.tiny(runtime, setting.cache))
            # Its pages are filled one after the other; a few are full before the measurement begins.
            few = {"cache_bytes": 4 << 20} if runtime == "openvino_genai" else {}
            backend = registry.load(replace(registry.resolve(model), options={"threads": 1, **few}))
        except (Skipped, MissingExtra) as absent:
            yield Row(what=f"memory, {runtime}: not measured", measured=0, unit="MB", note=str(absent))
            continue
        before = 0
        for turn in range(1100):
            if turn == 100:
                before = _resident()
            text = f"Line {turn % 17}: " + "the gate is shut. " * (turn % 12)
            request = Request(
                prompt=Prompt((Segment(text),)), sampling=Sampling(max_tokens=2), session=str(turn % 9)
            )
            _consume(backend, request)
        grown = _resident() - before
        backend.close()
        yield Row(
            what=f"memory that a thousand turns leave behind, {runtime}",
            measured=max(grown, 0) / 2**20,
            unit="MB",
            bar=8.0,
            note="nine characters, prompts of changing length; of the whole process",
        )


class Pair:
    """One model twice: behind the backend, and as the bare runtime."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime_genai as og

        self.folder = folder
        self.backend: Backend = registry.load(registry.resolve(str(folder)))
        # One loaded model for both sides: two would keep two pools of threads, which disturb each other.
        self.model: Any = self.backend._runtime._model  # type: ignore[attr-defined]
        params = og.GeneratorParams(self.model)
        params.set_search_options(max_length=self.backend.capabilities.context_length, do_sample=False)
        self.raw: Any = og.Generator(self.model, params)
        self.fed = 0

    def feed(self, length: int) -> None:
        """Give the bare runtime a cache of ``length`` tokens."""
        self.fed = length
        self.raw.rewind_to(0)
        self.raw.append_tokens(np.random.default_rng(0).integers(10, 3000, length, dtype=np.int32))
        self.raw.get_logits()

    def close(self) -> None:
        self.raw = self.model = None
        self.backend.close()


def _first_token(pair: Pair, name: str, setting: Setting, bar: float | None) -> Iterator[Row]:
    base = _prompt(pair.backend, CACHED)
    _consume(pair.backend, Request(prompt=base, sampling=Sampling(max_tokens=1), session="warm"))
    turns = iter(range(10_000))
    computed: list[int] = []

    def backend() -> float:
        request = Request(
            prompt=_longer(pair.backend, base, next(turns)),
            sampling=Sampling(max_tokens=4, seed=1),
            session="warm",
        )
        started = time.perf_counter()
        first = 0.0
        for item in pair.backend.generate(request):
            if isinstance(item, Piece) and not first:
                first = time.perf_counter() - started
            elif isinstance(item, Finish):
                computed.append(item.usage.computed_tokens)
        return first

    pair.feed(CACHED)
    fresh = np.random.default_rng(1)

    def bare() -> float:
        pair.raw.rewind_to(CACHED)
        tokens = fresh.integers(10, 3000, computed[-1] if computed else NEW, dtype=np.int32)
        started = time.perf_counter()
        pair.raw.append_tokens(tokens)
        pair.raw.get_logits()
        return time.perf_counter() - started

    ours, floor = interleaved(backend, bare, rounds=setting.rounds(25), warm_up=3)
    yield Row(
        what=f"first token of a warm turn, {name}",
        measured=median(ours) * 1000,
        floor=median(floor) * 1000,
        unit="ms",
        bar=bar,
        note=f"{CACHED} tokens cached, {computed[-1]} computed; floor: the bare runtime fed only these; "
        f"paired ratio {paired_ratio(ours, floor):.3f}",
    )


def _decode(pair: Pair, name: str, setting: Setting, bar: float) -> Iterator[Row]:
    prompt = _prompt(pair.backend, 500)
    sampling = Sampling(max_tokens=REPLY)
    seed = _long_seed(pair.backend, prompt, sampling)
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=_tools(8, 20))

    plain = Request(prompt=prompt, sampling=replace(sampling, seed=seed), session="decode")
    pair.feed(_consume(pair.backend, plain).usage.prompt_tokens)
    ours, floor, count = _steps(pair, plain, setting.rounds(12))
    yield Row(
        what=f"decode, {name}",
        measured=1 / ours,
        floor=1 / floor,
        unit="tok/s",
        bar=bar,
        better="higher",
        note=f"floor: a bare loop with the same sampler; {(ours - floor) * 1000:.3f} ms a token of our own; "
        f"medians of {count} tokens",
    )
    ours, floor, count = _steps(pair, replace(plain, constraint=constraint), setting.rounds(12))
    yield Row(
        what=f"decode under a constraint of 8 actions, {name}",
        measured=1 / ours,
        floor=1 / floor,
        unit="tok/s",
        better="higher",
        note=f"floor: the bare loop without one; {(ours - floor) * 1000:.3f} ms a token of our own",
    )


def _steps(pair: Pair, request: Request, rounds: int) -> tuple[float, float, int]:
    """Median seconds of a token through the backend and in a bare loop, and how many were measured."""

    def loop() -> Callable[[], object]:
        sampler = Sampler(request.sampling)
        pair.raw.rewind_to(pair.fed - 1)
        pair.raw.append_tokens([100])
        token = sampler.pick(pair.raw.get_logits()[0, -1])

        def step() -> None:
            nonlocal token
            pair.raw.append_tokens([token])
            token = sampler.pick(pair.raw.get_logits()[0, -1])

        return step

    ours, floor = by_steps(lambda: iter(pair.backend.generate(request)), loop, rounds)
    return median(ours), median(floor), min(len(ours), len(floor))


def _constraints(pair: Pair) -> Iterator[Row]:
    from npcsdk.backends.encoding import TextEncoding
    from npcsdk.backends.guidance import Guidance

    folder = pair.folder
    encoding = TextEncoding.from_file(folder / "tokenizer.json")
    guidance = Guidance(encoding, stop=3)
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=_tools(32, 200))
    started = time.perf_counter()
    guidance.start(constraint)
    first = time.perf_counter() - started
    again = Constraint(opening="<toolcall>", closing="</toolcall>", tools=_tools(32, 200))
    times: list[float] = []
    for _ in range(200):
        started = time.perf_counter()
        guidance.start(again)
        times.append(time.perf_counter() - started)
    yield Row(
        what="start of a known constraint, 32 actions × 200 names",
        measured=median(times) * 1000,
        unit="ms",
        bar=0.2,
        note=f"the first time {first * 1000:.1f} ms",
    )


def _memory(pair: Pair) -> Row:
    """What sessions cost the process, against what the pool counts for them."""
    prompt = _prompt(pair.backend, 200)
    for session in ("warm", "decode"):
        pair.backend.release(session)
    sessions = iter(f"idle {number}" for number in range(2 + IDLE))

    def fill(count: int) -> tuple[int, int]:
        before, counted = _resident(), pair.backend.memory_bytes()
        for _ in range(count):
            request = Request(prompt=prompt, sampling=Sampling(max_tokens=4), session=next(sessions))
            _consume(pair.backend, request)
        return _resident() - before, pair.backend.memory_bytes() - counted

    fill(2)  # These take what the releases left, and the runtime's own buffers grow.
    grown, counted = fill(IDLE)
    return Row(
        what="memory of an idle session beyond its counted cache",
        measured=max(0.0, (grown - counted) / IDLE / 2**20),
        unit="MB",
        bar=1.0,
        note=f"counted against the budget: {counted / IDLE / 2**20:.1f} MB each",
    )


def _sampler() -> Row:
    logits = np.random.default_rng(0).normal(size=256_000).astype(np.float32) * 3
    sampler = Sampler(Sampling(seed=1))
    copies = [logits.copy() for _ in range(60)]
    times: list[float] = []
    for copy in copies:
        started = time.perf_counter()
        sampler.pick(copy)
        times.append(time.perf_counter() - started)
    return Row(
        what="sampling a token at a vocabulary of 256,000",
        measured=median(times) * 1000,
        unit="ms",
        note="top-k 40, top-p 0.95",
    )


def _prompt(backend: Backend, tokens: int) -> Prompt:
    """A conversation of about so many tokens, made of many turns as a real one is."""
    segments = [
        Segment("<extra_id_0>System\n", control=True),
        Segment("You keep the gate."),
        Segment("\n\n", control=True),
    ]
    total = backend.count("System\nYou keep the gate.\n\n")
    at = 0
    while total < tokens - 60:
        line = " ".join(TALK[(at + word) % len(TALK)] for word in range(24))
        segments += [
            Segment(f"<extra_id_1>{'User' if at % 2 == 0 else 'Assistant'}\n", control=True),
            Segment(line),
        ]
        segments.append(Segment("\n", control=True))
        total += backend.count(line) + 4
        at += 1
    filler = ""
    while total < tokens - 4:
        filler += f" {TALK[total % len(TALK)]}"
        total += 1 + (total % 2)
    segments += [Segment("<extra_id_1>User\n", control=True), Segment(filler)]
    return Prompt((*segments, Segment("\n<extra_id_1>Assistant\n", control=True)))


def _longer(backend: Backend, base: Prompt, number: int) -> Prompt:
    """``base`` and a next turn of `NEW` tokens, which differs from its first word on for each ``number``."""
    reply, line = f"{TALK[number % len(TALK)]} {number} is fine.", ""
    while backend.count(reply) + backend.count(f"\nUser\n{line}\nAssistant\n") < NEW - 2:
        line += f" {TALK[(number + len(line)) % len(TALK)]}"
    more = (
        Segment(reply),
        Segment("\n<extra_id_1>User\n", control=True),
        Segment(line),
        Segment("\n<extra_id_1>Assistant\n", control=True),
    )
    return Prompt((*base.segments, *more))


def _long_seed(backend: Backend, prompt: Prompt, sampling: Sampling) -> int:
    """A seed with which the model speaks to the limit."""
    for seed in range(200):
        finish = _consume(
            backend, Request(prompt=prompt, sampling=replace(sampling, seed=seed), session="decode")
        )
        if finish.usage.generated_tokens >= sampling.max_tokens:
            return seed
    raise Skipped("the model never speaks long enough to measure its speed")


def _consume(backend: Backend, request: Request) -> Finish:
    for item in backend.generate(request):
        if isinstance(item, Finish):
            return item
    raise AssertionError("no finish")


def _tools(actions: int, names: int) -> tuple[tuple[str, dict[str, Any]], ...]:
    target = {"type": "string", "enum": [f"target number {number}" for number in range(names)]}
    schema = {
        "type": "object",
        "properties": {"target": target},
        "required": ["target"],
        "additionalProperties": False,
    }
    return tuple((f"action_{number}", json.loads(json.dumps(schema))) for number in range(actions))


def _resident() -> int:
    """Bytes of memory in use by this process."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()
    except (ImportError, OSError) as error:
        raise Skipped(f"memory is measured on Linux only, not on {sys.platform}") from error
