"""A turn through the whole SDK: prompt tokens computed, the SDK's own time, decoding, memory of a conversation."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, Setting, Skipped, interleaved, paired_ratio
from npcsdk.backends.base import Backend, Finish, Piece, Request, Sampling, Segment, Usage
from npcsdk.backends.registry import load, resolve
from npcsdk.dialogue.conversation import Limits
from npcsdk.dialogue.world import World
from npcsdk.errors import ModelError
from npcsdk.events import End, Text
from npcsdk.memory.recall import Memory
from npcsdk.persona.loader import load_world
from npcsdk.persona.starter import shipped_world

__all__ = ["run"]

LINES = [
    "What is your name?",
    "When does the iron gate open?",
    "Please open the iron gate for me.",
    "And who may pass after dusk?",
    "Thank you. Where is the inn?",
    "What does a room cost there?",
    "Is there a smith in this town?",
    "What happened at the mine?",
    "Who found out about it?",
    "Point me to the chapel.",
    "What is the toll for a cart?",
    "I have a letter with the seal of the reeve.",
    "How long have you stood here?",
    "Do you ever sleep?",
    "Open the gate now, it is dawn.",
    "What do you know about the lake?",
    "Is it dangerous to swim in it?",
    "Which songs does the bard sing?",
    "Whom should I not trust?",
    "Farewell.",
]


class Counting(Backend):
    """A backend that passes everything on, and counts the prompt tokens that were new in each request."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities
        self.usages: list[tuple[int, Usage]] = []
        self._last: tuple[Segment, ...] = ()

    def count(self, text: str) -> int:
        return self.inner.count(text)

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        segments = request.prompt.segments
        same = 0
        for old, new in zip(self._last, segments, strict=False):
            if old != new:
                break
            same += 1
        # What the model sampled itself is in its cache already; all the rest after the common beginning is new.
        new = sum(
            1 if segment.control else self.count(segment.text)
            for segment in segments[same:]
            if segment.ids is None
        )
        self._last = segments
        for item in self.inner.generate(request):
            if isinstance(item, Finish):
                self.usages.append((new, item.usage))
            yield item

    def release(self, session: str) -> None:
        self.inner.release(session)

    def memory_bytes(self) -> int:
        return self.inner.memory_bytes()


def run(setting: Setting) -> Iterator[Row]:
    try:
        source = resolve(setting.model)
        backend = load(source)
    except ModelError as error:
        raise Skipped(str(error)) from error
    definition = load_world(shipped_world())
    counting = Counting(backend)
    world = World(definition, counting, Memory.open(None, definition.lore), source, Limits(rounds=2))
    try:
        yield from _twenty_turns(world, counting)
        yield from _decode(world, backend, setting)
        yield _idle_conversations(definition, source, backend, setting)
    finally:
        world.close()
        backend.close()


def _twenty_turns(world: World, counting: Counting) -> Iterator[Row]:
    conversation = world.open("bram")
    own: list[float] = []
    recall: list[float] = []
    new = computed = trimmed_new = trimmed_computed = trimmed_turns = 0
    actions = 0
    for line in LINES:
        before = len(counting.usages)
        end: End | None = None
        state = {"nearby": ["iron gate", "postern"], "place": "the iron gate", "time": "day"}
        for event in conversation.say(line, state=state, seed=1):
            if event.event == "action":
                actions += 1
                conversation.result(event.id, "done")
            end = event if isinstance(event, End) else end
        assert end is not None
        own.append(end.timings.sdk_ms)
        recall.append(end.timings.recall_ms)
        turn_new = sum(count for count, _ in counting.usages[before:])
        turn_computed = sum(usage.computed_tokens for _, usage in counting.usages[before:])
        if any(item.what.startswith("history:") for item in end.dropped):
            trimmed_turns += 1
            trimmed_new += turn_new
            trimmed_computed += turn_computed
        else:
            new += turn_new
            computed += turn_computed
    yield Row(
        what="prompt tokens computed, 20 turns with recall and actions",
        measured=computed,
        floor=new,
        unit="tokens",
        bar=1.05,
        note=f"floor: the new tokens; {actions} actions; {trimmed_turns} trimming turns apart "
        f"({trimmed_computed} computed, {trimmed_new} new)",
    )
    yield Row(
        what="the SDK's own time per turn, outside runtime and recall, p50",
        measured=statistics.median(own),
        unit="ms",
        bar=2.0,
        note=f"largest {max(own):.1f} ms; recall p50 {statistics.median(recall):.1f} ms",
    )


def _decode(world: World, backend: Backend, setting: Setting) -> Iterator[Row]:
    """Tokens a second of a whole turn against the same request given to the backend alone."""
    recorded: list[Request] = []

    class Recording(Counting):
        def generate(self, request: Request) -> Iterator[Piece | Finish]:
            request = replace(request, stop=(), sampling=LONG, constraint=None)
            recorded.append(request)
            return self.inner.generate(request)

    recording = Recording(backend)
    long = World(world.definition, recording, Memory.open(None, ()), world.source)
    conversation = long.open("mara")

    def speed(items: Iterator[Any]) -> float:
        """Tokens a second from the first piece of text to the last, by the wall clock."""
        times: list[float] = []
        generated = 0
        for item in items:
            if isinstance(item, Text | Piece):
                times.append(time.perf_counter())
            elif isinstance(item, End):
                generated = item.tokens.generated
            elif isinstance(item, Finish):
                generated = item.usage.generated_tokens
        return (generated - 1) / (times[-1] - times[0])

    def through_sdk() -> float:
        return speed(conversation.say("Tell me everything."))

    def alone() -> float:
        return speed(backend.generate(replace(recorded[-1], session="alone")))

    whole, bare = interleaved(through_sdk, alone, rounds=setting.rounds(10))
    ratio = paired_ratio(whole, bare)
    floor = statistics.median(bare)
    yield Row(
        what=f"decode, tokens per second, a whole turn ({backend.capabilities.model})",
        measured=ratio * floor,
        floor=floor,
        unit="tok/s",
        bar=0.9,
        better="higher",
        note="floor: the backend alone; the backend against a bare loop over the runtime is in `backends`",
    )
    conversation.close()
    backend.release("alone")


LONG = Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=1, max_tokens=128)


FILL = 30
"""Conversations that fill the pool of session caches."""


def _idle_conversations(definition: Any, source: Any, backend: Backend, setting: Setting) -> Row:
    many = 40 if setting.quick else 200
    world = World(definition, backend, Memory.open(None, definition.lore), source)

    def talk(number: int) -> None:
        list(world.open("bram", player=f"player {number}").say("Hello, who are you?", seed=number))

    # First fill the cache pool: once it evicts, what still grows is the conversations' own.
    for number in range(FILL):
        talk(number)
    gc.collect()
    before, cached = _resident_bytes(), backend.memory_bytes()
    for number in range(FILL, FILL + many):
        talk(number)
    gc.collect()
    pooled = backend.memory_bytes()
    grown = _resident_bytes() - before - (pooled - cached)
    world.close()
    return Row(
        what="memory of an idle conversation beyond the model and the cache pool",
        measured=grown / many / 2**20,
        unit="MB",
        bar=1.0,
        note=f"{many} conversations; session caches hold {pooled / 2**20:.0f} MB of their budget",
    )


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
