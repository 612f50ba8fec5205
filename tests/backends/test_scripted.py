"""The fake that ships: what users' own tests rely on."""

from __future__ import annotations

import pytest

from npcsdk.backends.base import Request
from npcsdk.backends.scripted import ScriptedBackend
from npcsdk.errors import BackendError, PromptTooLong
from tests.backends.conformance import GREEDY, follow, say
from tests.backends.toy import prompt


def test_replies_come_in_order_and_requests_are_kept() -> None:
    backend = ScriptedBackend(["Good day.", "Farewell."])
    first = Request(prompt=prompt("Hello"))
    assert say(backend, first).text == "Good day."
    assert say(backend, Request(prompt=prompt("Bye"))).text == "Farewell."
    assert backend.requests[0] is first
    assert "Bye" in backend.requests[1].prompt.text
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("More")))
    assert caught.value.code == "script_exhausted"


def test_a_function_answers() -> None:
    backend = ScriptedBackend(lambda request: f"You asked for {request.sampling.max_tokens}.")
    assert say(backend, Request(prompt=prompt("Hi"), sampling=GREEDY)).text == "You asked for 24."


def test_exact_pieces_and_failures() -> None:
    backend = ScriptedBackend([["Op", "en <tool", "call>"], BackendError("boom"), "ok"])
    assert [piece.text for piece in say(backend, Request(prompt=prompt("Hi"))).pieces] == [
        "Op",
        "en <tool",
        "call>",
    ]
    with pytest.raises(BackendError, match="boom"):
        say(backend, Request(prompt=prompt("Hi")))
    assert say(backend, Request(prompt=prompt("Hi"))).text == "ok"


def test_it_tells_what_a_real_cache_would_have_computed() -> None:
    backend = ScriptedBackend(["One reply.", "Another one."])
    now = prompt("Hello")
    said = say(backend, Request(prompt=now, session="a"))
    assert said.usage.cached_tokens == 0
    after = say(backend, Request(prompt=follow(now, said, "And?"), session="a"))
    assert after.usage.cached_tokens == said.usage.prompt_tokens + said.usage.generated_tokens


def test_a_small_window() -> None:
    backend = ScriptedBackend(["x"], context_length=5)
    with pytest.raises(PromptTooLong):
        say(backend, Request(prompt=prompt("Hello")))
