"""llama.cpp, alone and against llama-server on the same file of random weights.

Prompts are token ids, so that every prompt has exactly the length that a row names.
"""

from __future__ import annotations

import http.client
import importlib.util
import itertools
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._gguf import SPOKEN, gguf
from benchmarks.harness import Row, Setting, Skipped, interleaved, median, paired_ratio
from benchmarks.shapes import B4, M100, Shape
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Finish, ModelSource, Piece, Prompt, Request, Sampling, Segment
from npcsdk.backends.plan import Entry
from npcsdk.backends.sampler import Sampler

__all__ = ["Ours", "Server", "at_once", "ids_of", "one_after_the_other", "row_of", "rows", "server_path"]

SERVER = "NPCSDK_LLAMA_SERVER"
CHARACTERS, OWN, REPLY, COMMON, LONG, PIECE_MS = 8, 200, 96, 600, 1500, 50.0
CACHED, NEW = 2000, 40


def rows(setting: Setting) -> Iterator[Row]:
    """All rows of llama.cpp. Those with a rival stand alone where no llama-server is."""
    for name in ("llama_cpp", "gguf"):
        if importlib.util.find_spec(name) is None:
            raise Skipped(f"llama.cpp's rows need the package {name}")
    path = gguf(M100, setting.cache)
    binary = server_path(setting)
    cells = 8192 if setting.quick else 16384
    ours = Ours(_load(path, M100, cells))
    try:
        yield from _alone(ours, setting)
        yield _gap(ours, setting)
        yield _memory(ours)
        yield one_after_the_other(ours, "llama.cpp", setting)
        if binary is None:
            note = f"no llama-server to compare with: name one by --llama-server or {SERVER}"
            yield from _against(ours, None, setting, note)
        else:
            with Server(binary, path, cells) as server:
                yield from _against(ours, server, setting, "floor: llama-server, 8 slots, the same file")
    finally:
        ours.backend.close()
    if setting.option("large"):
        yield from _large(setting)


def _load(path: Path, shape: Shape, cells: int) -> Backend:
    each = shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * 2 * 2
    options = {"cache_bytes": cells * each}
    return registry.load(ModelSource(name="random", backend="llama_cpp", path=str(path), options=options))


def server_path(setting: Setting) -> Path | None:
    """The llama-server to compare with, if there is one.

    Raises:
        Skipped: one is named, and it is not there.
    """
    named = setting.option("llama_server") or os.environ.get(SERVER)
    if not named:
        return None
    if not Path(named).is_file():
        raise Skipped(f"there is no llama-server at {named}")
    return Path(named)


# Both sides.


class Ours:
    """The backend, asked with token ids."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def speak(
        self, ids: Sequence[int], limit: int, session: int | str, heard: Callable[[], None] = lambda: None
    ) -> int:
        """Generate ``limit`` tokens; ``heard`` is called at each piece. How many there were."""
        request = Request(
            prompt=Prompt((Segment("", ids=tuple(ids)),)),
            sampling=Sampling(temperature=0.7, top_p=0.95, top_k=40, seed=1, max_tokens=limit),
            session=str(session),
        )
        for item in self.backend.generate(request):
            if isinstance(item, Piece):
                heard()
            elif isinstance(item, Finish):
                return item.usage.generated_tokens
        raise AssertionError("no finish")


class Server:
    """A llama-server with a slot for each character, asked with token ids."""

    def __init__(self, binary: Path, model: Path, cells: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        threads = str(os.cpu_count() or 1)
        command = [str(binary), "-m", str(model), "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["-c", str(cells), "-np", str(CHARACTERS), "--kv-unified", "-t", threads, "-tb", threads]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Server:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.2)
        self.__exit__()
        raise Skipped("llama-server does not start with this model")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def speak(
        self, ids: Sequence[int], limit: int, session: int | str, heard: Callable[[], None] = lambda: None
    ) -> int:
        """As `Ours.speak`. ``session`` is the slot."""
        body = {
            "prompt": list(map(int, ids)),
            "n_predict": limit,
            "id_slot": int(session),
            "temperature": 0.7,
            "top_p": 0.95,
            "top_k": 40,
            "seed": 1,
            "samplers": ["top_k", "top_p", "temperature"],
            "ignore_eos": True,
            "cache_prompt": True,
            "stream": True,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise Skipped(f"llama-server answered {answer.status}: {answer.read(300)!r}")
        count = 0
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            content = json.loads(line[6:])
            if content.get("stop"):
                count = int(content["tokens_predicted"])
            else:
                heard()
        connection.close()
        return count


def at_once(side: Ours | Server, prompts: Sequence[Sequence[int]], limit: int) -> tuple[float, list[float]]:
    """Tokens a second of all characters together, and the seconds until each one's first token."""
    first = [0.0] * len(prompts)
    counts = [0] * len(prompts)
    failures: list[BaseException] = []
    start = threading.Barrier(len(prompts) + 1)

    def talk(at: int) -> None:
        def heard() -> None:
            first[at] = first[at] or time.perf_counter()

        try:
            start.wait()
            counts[at] = side.speak(prompts[at], limit, at, heard)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=talk, args=(at,)) for at in range(len(prompts))]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if failures:
        raise failures[0]
    return sum(counts) / took, [at - started for at in first]


