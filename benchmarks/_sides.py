"""Runtimes side by side: what is measured of each that computes many characters, and llama-server as the rival.

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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._gguf import SPOKEN, gguf
from benchmarks.harness import Row, Setting, Skipped, interleaved, median, paired_ratio
from benchmarks.shapes import M100
from npcsdk.backends.base import Backend, Finish, Piece, Prompt, Request, Sampling, Segment

__all__ = [
    "CACHED",
    "NEW",
    "OWN",
    "REPLY",
    "SAMPLING",
    "SERVER",
    "Ours",
    "Server",
    "at_once",
    "at_once_rows",
    "by_steps",
    "gap",
    "ids_of",
    "one_after_the_other",
    "row_of",
    "server_path",
]

SERVER = "NPCSDK_LLAMA_SERVER"
CHARACTERS, OWN, REPLY, COMMON, LONG, PIECE_MS = 8, 200, 96, 600, 1500, 50.0
CACHED, NEW = 2000, 40
SAMPLING = Sampling(temperature=0.7, top_p=0.95, top_k=40, seed=1)


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
            sampling=replace(SAMPLING, max_tokens=limit),
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


def row_of(what: str, results: list[list[float]], *, bar: float, note: str, **more: Any) -> Row:
    if len(results) == 1:
        return Row(what=what, measured=median(results[0]), note=note, **more)
    note = f"{note}; paired ratio {paired_ratio(*results):.3f}"
    return Row(what=what, measured=median(results[0]), floor=median(results[1]), bar=bar, note=note, **more)


def at_once_rows(
    ours: Ours, runtime: str, setting: Setting, *, cells: int, bar: float, note: str
) -> Iterator[Row]:
    """Characters at once, and that start at once, against llama-server; alone where there is none.

    Args:
        cells: tokens that the server keeps.
        bar: how many times the server's speed ours is to be.
        note: how the two models are related.
    """
    binary = server_path(setting)
    if binary is None or importlib.util.find_spec("gguf") is None:
        yield from _beside(
            [ours], runtime, setting, bar, f"no llama-server: name one by --llama-server or {SERVER}"
        )
        return
    with Server(binary, gguf(M100, setting.cache), cells) as server:
        yield from _beside([ours, server], runtime, setting, bar, f"floor: llama-server, 8 slots, {note}")


def _beside(
    sides: Sequence[Ours | Server], runtime: str, setting: Setting, bar: float, note: str
) -> Iterator[Row]:
    prompts = [ids_of(OWN, seed) for seed in range(CHARACTERS)]
    for side in sides:  # Only replies are measured: the prompts are computed before.
        at_once(side, prompts, 2)
    together = [(lambda side=side: at_once(side, prompts, REPLY)[0]) for side in sides]
    speeds = interleaved(*together, rounds=setting.rounds(3), warm_up=0)
    yield row_of(
        f"{CHARACTERS} characters at once, {runtime} 100M",
        speeds,
        unit="tok/s",
        bar=bar,
        better="higher",
        note=note,
    )
    fresh = itertools.count(1000, CHARACTERS + 1)

    def cold(side: Ours | Server) -> float:
        seed = next(fresh)
        common = ids_of(COMMON, seed)
        starts = [[*common, *ids_of(NEW, seed + 1 + at)] for at in range(CHARACTERS)]
        return max(at_once(side, starts, 4)[1]) * 1000

    starts = [(lambda side=side: cold(side)) for side in sides]
    slowest = interleaved(*starts, rounds=2, warm_up=0)
    yield row_of(
        f"{CHARACTERS} start cold with a common {COMMON}-token prefix: slowest first token, {runtime} 100M",
        slowest,
        unit="ms",
        bar=0.3,
        better="lower",
        note=note,
    )


def by_steps(
    stream: Callable[[], Iterator[object]], bare: Callable[[], Callable[[], object]], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of each token of a reply, and of each step of a bare loop that ``bare`` begins.

    They go token by token in changing order, so that what disturbs the machine disturbs both alike.
    """
    ours: list[float] = []
    floor: list[float] = []
    clock = time.perf_counter
    for _ in range(rounds):
        generation = stream()
        next(generation)
        step = bare()
        for at in range(2 * (REPLY - 8)):
            started = clock()
            if at % 4 in (0, 3):
                step()
                floor.append(clock() - started)
            elif isinstance(piece := next(generation, None), Piece) and len(piece.ids) == 1:
                ours.append(clock() - started)
        generation.close()  # type: ignore[attr-defined]
    return ours, floor


def gap(ours: Ours, runtime: str, setting: Setting) -> Row:
    """The longest silence of a stream while another prompt is computed, beside what one step should take."""
    ratios: list[tuple[float, float]] = []
    for round_ in range(setting.rounds(3)):
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
        what=f"longest gap in a running stream while a {LONG}-token prompt joins, {runtime} 100M",
        measured=median([gap for gap, _ in ratios]),
        floor=median([floor for _, floor in ratios]),
        unit="ms",
        bar=1.5,
        note=f"floor: the piece time of {PIECE_MS:g} ms and one decode step; median of the longest in "
        f"{len(ratios)} rounds, the worst {max(gap for gap, _ in ratios):.0f} ms",
    )


def one_after_the_other(ours: Ours, runtime: str) -> Row:
    """All characters at once against each after the other, the prompts computed before."""
    prompts = [ids_of(OWN, seed) for seed in range(CHARACTERS)]
    at_once(ours, prompts, 2)

    def one_by_one() -> float:
        started = time.perf_counter()
        count = sum(ours.speak(prompt, REPLY, at) for at, prompt in enumerate(prompts))
        return count / (time.perf_counter() - started)

    results = interleaved(lambda: at_once(ours, prompts, REPLY)[0], one_by_one, rounds=1, warm_up=0)
    return Row(
        what=f"{CHARACTERS} at once against one after the other, {runtime} 100M",
        measured=median(results[0]),
        floor=median(results[1]),
        unit="tok/s",
        better="higher",
        note="floor: one after the other; a step of 8 tokens reads the weights once, and computes 8 times as much, "
        "which is what bounds a CPU",
    )
