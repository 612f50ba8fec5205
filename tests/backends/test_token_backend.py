"""The generation loop over a toy model, which shows every append: reuse, eviction, pieces, failures, priorities."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.backends.base import CancelFlag, Constraint, Finish, Prompt, Request, Sampling, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.token_backend import TokenBackend, common_prefix
from npcsdk.errors import BackendError
from tests.backends.conformance import GREEDY, WILD, follow, say
from tests.backends.toy import END, TURN, ToyRuntime, byte_level, prompt, toy_backend

ids = st.lists(st.integers(0, 3), max_size=40)


@given(ids, ids, ids)
def test_common_prefix_is_the_longest_but_one_token(shared: list[int], a: list[int], b: list[int]) -> None:
    cached, wanted = shared + a, shared + b
    length = common_prefix(cached, wanted)
    assert cached[:length] == wanted[:length]
    assert length <= max(len(wanted) - 1, 0)
    longest = length >= len(wanted) - 1 or length == len(cached) or cached[length] != wanted[length]
    assert longest


def test_twenty_turns_compute_the_new_tokens_only() -> None:
    backend, runtime = toy_backend(context_length=4096)
    now = prompt("Hello", system="You keep the iron gate. " * 20)
    said = say(backend, Request(prompt=now, sampling=replace(WILD, max_tokens=8), session="a"))
    for turn in range(20):
        runtime.pieces.clear()
        before = said.usage.prompt_tokens + len(said.ids)
        now = follow(now, said, f"Line {turn}")
        said = say(backend, Request(prompt=now, sampling=replace(WILD, max_tokens=8, seed=turn), session="a"))
        assert said.usage.computed_tokens <= said.usage.prompt_tokens - before + 1
        # Every append was reported: the prompt's rest, and a token for each but the last of the reply.
        decoded = said.usage.generated_tokens - (said.reason != "stop")
        assert sum(runtime.pieces) == said.usage.computed_tokens + decoded


def test_the_least_recently_used_session_is_evicted_and_comes_back_the_same() -> None:
    backend, runtime = toy_backend(caches=2)
    first = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    for name in ("b", "c"):
        say(backend, Request(prompt=prompt("Other"), sampling=GREEDY, session=name))
    assert backend.memory_bytes() == 2 * runtime.cache_bytes
    assert runtime.caches == 2
    back = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert back.text == first.text
    # An evicted cache is taken over: what characters share at the beginning is not computed again.
    assert 0 < back.usage.cached_tokens < back.usage.prompt_tokens - 1


def test_a_thousand_turns_do_not_grow() -> None:
    backend, runtime = toy_backend(caches=3)
    threads = threading.active_count()
    short = replace(GREEDY, max_tokens=1)
    for turn in range(1000):
        asked = prompt(f"Line {turn % 17}"[: 1 + turn % 7])
        said = say(backend, Request(prompt=asked, sampling=short, session=f"{turn % 9}"))
        assert said.usage.generated_tokens == 1
    assert backend.memory_bytes() == 3 * runtime.cache_bytes
    assert runtime.caches == 3
    assert threading.active_count() == threads


def test_released_sessions_hold_no_memory() -> None:
    backend, runtime = toy_backend()
    say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert backend.memory_bytes() == runtime.cache_bytes
    backend.release("a")
    assert backend.memory_bytes() == 0


def test_a_request_waits_for_a_cache_and_a_cancel_ends_the_wait() -> None:
    backend, _ = toy_backend(caches=1)
    paused = backend.generate(Request(prompt=prompt("Hello"), sampling=WILD, session="a"))
    next(iter(paused))
    flag = CancelFlag()
    got: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: got.append(
                say(backend, Request(prompt=prompt("Hm"), sampling=GREEDY, session="b", cancel=flag)).reason
            )
        ),
        threading.Thread(
            target=lambda: got.append(
                say(backend, Request(prompt=prompt("Hm"), sampling=GREEDY, session="c")).reason
            )
        ),
    ]
    threads[0].start()
    flag.set()
    threads[0].join(20)
    assert got == ["cancelled"]
    threads[1].start()
    for _ in paused:
        pass
    threads[1].join(20)
    assert len(got) == 2


def test_prefill_goes_in_pieces_and_a_cancel_stops_between_them() -> None:
    backend, runtime = toy_backend(context_length=4096)
    flag = CancelFlag()
    append = type(runtime.new_cache()).append

    class Cancelling(type(runtime.new_cache())):  # type: ignore[misc]
        def append(self, ids):  # type: ignore[no-untyped-def]
            flag.set()
            return append(self, ids)

    runtime.new_cache = lambda: Cancelling(runtime)  # type: ignore[method-assign]
    long = prompt("Hello", system="gate " * 400)
    said = say(backend, Request(prompt=long, sampling=GREEDY, session="a", cancel=flag))
    assert (said.text, said.reason) == ("", "cancelled")
    assert len(runtime.pieces) == 1
    assert 0 < said.usage.computed_tokens < said.usage.prompt_tokens - 1
    # What was computed is still there.
    done = said.usage.computed_tokens
    assert say(backend, Request(prompt=long, sampling=GREEDY, session="a")).usage.cached_tokens == done


def test_a_failing_runtime_is_an_error_and_the_session_starts_afresh() -> None:
    backend, runtime = toy_backend()
    whole = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    runtime.failures = {runtime.calls + 2}
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert caught.value.code == "runtime_failed"
    assert "told to fail" in caught.value.message
    assert backend.memory_bytes() == 0
    again = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="a"))
    assert again.text == whole.text
    assert again.usage.cached_tokens == 0


def test_a_cache_that_cannot_be_made_is_an_error_and_counts_for_nothing() -> None:
    backend, runtime = toy_backend()
    make = runtime.new_cache
    runtime.new_cache = lambda: (_ for _ in ()).throw(MemoryError("no room"))  # type: ignore[method-assign]
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY))
    assert caught.value.code == "cache_failed"
    assert backend.memory_bytes() == 0
    runtime.new_cache = make  # type: ignore[method-assign]
    assert say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY)).text


def forced(tokens: list[int]) -> tuple[TokenBackend, TextEncoding]:
    """A backend whose model says exactly these tokens."""
    encoding = TextEncoding(byte_level())
    runtime = ToyRuntime(encoding.vocabulary)
    runtime.ends = (END,)
    start: list[int] = []

    def logits(seen: list[int]):  # type: ignore[no-untyped-def]
        if not start:
            start.append(len(seen))
        values = ToyRuntime.logits(runtime, [0])
        values[tokens[min(len(seen) - start[0], len(tokens) - 1)]] = 100.0
        return values

    runtime.logits = logits  # type: ignore[method-assign, assignment]
    return TokenBackend(runtime, encoding, budget=10_000), encoding


def test_a_stop_that_is_a_control_token_ends_by_its_id() -> None:
    encoding = TextEncoding(byte_level())
    turn = encoding.token_id(TURN)
    assert turn is not None
    backend, _ = forced([*encoding.encode_text("Farewell"), turn, *encoding.encode_text("never")])
    said = say(backend, Request(prompt=prompt("Bye"), sampling=GREEDY, stop=(TURN,)))
    assert (said.text, said.reason) == ("Farewell", "stop")


def test_a_stop_spelled_out_in_text_ends_as_well() -> None:
    encoding = TextEncoding(byte_level())
    backend, _ = forced(encoding.encode_text(f"Farewell{TURN}never"))
    said = say(backend, Request(prompt=prompt("Bye"), sampling=GREEDY, stop=(TURN,)))
    assert (said.text, said.reason) == ("Farewell", "stop")


def test_control_tokens_that_are_no_stop_are_never_said() -> None:
    encoding = TextEncoding(byte_level())
    control = encoding.token_id("<extra_id_0>")
    assert control is not None
    backend, _ = forced([control])
    said = say(backend, Request(prompt=prompt("Bye"), sampling=replace(GREEDY, max_tokens=6), stop=(TURN,)))
    assert encoding.control.isdisjoint(said.ids)
    assert said.usage.generated_tokens == 6


def test_control_tokens_that_the_model_does_not_have_do_no_harm() -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<image>", "<video>"])
    encoding = TextEncoding(tokenizer, vocabulary=byte_level().get_vocab_size())
    runtime = ToyRuntime(encoding.vocabulary)
    backend = TokenBackend(runtime, encoding, budget=10_000)
    assert say(backend, Request(prompt=prompt("Hi"), sampling=GREEDY, stop=("<image>",))).text
    held = Constraint(opening="<toolcall>", closing="</toolcall>")
    assert say(
        backend, Request(prompt=prompt("Hi"), sampling=GREEDY, stop=("<image>",), constraint=held)
    ).text
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=Prompt((Segment("<image>", control=True),)), sampling=GREEDY))
    assert caught.value.code == "token_unknown"


def test_text_comes_in_whole_characters_with_their_ids() -> None:
    encoding = TextEncoding(byte_level())
    tokens = encoding.encode_text("Grüß dich 🗡️ 你好")
    backend, _ = forced([*tokens, END])
    said = say(backend, Request(prompt=prompt("Hi"), sampling=replace(GREEDY, max_tokens=60)))
    assert said.text == "Grüß dich 🗡️ 你好"
    assert said.ids == tokens
    for piece in said.pieces:
        assert encoding.decode(piece.ids) == piece.text


def test_foreign_ids_and_empty_prompts_are_refused() -> None:
    backend, runtime = toy_backend()
    for bad in ((runtime.vocabulary,), (-1,)):
        with pytest.raises(BackendError) as caught:
            say(backend, Request(prompt=Prompt((Segment("x", ids=bad),)), sampling=GREEDY))
        assert caught.value.code == "token_unknown"
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=Prompt(()), sampling=GREEDY))
    assert caught.value.code == "prompt_empty"


def test_no_tokens_asked_for_are_none_given() -> None:
    backend, runtime = toy_backend()
    said = say(backend, Request(prompt=prompt("Hi"), sampling=Sampling(max_tokens=0)))
    assert (said.text, said.reason, runtime.pieces) == ("", "length", [])


def test_a_closed_backend_says_so_and_a_running_reply_ends() -> None:
    backend, _ = toy_backend()
    running = backend.generate(Request(prompt=prompt("Hi"), sampling=WILD))
    next(iter(running))
    backend.close()
    with pytest.raises(BackendError) as caught:
        list(running)
    assert caught.value.code == "backend_closed"
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hi"), sampling=GREEDY))
    assert caught.value.code == "backend_closed"
    assert backend.memory_bytes() == 0


def test_one_session_twice_at_once_gives_each_its_own_reply() -> None:
    backend, _ = toy_backend()
    one = backend.generate(Request(prompt=prompt("Hello"), sampling=WILD, session="a"))
    head = next(iter(one))
    two = say(backend, Request(prompt=prompt("Other"), sampling=WILD, session="a"))
    rest = [item for item in one if not isinstance(item, Finish)]
    alone, _ = toy_backend()
    assert two.text == say(alone, Request(prompt=prompt("Other"), sampling=WILD)).text
    assert (
        "".join(piece.text for piece in [head, *rest])
        == say(alone, Request(prompt=prompt("Hello"), sampling=WILD)).text
    )  # type: ignore[union-attr]
