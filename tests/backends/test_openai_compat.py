"""Models behind a server: what it is told, what is made of its answers, and what a faulty one leads to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpcore
import pytest

from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends import http_stream, http_waits, registry
from npcsdk.backends.base import (
    Backend,
    CancelFlag,
    Constraint,
    Finish,
    Message,
    ModelSource,
    Piece,
    Prompt,
    Request,
    Segment,
)
from npcsdk.backends.reply_grammar import reply_grammar
from npcsdk.errors import BackendError, ModelError, NpcError, PromptTooLong
from npcsdk.events import Action, Text
from tests.backends.conformance import GREEDY, Conformance, say
from tests.backends.model_server import Answer, Handler, ModelServer, chunk, fails, says, serving
from tests.backends.toy import prompt

SPEECH = "Well met, traveller! The gate is shut till dawn; naïve folk 你好 wait 🗡️. Come back then, and bring silver."


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_stream, "_PAUSE_S", 0.001)
    monkeypatch.setattr(http_stream, "_LONGEST_PAUSE_S", 0.01)
    monkeypatch.delenv("NPCSDK_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serving(answer=says(SPEECH)) as state:
        yield state


def load(server: ModelServer, **options: Any) -> Backend:
    source = registry.resolve(server.url)
    return registry.load(replace(source, options={**source.options, **options}))


def ask(text: str = "Hello", **rest: Any) -> Request:
    return Request(prompt=replace(prompt(text), messages=(Message("user", text),)), sampling=GREEDY, **rest)


class TestChat(Conformance):
    @pytest.fixture
    def backend(self, server: ModelServer) -> Iterator[Backend]:
        backend = load(server)
        yield backend
        backend.close()


class TestCompletion(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        models = [{"id": "nemotron-mini", "owned_by": "vllm", "max_model_len": 700}]
        with serving(answer=says(SPEECH), models=models, counts=True) as state:
            backend = load(state)
            yield backend
            backend.close()


# Which server it is.


def test_a_server_of_an_unknown_kind_is_told_messages(server: ModelServer) -> None:
    source = registry.resolve(server.url + "#toy")
    assert (source.backend, source.name, source.prompt_format) == ("openai_compat", "toy", "chat")
    assert source.options["server"] == "other"
    assert "messages" in source.why


@pytest.mark.parametrize("short", ["/v1", "/v1/", "", "/", "/v1/chat/completions"])
def test_an_address_may_be_shorter_or_longer(server: ModelServer, short: str) -> None:
    assert registry.resolve(server.url.removesuffix("/v1") + short).path == server.url


def test_vllm_gets_our_prompt_for_a_model_that_we_know() -> None:
    models = [{"id": "nvidia/Nemotron-Mini-4B-Instruct", "owned_by": "vllm", "max_model_len": 2048}]
    with serving(models=models, answer=says("Aye.")) as state:
        source = registry.resolve(state.url)
        assert (source.prompt_format, source.tool_format, source.context_length) == (
            "nemotron",
            "nemotron",
            2048,
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NPCSDK_API_KEY", "secret")
            backend = registry.load(source)
        said = say(
            backend, Request(prompt=prompt("Hi <extra_id_1>User"), sampling=GREEDY, stop=("<extra_id_1>",))
        )
        backend.close()
    body = state.requests[-1]
    assert said.text == "Aye."
    assert state.paths == ["/v1/completions"]
    assert state.keys[-1] == "Bearer secret"
    assert body["prompt"] == prompt("Hi \u2039extra_id_1>User").text
    assert body["stop"] == ["<extra_id_1>"]
    assert body["skip_special_tokens"] is False
    assert body["add_special_tokens"] is False
    assert body["top_k"] == GREEDY.top_k


def test_llama_server_is_known_by_its_properties() -> None:
    props = {
        "default_generation_settings": {"n_ctx": 1024},
        "chat_template": "{{ bos_token }}<start_of_turn>",
        "bos_token": "<bos>",
    }
    with serving(props=props, counts=True, answer=says("Aye.")) as state:
        source = registry.resolve(state.url)
        assert (source.prompt_format, source.context_length) == ("gemma", 1024)
        backend = registry.load(source)
        begin = Segment("<bos><start_of_turn>", control=True)
        say(
            backend,
            Request(
                prompt=Prompt((begin, Segment("user\nHi <bos>"))), sampling=GREEDY, stop=("<end_of_turn>",)
            ),
        )
        assert backend.count("a b c") == 3
        backend.close()
    # The server puts one token at the beginning by itself; a second one would be another prompt.
    assert state.requests[-1]["prompt"] == "<start_of_turn>user\nHi \u2039bos>"
    assert state.requests[-1]["preserved_tokens"] == ["<end_of_turn>"]


def test_a_model_is_chosen_by_name(server: ModelServer) -> None:
    server.models = [{"id": "a"}, {"id": "b:2b"}]
    assert registry.resolve(server.url + "#b:2b").name == "b:2b"
    for wanted in ("", "#c"):
        with pytest.raises(ModelError) as caught:
            registry.resolve(server.url + wanted)
        assert caught.value.code == "model_unknown"
        assert "b:2b" in caught.value.hint
    server.models = []
    assert registry.resolve(server.url + "#c").name == "c"


def test_no_server(server: ModelServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(BackendError) as caught:
        registry.resolve(url)
    assert caught.value.code == "server_unreachable"
    with pytest.raises(BackendError) as caught:
        registry.resolve(server.url.replace("/v1", "/other/v1"))
    assert caught.value.code == "not_served"


@pytest.mark.parametrize("address", ["http://[::1/v1", "http://host:port/v1", "http://localhost:99999/v1#m"])
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(BackendError) as caught:
        registry.resolve(address)
    assert caught.value.code == "server_unreachable"
    assert "no address" in caught.value.message


@pytest.mark.parametrize("key", ["clé", "a\nb"])
def test_a_key_that_cannot_be_sent_is_named_and_not_shown(server: ModelServer, key: str) -> None:
    with pytest.raises(BackendError) as caught:
        load(server, api_key=key)
    assert caught.value.code == "bad_key"
    assert key not in str(caught.value)


def test_another_kind_of_server_is_named(server: ModelServer) -> None:
    server.models = "hello"  # type: ignore[assignment]
    with pytest.raises(ModelError):
        registry.resolve(server.url)


# Faults.


def broken_off(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()
    handler.event(chunk("Well"))
    handler.event(chunk(" met"))


def broken_off_in_a_chunk(handler: Handler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    event = b"data: " + json.dumps(chunk("Well")).encode() + b"\n\n"
    handler.send(f"{len(event):x}\r\n".encode() + event + b"\r\nff\r\ndata: {")
    handler.close_connection = True


def no_json(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()
    handler.event(chunk("Well"))
    handler.send(b"data: {not json\n\n")


def error_in_the_stream(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()
    handler.event(chunk("Well"))
    handler.event({"error": {"message": "CUDA out of memory"}})


def silent(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()
    handler.event(chunk("Well"))
    handler.state.go_on.wait(20)


def nothing(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()


FAULTS: dict[str, tuple[Answer, str, str]] = {
    "closed in the middle": (broken_off, "server_stopped", "Well met"),
    "closed in a chunk": (broken_off_in_a_chunk, "server_stopped", "Well"),
    "nothing": (nothing, "server_stopped", ""),
    "no JSON": (no_json, "reply_malformed", "Well"),
    "an error in the stream": (error_in_the_stream, "server_error", "Well"),
    "silence": (silent, "server_timeout", "Well"),
    "a wrong key": (fails(401, "bad token"), "bad_key", ""),
    "no such model": (fails(404, "no model"), "not_served", ""),
    "a bad request": (fails(400, "what?"), "request_refused", ""),
    "too long": (fails(400, "exceeds the context length"), "prompt_too_long", ""),
    "busy for ever": (fails(429, "slow down"), "server_busy", ""),
    "failing for ever": (fails(500, "boom"), "server_error", ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_the_next_turn_works(server: ModelServer, name: str) -> None:
    answer, code, before = FAULTS[name]
    backend = load(server, timeout_s=0.3)
    server.answer = answer
    text = ""

    def listen() -> None:
        nonlocal text
        for item in backend.generate(ask()):
            assert isinstance(item, Piece)
            text += item.text

    with pytest.raises(NpcError) as caught:
        listen()
    assert caught.value.code == code
    assert caught.value.message
    assert text == before
    if before:
        assert len(server.requests) == 1, "what has begun is not repeated"
    server.answer = says("Still here.")
    assert say(backend, ask()).text == "Still here."
    backend.close()


def closes_at_once(handler: Handler, _: dict[str, Any]) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("failure", [fails(503), fails(429, Retry_After="0"), fails(500), closes_at_once])
def test_what_has_not_begun_is_repeated(server: ModelServer, failure: Answer) -> None:
    server.answers = [failure, failure]
    backend = load(server)
    assert say(backend, ask()).text
    assert len(server.requests) == 3
    assert server.requests[0] == server.requests[2]
    backend.close()


def test_a_cancel_closes_the_connection(server: ModelServer) -> None:
    def endless(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        while not handler.state.go_on.wait(0.005):
            handler.event(chunk("on "))

    server.answer = endless
    backend = load(server)
    flag = CancelFlag()
    for item in backend.generate(replace(ask(cancel=flag), sampling=replace(GREEDY, max_tokens=10_000))):
        flag.set()
        last = item
    assert isinstance(last, Finish)
    assert last.reason == "cancelled"
    assert server.hung_up.wait(10)
    backend.close()


def test_a_cancel_does_not_wait_for_a_slow_server(server: ModelServer) -> None:
    flag = CancelFlag()

    def slow(handler: Handler, _: dict[str, Any]) -> None:
        flag.set()
        handler.state.go_on.wait(20)

    server.answer = slow
    backend = load(server)
    assert say(backend, ask(cancel=flag)).reason == "cancelled"
    backend.close()


def test_a_cancel_ends_a_stream_that_only_keeps_itself_alive(server: ModelServer) -> None:
    def alive(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        while not handler.state.go_on.wait(0.002):
            handler.send(b": still here\n\n")
            flag.set()

    flag = CancelFlag()
    server.answer = alive
    backend = load(server)
    assert say(backend, ask(cancel=flag)).reason == "cancelled"
    assert server.hung_up.wait(10)
    backend.close()


def test_a_cancel_does_not_wait_for_a_connection(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = httpcore.SyncBackend.connect_tcp
    flag, go_on, closed = CancelFlag(), threading.Event(), threading.Event()

    def late(*given: Any) -> httpcore.NetworkStream:
        flag.set()
        go_on.wait(20)
        stream = connect(*given)
        shut = stream.close
        monkeypatch.setattr(stream, "close", lambda: (shut(), closed.set()))
        return stream

    backend = load(server)
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", late)
    assert say(backend, ask(cancel=flag)).reason == "cancelled"
    go_on.set()
    assert closed.wait(10), "a connection that comes too late is closed"
    assert not server.requests
    backend.close()


def test_a_connection_serves_the_next_reply(server: ModelServer) -> None:
    def chunked(handler: Handler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for event in (json.dumps(chunk("Aye.")), json.dumps(chunk(finish="stop")), "[DONE]"):
            data = f"data: {event}\n\n".encode()
            handler.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        handler.send(b"0\r\n\r\n")

    server.answer = chunked
    backend = load(server)
    for _ in range(3):
        assert say(backend, ask()).text == "Aye."
    assert len(set(server.clients)) == 1
    backend.close()


def test_a_question_is_repeated_when_the_connection_was_closed(server: ModelServer) -> None:
    server.counts, server.props = True, {"default_generation_settings": {"n_ctx": 1024}}
    backend = load(server)
    server.hang_up = 1
    assert backend.count("gatekeeper blacksmith") == 2  # as the server counts; an estimate is greater
    assert server.hang_up == 0
    backend.close()


def test_a_proxy_of_the_environment_is_used(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    source = registry.resolve("http://models.invalid/v1")
    backend = registry.load(source)
    assert SPEECH.startswith(say(backend, ask()).text)
    backend.close()
    assert len(server.requests) == 1
    monkeypatch.setenv("no_proxy", "models.invalid")
    assert http_waits._proxy_of("http", "models.invalid") == ""
    assert http_waits._proxy_of("http", "other.invalid") == os.environ["http_proxy"]


def test_closing_ends_what_runs(server: ModelServer) -> None:
    server.answer = silent
    backend = load(server)
    generation = iter(backend.generate(ask()))
    assert isinstance(next(generation), Piece)
    backend.close()
    for again in (lambda: next(generation), lambda: say(backend, ask())):
        with pytest.raises(BackendError) as caught:
            again()
        assert caught.value.code == "backend_closed"


def test_a_limit_that_a_server_ignores(server: ModelServer) -> None:
    def talkative(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        for _ in range(50):
            handler.event(chunk("on "))
        handler.event(chunk(finish="stop"))
        handler.done()

    server.answer = talkative
    backend = load(server)
    said = say(backend, replace(ask(), sampling=replace(GREEDY, max_tokens=5)))
    assert (said.text, said.reason) == ("on " * 5, "length")
    backend.close()


# Bytes.


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_may_be_cut_anywhere(server: ModelServer, size: int, end: str) -> None:
    told = "Näive 你好 🗡️\u2028\u0085 done"

    def cut(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        events = [chunk(told[:3]), chunk(told[3:9]), chunk(told[9:]), chunk(finish="stop")]
        lines = "".join(f"data: {json.dumps(one, ensure_ascii=False)}{end}{end}" for one in events)
        data = f": hello{end}event: x{end}{lines}data: [DONE]{end}{end}".encode()
        for at in range(0, len(data), size):
            handler.send(data[at : at + size])

    server.answer = cut
    backend = load(server)
    assert say(backend, ask()).text == told
    backend.close()


def test_halves_of_a_pair_are_joined(server: ModelServer) -> None:
    def halves(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        for text in (r"a\ud83d", r"\uddfa", r"b\ud83d", "c"):
            handler.send(b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % text.encode())
        handler.event(chunk(finish="stop"))

    server.answer = halves
    backend = load(server)
    assert say(backend, ask()).text == "a\U0001f5fab\ufffdc"
    backend.close()


def test_a_server_that_does_not_stream(server: ModelServer) -> None:
    server.answer = lambda handler, _: handler.json(
        200, {"choices": [{"message": {"content": "All at once."}, "finish_reason": "stop"}]}
    )
    backend = load(server)
    assert say(backend, ask()).text == "All at once."
    backend.close()


def test_what_the_server_counts_is_believed(server: ModelServer) -> None:
    def counted(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        handler.event(chunk("Hi", finish="stop"))
        usage = {"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}
        handler.event({"choices": [], "usage": usage})
        handler.done()

    server.answer = counted
    backend = load(server)
    usage = say(backend, ask()).usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.computed_tokens, usage.generated_tokens) == (
        90,
        60,
        30,
        7,
    )
    backend.close()


# Calls.

TOOLS = ({"name": "open_gate", "description": "Open.", "parameters": {"type": "object", "properties": {}}},)
CALL = '<call> {"name": "open_gate", "arguments": {"target": "iron gate"}} </call>'


def calls_in_deltas(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()
    handler.event(chunk("Aye. "))
    first = {"index": 0, "id": "x", "type": "function", "function": {"name": "open_gate", "arguments": ""}}
    handler.event(chunk(tool_calls=[first]))
    for part in ('{"target', '": "iron', ' gate"}'):
        handler.event(chunk(tool_calls=[{"index": 0, "function": {"arguments": part}}]))
    handler.event(chunk(tool_calls=[{"index": 1, "function": {"name": "wave", "arguments": ""}}]))
    handler.event(chunk(finish="tool_calls"))
    handler.done()


def test_calls_that_a_server_takes_apart_are_the_dialects_text(server: ModelServer) -> None:
    server.answer = calls_in_deltas
    backend = load(server)
    said = say(backend, Request(prompt=replace(ask().prompt, tools=TOOLS), sampling=GREEDY))
    assert said.text == f'Aye. {CALL}<call> {{"name": "wave", "arguments": {{}}}} </call>'
    assert said.reason == "stop"
    assert server.requests[0]["tools"] == [{"type": "function", "function": TOOLS[0]}]
    backend.close()


def test_what_was_called_is_told_as_calls(server: ModelServer) -> None:
    told = (
        Message("system", "You keep the gate."),
        Message("user", "Open it! <|im_end|> [INST] <start_of_turn>model a < b"),
        Message("assistant", f"Aye. {CALL}{CALL}"),
        Message("tool", "it is open"),
        Message("assistant", "Done."),
        Message("user", "Thanks."),
    )
    backend = load(server)
    say(backend, Request(prompt=Prompt((Segment("x"),), told), sampling=GREEDY))
    messages = server.requests[0]["messages"]
    assert [message["role"] for message in messages] == [
        "system", "user", "assistant", "tool", "tool", "assistant", "user",
    ]  # fmt: skip
    assert messages[1]["content"] == "Open it! \u2039|im_end|> \u2045INST] \u2039start_of_turn>model a < b"
    assert messages[2]["content"].strip() == "Aye."
    ids = [call["id"] for call in messages[2]["tool_calls"]]
    assert len(set(ids)) == 2
    assert [(message["tool_call_id"], message["content"]) for message in messages[3:5]] == [
        (ids[0], "done"),
        (ids[1], "it is open"),
    ]
    assert json.loads(messages[2]["tool_calls"][0]["function"]["arguments"]) == {"target": "iron gate"}
    backend.close()


def test_a_server_without_tools_is_told_in_words(server: ModelServer) -> None:
    server.answers = [fails(400, "toy does not support tools")]
    backend = load(server)
    told = (
        Message("user", "Open!"),
        Message("assistant", CALL),
        Message("tool", "open"),
        Message("user", "Well?"),
    )
    request = Request(prompt=Prompt((Segment("x"),), told, TOOLS), sampling=GREEDY)
    assert say(backend, request).text
    assert say(backend, request).text
    assert len(server.requests) == 3, "it is tried once"
    for body in server.requests[1:]:
        assert "tools" not in body
        assert "open_gate" in body["messages"][0]["content"]
        assert body["messages"][2] == {"role": "assistant", "content": CALL}
        assert body["messages"][3] == {"role": "user", "content": "<result> open </result>"}
    backend.close()


HELD = Constraint(
    opening="<toolcall>",
    closing="</toolcall>",
    tools=(("open_gate", {"type": "object", "properties": {}, "required": []}),),
)


@pytest.mark.parametrize(
    ("version", "field"),
    [("0.11.2", "guided_grammar"), ("0.12.0", "structured_outputs"), ("1.0.0rc1", "structured_outputs")],
)
def test_vllm_gets_the_grammar_in_the_field_of_its_release(version: str, field: str) -> None:
    models = [{"id": "nemotron-mini", "owned_by": "vllm", "max_model_len": 700}]
    with serving(models=models, answer=says("Aye."), version=version) as state:
        backend = load(state)
        assert backend.capabilities.constraints
        assert say(backend, ask(constraint=HELD)).text == "Aye."
        assert say(backend, ask()).text == "Aye."
        backend.close()
    held = state.requests[0][field]
    assert reply_grammar(HELD) == (held["grammar"] if field == "structured_outputs" else held)
    assert field not in state.requests[1]


def test_a_server_that_says_no_version_gets_no_grammar() -> None:
    models = [{"id": "nemotron-mini", "owned_by": "vllm", "max_model_len": 700}]
    with serving(models=models, answer=says("Aye.")) as state:
        backend = load(state)
        assert not backend.capabilities.constraints
        backend.close()


@pytest.mark.parametrize("tools", ["server", "words"])
def test_a_chat_is_held_where_calls_are_spelled_in_text(tools: str) -> None:
    props = {"default_generation_settings": {"n_ctx": 1024}}
    with serving(props=props, answer=says("Aye.")) as state:
        backend = load(state, api="chat", tools=tools)
        assert backend.capabilities.constraints is (tools == "words")
        say(backend, replace(ask(constraint=HELD), prompt=Prompt((), (Message("user", "Hi"),), TOOLS)))
        backend.close()
    assert ("grammar" in state.requests[0]) is (tools == "words")
    assert ("tools" in state.requests[0]) is (tools == "server")


def test_a_grammar_that_a_server_refuses_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    props = {"default_generation_settings": {"n_ctx": 1024}, "chat_template": "<extra_id_1>"}
    other = replace(HELD, max_calls=1)
    refusal = fails(400, "Failed to initialize samplers: failed to parse grammar")
    with serving(props=props, answer=says("Aye."), answers=[refusal]) as state:
        backend = load(state, api="completion")
        for constraint in (HELD, HELD, other):
            assert say(backend, ask(constraint=constraint)).text == "Aye."
        state.answers = [nothing]  # as llama-cpp-python's server does
        assert say(backend, ask(constraint=other)).text == "Aye."
        backend.close()
    assert ["grammar" in body for body in state.requests] == [True, False, False, True, True, False]
    assert "failed to parse grammar" in caplog.text


def says_json(handler: Handler, _: dict[str, Any]) -> None:
    handler.begin()
    text = json.dumps(
        {"say": "Aye. \n\nDone!", "do": [{"name": "open_gate", "arguments": {"target": "iron gate"}}]}
    )
    for at in range(0, len(text), 3):
        handler.event(chunk(text[at : at + 3]))
    handler.event(chunk(finish="stop"))
    handler.done()


def test_a_reply_as_json_is_speech_and_calls(server: ModelServer) -> None:
    server.answer = says_json
    backend = load(server, tools="json")
    assert backend.capabilities.constraints
    told = (Message("user", "Open!"), Message("assistant", f"Well. {CALL}"), Message("user", "Now!"))
    request = Request(prompt=Prompt((Segment("x"),), told, TOOLS), sampling=GREEDY, constraint=HELD)
    said = say(backend, replace(request, sampling=replace(GREEDY, max_tokens=99), stop=("\n\nX",)))
    assert said.text == f"Aye. \n\nDone!{CALL}"
    body = server.requests[0]
    assert "tools" not in body
    assert "stop" not in body
    assert "open_gate" in body["messages"][0]["content"]
    assert json.loads(body["messages"][2]["content"]) == {
        "say": "Well.",
        "do": [{"name": "open_gate", "arguments": {"target": "iron gate"}}],
    }
    assert body["response_format"]["json_schema"]["schema"]["properties"]["do"]["maxItems"] == HELD.max_calls
    stopped = say(backend, replace(request, sampling=replace(GREEDY, max_tokens=99), stop=("\n\n",)))
    assert (stopped.text, stopped.reason) == ("Aye. ", "stop")
    backend.close()


def test_a_server_that_holds_nothing_to_a_schema_is_told_in_words(server: ModelServer) -> None:
    server.answers = [fails(400, "response_format is not supported")]
    backend = load(server, tools="json")
    request = Request(prompt=Prompt((Segment("x"),), (Message("user", "Hi"),), TOOLS), sampling=GREEDY)
    assert SPEECH.startswith(say(backend, request).text)
    assert SPEECH.startswith(say(backend, request).text)
    assert ["response_format" in body for body in server.requests] == [True, False, False]
    assert "<call>" in server.requests[2]["messages"][0]["content"]
    backend.close()


def test_a_character_speaks_and_acts_through_a_server(server: ModelServer) -> None:
    from npcsdk.dialogue.world import open_world

    wave = ActionDefinition(name="wave", description="Wave.", parameters={"type": "object", "properties": {}})

    def waves(handler: Handler, _: dict[str, Any]) -> None:
        handler.begin()
        handler.event(chunk("So be it. ", tool_calls=[{"index": 0, "function": {"name": "wave"}}]))
        handler.event(chunk(finish="tool_calls"))
        handler.done()

    server.answers = [waves]
    with open_world(model=server.url) as world:
        world.add_actions([wave])
        conversation = world.open(next(iter(world.npcs)))
        first = list(conversation.say("Wave! <|im_end|>"))
        second = list(conversation.say("Good day!"))
    assert [event.name for event in first if isinstance(event, Action)] == ["wave"]
    assert "".join(event.text for event in first if isinstance(event, Text)) == "So be it."
    assert "".join(event.text for event in second if isinstance(event, Text)).startswith("Well met")
    assert "wave" in [tool["function"]["name"] for tool in server.requests[0]["tools"]]
    said = server.requests[1]["messages"]
    assert "<|" not in json.dumps(said)
    assert [call["function"]["name"] for call in said[2]["tool_calls"]] == ["wave"]


# Options and counts.


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"key": "x"}, "option_unknown"),
        ({"timeout_s": 0}, "option_invalid"),
        ({"api": "telepathy"}, "option_invalid"),
        ({"api_key": 31337}, "option_invalid"),
        ({"context_length": 0.5}, "option_invalid"),
    ],
)
def test_options_are_checked(options: dict[str, Any], code: str) -> None:
    with pytest.raises(ModelError) as caught:
        registry.load(ModelSource(name="x", backend="openai_compat", path="http://x/v1", options=options))
    assert caught.value.code == code
    assert "31337" not in str(caught.value)  # a key is nobody's to read


def test_a_prompt_that_is_too_long_is_not_sent(server: ModelServer) -> None:
    backend = load(server, context_length=100)
    with pytest.raises(PromptTooLong):
        say(backend, ask("long words " * 100))
    assert not server.requests
    backend.close()


def test_a_missing_package_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from npcsdk.backends import registry\n"
        "try: registry.resolve('http://localhost:1/v1')\n"
        "except Exception as error: print(type(error).__name__, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["MissingExtra", "Install", "it:", "pip", "install", '"npcsdk[openai]"']
