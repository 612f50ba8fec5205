"""The engine of many sequences over a toy memory that believes nothing: threads, failures, cancels, the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from npcsdk.backends.base import Backend, CancelFlag, Finish, Piece, Request
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.llama_engine import BatchingBackend
from npcsdk.backends.plan import Entry
from npcsdk.backends.sampler import Logits
from npcsdk.errors import BackendError
from tests.backends.conformance import GREEDY, WILD, Conformance, Said, follow, say
from tests.backends.toy import END, ToyRuntime, byte_fallback, byte_level, prompt


class Sequences:
    """Sequences of tokens; the logits depend on all of a sequence, so that a wrong one is a wrong reply."""

    name = "toy"
    model = "toy"
    context_length = 512
    cell_bytes = 10
    step_s = 0.0
    batch = 64
    ends = (END,)

    def __init__(
        self, vocabulary: int, *, cells: int = 2048, sequences: int = 8, partial: bool = True
    ) -> None:
        self.vocabulary = vocabulary
        self.cells = cells
        self.sequences = sequences
        self.partial = partial
        self.memory: list[list[int]] = [[] for _ in range(sequences)]
        self.steps: list[tuple[Entry, ...]] = []
        self.failures: set[int] = set()
        self.unable: set[str] = set()
        self.closed = False
        self.gate: threading.Event | None = None
        """Steps wait for it."""
        self.waiting = threading.Event()
        self._toy = ToyRuntime(vocabulary)

    def compute(self, entries: Sequence[Entry]) -> list[Logits]:
        assert not self.closed
        self.steps.append(tuple(entries))
        if self.gate is not None:
            self.waiting.set()
            assert self.gate.wait(30)
        assert sum(len(entry.tokens) for entry in entries) <= self.batch
        for entry in entries:
            sequence = self.memory[entry.sequence]
            assert len(sequence) == entry.start
            sequence += entry.tokens
            if len(self.steps) in self.failures:
                sequence.append(-1)  # What a failing runtime leaves behind is not to be trusted.
        if len(self.steps) in self.failures:
            raise RuntimeError("the toy was told to fail")
        return [self._toy.logits(self.memory[entry.sequence]) for entry in entries if entry.last]

    def cut(self, sequence: int, length: int) -> bool:
        if length and "cut" in self.unable:
            return False
        assert length <= len(self.memory[sequence])
        del self.memory[sequence][length:]
        return True

    def copy(self, source: int, sequence: int, length: int) -> bool:
        assert not self.memory[sequence]
        if "copy" in self.unable:
            return False
        self.memory[sequence] = self.memory[source][:length]
        return len(self.memory[sequence]) == length

    def save(self, sequence: int) -> bytes:
        return b"" if "save" in self.unable else repr(self.memory[sequence]).encode()

    def load(self, sequence: int, data: bytes) -> bool:
        assert not self.memory[sequence]
        self.memory[sequence] = [int(word) for word in data.decode().strip("[]").split(", ")] if data else []
        return bool(data)

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def make(*, prefix: bool | None = None, saved: int = 0, **more: object) -> tuple[BatchingBackend, Sequences]:
    encoding = TextEncoding(byte_level() if prefix is None else byte_fallback(prefix=prefix))
    runtime = Sequences(encoding.vocabulary, **more)  # type: ignore[arg-type]
    return BatchingBackend(runtime, encoding, saved_bytes=saved), runtime


class TestBatching(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend, _ = make()
        yield backend
        backend.close()


class TestBatchingByteFallback(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend, _ = make(prefix=True, cells=600, sequences=3, saved=3000)
        yield backend
        backend.close()


def spoken(backend: Backend, requests: Sequence[Request]) -> list[Said | BaseException]:
    """All of them at once, each in a thread."""
    results: dict[int, Said | BaseException] = {}

    def talk(at: int) -> None:
        try:
            results[at] = say(backend, requests[at])
        except BaseException as error:
            results[at] = error

    threads = [threading.Thread(target=talk, args=(at,)) for at in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [results[at] for at in range(len(requests))]


def test_many_threads_each_get_their_own_reply_and_share_steps() -> None:
    backend, runtime = make()
    world = "You live in Veldran. " * 10
    requests = [
        Request(prompt=prompt(f"I am {at}.", system=world), sampling=replace(WILD, seed=at), session=f"{at}")
        for at in range(12)  # more than there are sequences
    ]
    together = spoken(backend, requests)
    assert max(len(step) for step in runtime.steps) > 1
    for request, said in zip(requests, together, strict=True):
        alone, _ = make()
        assert isinstance(said, Said)
        assert said.text == say(alone, request).text
        alone.close()
    backend.close()


@pytest.mark.parametrize("unable", [{"cut"}, {"copy"}, {"cut", "copy", "save"}])
def test_a_memory_that_cannot_do_something_computes_again(unable: set[str]) -> None:
    backend, runtime = make(saved=5000, cells=700, sequences=3)
    runtime.unable = unable
    now = {name: prompt(f"I am {name}", system="gate " * 40) for name in "abcde"}
    for turn in range(3):
        for name in now:
            request = Request(prompt=now[name], sampling=replace(WILD, max_tokens=6, seed=turn), session=name)
            said = say(backend, request)
            alone, _ = make()
            assert said.text == say(alone, request).text
            alone.close()
            now[name] = follow(now[name], said, f"Line {turn}")
    backend.close()


def test_a_runtime_without_parts_keeps_whole_sequences_only() -> None:
    backend, _ = make(partial=False)
    now = prompt("Hello")
    said = say(backend, Request(prompt=now, sampling=replace(WILD, max_tokens=6), session="a"))
    after = follow(now, said, "And then?")
    warm = say(backend, Request(prompt=after, sampling=WILD, session="a"))
    assert warm.usage.cached_tokens >= said.usage.prompt_tokens
    assert say(backend, Request(prompt=now, sampling=WILD, session="b")).usage.cached_tokens == 0
    backend.close()


def test_a_failing_step_fails_who_was_in_it_and_nobody_after() -> None:
    backend, runtime = make()
    whole = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    runtime.failures = {len(runtime.steps) + 2}
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert caught.value.code == "runtime_failed"
    assert "told to fail" in caught.value.message
    assert backend.memory_bytes() == 0
    again = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert (again.text, again.usage.cached_tokens) == (whole.text, 0)
    backend.close()


def test_an_engine_that_breaks_says_so_and_nobody_waits() -> None:
    backend, runtime = make()
    runtime.cut = None  # type: ignore[assignment, method-assign]
    say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert caught.value.code == "runtime_failed"
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY))
    assert caught.value.code == "runtime_failed"
    backend.close()
    assert runtime.closed
    other, _ = make()
    assert say(other, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    other.close()


def test_a_cancel_stops_a_prefill_between_two_pieces_and_keeps_them() -> None:
    backend, runtime = make()
    runtime.gate = threading.Event()
    flag = CancelFlag()
    request = Request(prompt=prompt("Hello", system="gate " * 150), sampling=GREEDY, session="a", cancel=flag)
    results: list[Said] = []
    thread = threading.Thread(target=lambda: results.append(say(backend, request)))
    thread.start()
    assert runtime.waiting.wait(30)
    flag.set()
    runtime.gate.set()
    thread.join(30)
    (said,) = results
    assert (said.text, said.reason, len(runtime.steps)) == ("", "cancelled", 1)
    done = said.usage.computed_tokens
    assert 0 < done < said.usage.prompt_tokens - 1
    again = say(backend, replace(request, cancel=CancelFlag()))
    assert again.usage.cached_tokens == done
    backend.close()


def test_a_caller_that_goes_away_is_a_cancel() -> None:
    backend, runtime = make()
    generation = backend.generate(Request(prompt=prompt("Talk."), sampling=WILD, session="a"))
    assert isinstance(next(iter(generation)), Piece)
    del generation
    gc.collect()
    assert say(backend, Request(prompt=prompt("Hi."), sampling=GREEDY)).text
    assert not backend._engine._jobs  # pyright: ignore[reportPrivateUsage]
    del runtime
    backend.close()


def test_what_was_not_heard_before_a_cancel_was_not_said() -> None:
    backend, _ = make()
    flag = CancelFlag()
    generation = backend.generate(Request(prompt=prompt("Talk."), sampling=WILD, session="a", cancel=flag))
    first = next(iter(generation))
    say(backend, Request(prompt=prompt("You?"), sampling=WILD))  # Meanwhile the engine is ahead.
    flag.set()
    rest = list(generation)
    assert isinstance(first, Piece)
    assert len(rest) == 1
    assert isinstance(rest[0], Finish)
    assert rest[0].reason == "cancelled"
    backend.close()


def test_closing_ends_what_runs_and_what_waits() -> None:
    backend, runtime = make()
    runtime.gate = threading.Event()
    requests = [Request(prompt=prompt(f"Hello {at}"), sampling=WILD, session=f"{at}") for at in range(10)]
    closer = threading.Thread(target=lambda: (runtime.waiting.wait(30), runtime.gate.set(), backend.close()))  # type: ignore[union-attr]
    closer.start()
    for result in spoken(backend, requests):
        assert isinstance(result, BackendError | Said)
        assert isinstance(result, Said) or result.code == "backend_closed"
    closer.join(30)
    assert runtime.closed
    assert backend.memory_bytes() == 0
    with pytest.raises(BackendError) as caught:
        say(backend, requests[0])
    assert caught.value.code == "backend_closed"
    backend.release("a")


def test_a_backend_that_is_dropped_stops_its_thread() -> None:
    backend, runtime = make()
    say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY))
    thread = backend._engine._thread  # pyright: ignore[reportPrivateUsage]
    del backend
    gc.collect()
    thread.join(30)
    assert runtime.closed
    assert not thread.is_alive()