def ids_of(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(SPOKEN, 3000, length).tolist()


def _against(ours: Ours, server: Server | None, setting: Setting, note: str) -> Iterator[Row]:
    sides: list[Ours | Server] = [ours] if server is None else [ours, server]
    prompts = [ids_of(OWN, seed) for seed in range(CHARACTERS)]
    for side in sides:  # Only replies are measured: the prompts are computed before.
        at_once(side, prompts, 2)
    speeds = interleaved(
        *((lambda side=side: at_once(side, prompts, REPLY)[0]) for side in sides), rounds=setting.rounds(6)
    )
    yield row_of(
        f"{CHARACTERS} characters at once, llama.cpp 100M",
        speeds,
        unit="tok/s",
        bar=0.95,
        better="higher",
        note=note,
    )
    fresh = itertools.count(1000, CHARACTERS + 1)

    def cold(side: Ours | Server) -> float:
        seed = next(fresh)
        common = ids_of(COMMON, seed)
        starts = [[*common, *ids_of(NEW, seed + 1 + at)] for at in range(CHARACTERS)]
        return max(at_once(side, starts, 4)[1]) * 1000

    slowest = interleaved(*((lambda side=side: cold(side)) for side in sides), rounds=setting.rounds(5))
    yield row_of(
        f"{CHARACTERS} start cold with a common {COMMON}-token prefix: slowest first token, llama.cpp 100M",
        slowest,
        unit="ms",
        bar=0.3,
        better="lower",
        note=note,
    )


def row_of(what: str, results: list[list[float]], *, bar: float, note: str, **more: Any) -> Row:
    if len(results) == 1:
        return Row(what=what, measured=median(results[0]), note=note, **more)
    note = f"{note}; paired ratio {paired_ratio(*results):.3f}"
    return Row(what=what, measured=median(results[0]), floor=median(results[1]), bar=bar, note=note, **more)


# One side.


def _alone(ours: Ours, setting: Setting) -> Iterator[Row]:
    """One character, against the bare runtime: the same context, driven by a loop without an engine."""
    backend: Any = ours.backend
    runtime = backend._engine._runtime
    bare, prompt = runtime.sequences - 1, ids_of(OWN, 50)
    sampling = Sampling(temperature=0.7, top_p=0.95, top_k=40, seed=1)

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
        sampler = Sampler(sampling)
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
        Sampler(sampling).pick(fill(ids, CACHED))
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


def _gap(ours: Ours, setting: Setting) -> Row:
    """The longest silence of a stream while another prompt is computed, beside what one step should take."""
    ratios: list[tuple[float, float]] = []
    for round_ in range(setting.rounds(5)):
        times: list[float] = []
        joined = threading.Event()
        begun = threading.Event()

        def heard(times: list[float] = times, begun: threading.Event = begun) -> None:
            times.append(time.perf_counter())
            if len(times) == 24:
                begun.set()

        limit = 240
        stream = threading.Thread(target=ours.speak, args=(ids_of(OWN, 70), limit, "stream", heard))
        stream.start()
        begun.wait()
        before = len(times)
        ours.speak(ids_of(LONG, 8000 + round_), 1, "joins")
        joined.set()
        after = len(times)
        stream.join()
        steps = [later - one for one, later in itertools.pairwise(times[:before])]
        gaps = [later - one for one, later in itertools.pairwise(times[before - 1 : after + 1])]
        ratios.append((max(gaps) * 1000, PIECE_MS + median(steps) * 1000))
        for session in ("stream", "joins"):
            ours.backend.release(session)
    return Row(
        what=f"longest gap in a running stream while a {LONG}-token prompt joins, llama.cpp 100M",
        measured=median([gap for gap, _ in ratios]),
        floor=median([floor for _, floor in ratios]),
        unit="ms",
        bar=1.5,
        note=f"floor: the piece time of {PIECE_MS:g} ms and one decode step; median of the longest in "
        f"{len(ratios)} rounds, the worst {max(gap for gap, _ in ratios):.0f} ms",
    )


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


def one_after_the_other(ours: Ours, runtime: str, setting: Setting) -> Row:
    """All characters at once against each after the other, the prompts computed before."""
    prompts = [ids_of(OWN, seed) for seed in range(CHARACTERS)]
    at_once(ours, prompts, 2)

    def one_by_one() -> float:
        started = time.perf_counter()
        count = sum(ours.speak(prompt, REPLY, at) for at, prompt in enumerate(prompts))
        return count / (time.perf_counter() - started)

    results = interleaved(lambda: at_once(ours, prompts, REPLY)[0], one_by_one, rounds=setting.rounds(4))
    return Row(
        what=f"{CHARACTERS} at once, {runtime} 100M",
        measured=median(results[0]),
        floor=median(results[1]),
        unit="tok/s",
        better="higher",
        note="floor: one after the other; a step of 8 tokens reads the weights once, and computes 8 times as much, "
        "which is what bounds a CPU",
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
