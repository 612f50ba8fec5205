"""What every backend has to do. Subclass `Conformance` in a test module and give it a fixture ``backend``.

A test that needs a capability that the backend does not claim is skipped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from npcsdk.backends.base import (
    Backend,
    CancelFlag,
    Constraint,
    Finish,
    Piece,
    Prompt,
    Request,
    Sampling,
    Segment,
    Usage,
)
from npcsdk.errors import BackendError, PromptTooLong
from tests.backends.toy import prompt

GREEDY = Sampling(temperature=0, max_tokens=24)
WILD = Sampling(temperature=1.3, top_k=0, top_p=1.0, seed=11, max_tokens=40)


@dataclass
class Said:
    """A whole generation."""

    pieces: list[Piece] = field(default_factory=list[Piece])
    finish: Finish | None = None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def ids(self) -> list[int]:
        return [number for piece in self.pieces for number in piece.ids]

    @property
    def usage(self) -> Usage:
        assert self.finish is not None
        return self.finish.usage

    @property
    def reason(self) -> str:
        assert self.finish is not None
        return self.finish.reason


def say(backend: Backend, request: Request) -> Said:
    said = Said()
    for item in backend.generate(request):
        assert said.finish is None, "nothing may follow the finish"
        if isinstance(item, Finish):
            said.finish = item
        else:
            assert item.text, "a piece has text"
            item.text.encode()  # whole code points: half a pair would raise
            said.pieces.append(item)
    assert said.finish is not None, "a generation ends with a finish"
    return said


def need(backend: Backend, *names: str) -> None:
    for name in names:
        if not getattr(backend.capabilities, name):
            pytest.skip(f"{backend.capabilities.backend} does not claim {name}")


def follow(before: Prompt, said: Said, line: str) -> Prompt:
    """The next turn's prompt: what was said as it was sampled, then a new line."""
    reply = (Segment(piece.text, ids=piece.ids or None) for piece in said.pieces)
    more = (
        Segment("\n<extra_id_1>User\n", control=True),
        Segment(line),
        Segment("\n<extra_id_1>Assistant\n", control=True),
    )
    return Prompt((*before.segments, *reply, *more))


def long_prompt(words: int) -> Prompt:
    return prompt(
        "So?", system=" ".join(["gate", "iron", "dawn", "smith", "king"][at % 5] for at in range(words))
    )


