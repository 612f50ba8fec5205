"""Against a server that other people wrote: llama-cpp-python's, as a process of its own, on a small GGUF file."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import CancelFlag, Constraint, Finish, Message, Request, Sampling
from npcsdk.errors import BackendError, NpcError
from tests.backends.conformance import say
from tests.backends.tiny import gguf_file
from tests.backends.toy import prompt

for package in ("llama_cpp", "gguf", "fastapi", "uvicorn", "sse_starlette", "starlette_context"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

SAMPLING = Sampling(temperature=0, max_tokens=24)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = gguf_file(tmp_path_factory.mktemp("served") / "toy.gguf", "nemotron")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--n_ctx", "512"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_threads", "1", "--chat_format", "chatml"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    log = file.with_suffix(".log")
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    address = f"http://127.0.0.1:{port}/v1"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                registry.resolve(address)
                break
            except BackendError as error:
                assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                assert time.monotonic() < deadline, error
                time.sleep(0.1)  # Nothing tells when a process has opened its port.
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("api", ["chat", "completion"])
def test_a_reply_streams_stops_and_can_be_cancelled(url: str, api: str) -> None:
    source = registry.resolve(url)
    assert "toy.gguf" in source.name
    backend = registry.load(replace(source, options={**source.options, "api": api, "context_length": 512}))
    asked = replace(
        prompt("Good day!"), messages=(Message("system", "You keep a gate."), Message("user", "Hi <s>"))
    )
    whole = say(backend, Request(prompt=asked, sampling=SAMPLING))
    assert len(whole.pieces) > 3
    assert whole.reason == "length"
    again = say(backend, Request(prompt=asked, sampling=SAMPLING))
    assert again.text == whole.text
    stop = whole.text[4:6]
    stopped = say(backend, Request(prompt=asked, sampling=SAMPLING, stop=(stop,)))
    assert stopped.text == whole.text[: whole.text.index(stop)]
    flag = CancelFlag()
    items: list[object] = []
    for item in backend.generate(
        Request(prompt=asked, sampling=replace(SAMPLING, max_tokens=300), cancel=flag)
    ):
        flag.set()
        items.append(item)
    assert isinstance(items[-1], Finish)
    assert items[-1].reason == "cancelled"
    assert say(backend, Request(prompt=asked, sampling=SAMPLING)).text == whole.text
    backend.close()


def test_a_reply_is_held_to_legal_calls(url: str) -> None:
    """The marker is a letter that random weights are sure to choose."""
    source = registry.resolve(url)
    backend = registry.load(replace(source, options={**source.options, "api": "completion"}))
    assert backend.capabilities.constraints
    times = {"type": "integer", "minimum": 3, "maximum": 17}
    schema = {
        "type": "object",
        "properties": {"target": {"enum": ["iron gate", "postern"]}, "times": times},
        "required": ["target", "times"],
    }
    made = 0
    for seed in range(6):
        constraint = Constraint(opening="e", closing="", tools=(("open_gate", schema),), max_calls=1)
        sampling = Sampling(temperature=1.0, seed=seed, max_tokens=150)
        said = say(backend, Request(prompt=prompt("Open!"), sampling=sampling, constraint=constraint))
        _, opened, rest = said.text.partition("e")
        if not opened or "}}" not in rest:
            continue
        call, _ = json.JSONDecoder().raw_decode(rest.lstrip())
        made += 1
        assert call["name"] == "open_gate"
        assert call["arguments"]["target"] in ("iron gate", "postern")
        assert 3 <= call["arguments"]["times"] <= 17
    assert made
    silent = Constraint(opening="e", closing="")
    sampling = Sampling(temperature=1.0, seed=1, max_tokens=60)
    said = say(backend, Request(prompt=prompt("Open!"), sampling=sampling, constraint=silent))
    assert said.text
    assert "e" not in said.text
    backend.close()


def test_a_chat_is_held_to_one_json_object(url: str) -> None:
    source = registry.resolve(url)
    options = {**source.options, "tools": "json", "context_length": 512}
    backend = registry.load(replace(source, options=options))
    asked = replace(prompt("Good day!"), messages=(Message("user", "Good day!"),))
    constraint = Constraint(opening="<call>", closing="</call>", tools=(("wave", {"type": "object"}),))
    sampling = Sampling(temperature=1.0, seed=3, max_tokens=40)
    said = say(backend, Request(prompt=asked, sampling=sampling, constraint=constraint))
    assert said.text  # What random weights say stands in the object; the object itself is not shown.
    assert not said.text.startswith("{")
    backend.close()


def test_a_prompt_beyond_the_servers_window_is_named(url: str) -> None:
    source = registry.resolve(url)
    backend = registry.load(replace(source, options={**source.options, "api": "completion"}))
    # The server has 512 tokens and does not say so; we reckon with more.
    with pytest.raises(NpcError) as caught:
        say(backend, Request(prompt=prompt("gate " * 700), sampling=SAMPLING))
    assert caught.value.code in ("prompt_too_long", "request_refused", "server_error", "server_stopped")
    assert say(backend, Request(prompt=prompt("Hi"), sampling=SAMPLING)).text
    backend.close()