class Conformance:
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        raise NotImplementedError

    # The form of a generation.

    def test_it_speaks_and_says_why_it_stopped(self, backend: Backend) -> None:
        said = say(backend, Request(prompt=prompt("Good day!"), sampling=GREEDY))
        assert said.text
        assert said.reason in ("stop", "length")

    def test_usage_adds_up(self, backend: Backend) -> None:
        said = say(backend, Request(prompt=prompt("Good day!"), sampling=WILD, session="usage"))
        usage = said.usage
        assert usage.prompt_tokens == usage.cached_tokens + usage.computed_tokens > 0
        assert 0 < usage.generated_tokens <= WILD.max_tokens
        assert usage.prefill_s >= 0
        assert usage.decode_s >= 0
        if backend.capabilities.token_ids:
            assert len(said.ids) <= usage.generated_tokens

    def test_length_is_a_limit(self, backend: Backend) -> None:
        said = say(backend, Request(prompt=prompt("Good day!"), sampling=replace(GREEDY, max_tokens=2)))
        assert said.usage.generated_tokens <= 2
        assert said.reason == "length"

    def test_count_counts_text(self, backend: Backend) -> None:
        assert backend.count("") == 0
        assert 0 < backend.count("the gate") < backend.count("the gate " * 20)
        assert backend.count("<extra_id_1>") > 1

    # Stops.

    def test_a_stop_string_ends_the_reply_and_is_not_shown(self, backend: Backend) -> None:
        whole = say(backend, Request(prompt=prompt("Speak."), sampling=replace(GREEDY, max_tokens=40))).text
        assert len(whole) > 8
        for begin, end in ((4, 5), (3, 7), (5, 8)):
            stop = whole[begin:end]
            said = say(
                backend,
                Request(prompt=prompt("Speak."), sampling=replace(GREEDY, max_tokens=40), stop=(stop,)),
            )
            assert said.text == whole[: whole.index(stop)]
            assert said.reason == "stop"

    def test_a_stop_that_does_not_come_changes_nothing(self, backend: Backend) -> None:
        whole = say(backend, Request(prompt=prompt("Speak."), sampling=GREEDY))
        again = say(
            backend, Request(prompt=prompt("Speak."), sampling=GREEDY, stop=(whole.text + "!", "\x01\x02"))
        )
        assert again.text == whole.text

    # Ids.

    def test_ids_of_pieces_make_a_prompt_that_says_the_same(self, backend: Backend) -> None:
        need(backend, "token_ids")
        before = prompt("Good day!")
        said = say(backend, Request(prompt=before, sampling=WILD, session="ids"))
        known = [piece for piece in said.pieces if piece.ids]
        assert known
        after = Prompt((*before.segments, *(Segment(piece.text, ids=piece.ids) for piece in known)))
        usage = say(backend, Request(prompt=after, sampling=GREEDY)).usage
        plain = say(backend, Request(prompt=before, sampling=GREEDY)).usage
        assert usage.prompt_tokens == plain.prompt_tokens + sum(len(piece.ids) for piece in known)

    # Seeds.

    def test_a_seed_repeats_itself(self, backend: Backend) -> None:
        need(backend, "seeded")
        first, second = (say(backend, Request(prompt=prompt("Well?"), sampling=WILD)) for _ in range(2))
        assert first.text == second.text

    # Cancelling.

    def test_a_cancel_before_the_start_says_nothing(self, backend: Backend) -> None:
        flag = CancelFlag()
        flag.set()
        said = say(backend, Request(prompt=prompt("Hm?"), sampling=GREEDY, cancel=flag))
        assert (said.text, said.reason) == ("", "cancelled")

    def test_a_cancel_stops_within_a_token(self, backend: Backend) -> None:
        flag = CancelFlag()
        pieces = 0
        for item in backend.generate(Request(prompt=prompt("Talk."), sampling=WILD, cancel=flag)):
            if isinstance(item, Finish):
                assert item.reason == "cancelled"
                break
            pieces += 1
            flag.set()
        assert pieces == 1

    def test_closing_the_iterator_leaves_the_backend_usable(self, backend: Backend) -> None:
        generation = backend.generate(Request(prompt=prompt("Talk."), sampling=WILD, session="closed"))
        next(iter(generation))
        generation.close()  # type: ignore[attr-defined]
        assert say(backend, Request(prompt=prompt("Talk."), sampling=GREEDY, session="closed")).text

    # Limits.

    def test_a_prompt_that_does_not_fit_names_both_numbers(self, backend: Backend) -> None:
        window = backend.capabilities.context_length
        with pytest.raises(PromptTooLong) as caught:
            say(backend, Request(prompt=long_prompt(window + 50), sampling=GREEDY))
        assert str(window) in caught.value.message
        numbers = [
            int(word.strip(",.")) for word in caught.value.message.split() if word.strip(",.").isdigit()
        ]
        assert max(numbers) > window
        assert caught.value.code == "prompt_too_long"
        assert say(backend, Request(prompt=prompt("Still there?"), sampling=GREEDY)).text

    def test_a_reply_ends_at_the_window(self, backend: Backend) -> None:
        window = backend.capabilities.context_length
        words = window
        while True:  # The longest prompt that fits.
            try:
                said = say(
                    backend,
                    Request(prompt=long_prompt(words), sampling=replace(WILD, max_tokens=1000), session="w"),
                )
                break
            except PromptTooLong:
                words -= max(1, words // 20)
        assert said.usage.prompt_tokens + said.usage.generated_tokens <= window

    # Sessions.

    def test_a_warm_turn_computes_only_what_is_new(self, backend: Backend) -> None:
        need(backend, "sessions", "token_ids")
        now = prompt("Good day!", system="You keep the gate. " * 10)
        said = say(backend, Request(prompt=now, sampling=replace(WILD, max_tokens=12), session="warm"))
        for turn in range(3):
            line = f"And then? {turn}"
            after = follow(now, said, line)
            size_now = said.usage.prompt_tokens + len(said.ids)
            said = say(
                backend,
                Request(prompt=after, sampling=replace(WILD, max_tokens=12, seed=turn), session="warm"),
            )
            new = said.usage.prompt_tokens - size_now
            assert said.usage.computed_tokens <= new + 1
            now = after

    def test_warm_says_what_cold_says(self, backend: Backend) -> None:
        need(backend, "sessions", "token_ids")
        now = prompt("Good day!")
        said = say(backend, Request(prompt=now, sampling=GREEDY, session="same"))
        # A reply of generated tokens in the cache may differ in the last digits; the prompt's own part may not.
        warm = say(backend, Request(prompt=now, sampling=GREEDY, session="same"))
        assert warm.usage.cached_tokens == warm.usage.prompt_tokens - 1
        other = prompt("Good day!", "Hm.", "Who are you?")
        warm_other = say(backend, Request(prompt=other, sampling=GREEDY, session="same"))
        cold_other = say(backend, Request(prompt=other, sampling=GREEDY, session="never seen before"))
        assert warm.text == said.text
        assert warm_other.text == cold_other.text
        assert warm_other.usage.cached_tokens > 0

    def test_a_shorter_prompt_after_a_longer_one(self, backend: Backend) -> None:
        need(backend, "sessions")
        long, short = prompt("One", "Two", "Three"), prompt("One")
        cold = say(backend, Request(prompt=short, sampling=GREEDY)).text
        say(backend, Request(prompt=long, sampling=GREEDY, session="cut"))
        assert say(backend, Request(prompt=short, sampling=GREEDY, session="cut")).text == cold

    def test_prompts_that_take_turns_in_one_session(self, backend: Backend) -> None:
        need(backend, "sessions")
        prompts = [prompt("One", "Two", "Three"), prompt("One", "Six"), prompt("Four")]
        cold = [say(backend, Request(prompt=one, sampling=GREEDY, session=None)).text for one in prompts]
        for at in (0, 1, 0, 2, 1, 2, 0):
            assert (
                say(backend, Request(prompt=prompts[at], sampling=GREEDY, session="turns")).text == cold[at]
            )

    def test_a_released_session_starts_cold_and_says_the_same(self, backend: Backend) -> None:
        need(backend, "sessions")
        first = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="gone"))
        backend.release("gone")
        backend.release("gone")
        backend.release("nobody")
        again = say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY, session="gone"))
        assert again.text == first.text

    def test_a_cancelled_reply_leaves_a_sound_session(self, backend: Backend) -> None:
        need(backend, "sessions")
        flag = CancelFlag()
        for _ in backend.generate(
            Request(prompt=prompt("Talk."), sampling=WILD, session="cancelled", cancel=flag)
        ):
            flag.set()
        next_prompt = prompt("Talk.", "Well", "Go on.")
        cold = say(backend, Request(prompt=next_prompt, sampling=GREEDY)).text
        assert say(backend, Request(prompt=next_prompt, sampling=GREEDY, session="cancelled")).text == cold

    # Threads.

    def test_conversations_in_threads_do_not_mix(self, backend: Backend) -> None:
        lines = ["Who goes there?", "What do you sell?", "Open the gate!"]
        alone = [say(backend, Request(prompt=prompt(line), sampling=GREEDY)).text for line in lines]
        together: list[list[str]] = [[] for _ in lines]
        failures: list[BaseException] = []

        def talk(at: int) -> None:
            try:
                for _ in range(3):
                    together[at].append(
                        say(
                            backend,
                            Request(prompt=prompt(lines[at]), sampling=GREEDY, session=f"thread {at}"),
                        ).text
                    )
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=talk, args=(at,)) for at in range(len(lines))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        assert together == [[text] * 3 for text in alone]

    def test_a_paused_reply_does_not_hold_up_another(self, backend: Backend) -> None:
        paused = backend.generate(Request(prompt=prompt("Talk."), sampling=WILD, session="paused"))
        first = next(iter(paused))
        assert isinstance(first, Piece)
        assert say(backend, Request(prompt=prompt("And you?"), sampling=GREEDY, session="other")).text
        rest = "".join(item.text for item in paused if isinstance(item, Piece))
        whole = say(backend, Request(prompt=prompt("Talk."), sampling=WILD, session="fresh")).text
        assert first.text + rest == whole

    # Constraints.

    def test_calls_are_legal(self, backend: Backend) -> None:
        need(backend, "constraints")
        schema = {
            "type": "object",
            "properties": {"target": {"enum": ["iron gate", "postern"]}},
            "required": ["target"],
            "additionalProperties": False,
        }
        constraint = Constraint(
            opening="<toolcall>", closing="</toolcall>", tools=(("open_gate", schema),), max_calls=1
        )
        legal = [{"name": "open_gate", "arguments": {"target": name}} for name in ("iron gate", "postern")]
        made = 0
        for seed in range(4):
            opened = Prompt((*prompt("Open it!").segments, Segment("")))
            said = say(
                backend,
                Request(
                    prompt=opened, sampling=replace(WILD, seed=seed, max_tokens=60), constraint=constraint
                ),
            )
            for body in said.text.split("<toolcall>")[1:]:
                inside, closed, _ = body.partition("</toolcall>")
                if closed:
                    assert json.loads(inside) in legal
                    made += 1
        assert made <= 4

    def test_an_impossible_constraint_is_refused_and_forgotten(self, backend: Backend) -> None:
        need(backend, "constraints")
        bad = Constraint(opening="<toolcall>", closing="</toolcall>", tools=(("go", {"type": "nonsense"}),))
        with pytest.raises(BackendError):
            say(backend, Request(prompt=prompt("Go."), sampling=GREEDY, constraint=bad))
        assert say(backend, Request(prompt=prompt("Go."), sampling=GREEDY)).text

    # The end.

    def test_close_is_final_and_idempotent(self, backend: Backend) -> None:
        backend.close()
        backend.close()
