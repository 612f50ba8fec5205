"""What the installed model runtimes can do here, by their own account, and how fast.

Every runtime is asked in a process of its own: a driver that hangs or crashes costs that runtime's answer and nothing
else, and a runtime's import (PyTorch's takes seconds) leaves nothing behind.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Finish, Piece, Prompt, Request, Sampling, Segment
from npcsdk.errors import NpcError

__all__ = ["Answer", "Measured", "measure", "measure_apart", "read_speed", "survey"]

PACKAGES = {
    "llama_cpp": ("llama-cpp-python",),
    "onnx_genai": ("onnxruntime-genai", "onnxruntime-genai-cuda", "onnxruntime-genai-directml"),
    "openai_compat": ("httpx",),
    "openvino_genai": ("openvino-genai",),
    "transformers": ("transformers",),
}
"""Backend -> packages of which one brings it."""

QUERIES = {
    "llama_cpp": "npcsdk.backends.device_queries:llama_cpp",
    "openvino_genai": "npcsdk.backends.device_queries:openvino_genai",
    "onnx_genai": "npcsdk.backends.onnx_genai:devices",
    "transformers": "npcsdk.backends.transformers:devices",
}
"""Backend -> ``module:function`` that gives a list of {"kind", "name", "memory"}; others compute on the processor."""

_COMMAND = (sys.executable, "-m", "npcsdk.backends.survey")
_PATIENCE_S = 90.0
_LINE = "npcsdk-answer: "
_PROMPT_TOKENS, _REPLY_TOKENS = 256, 32
_WORDS = ("the", "gate", "is", "shut", "at", "night", "and", "the", "smith", "sells", "iron", "to", "Veldran")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One runtime's answer. ``version`` is "" where it is not installed; ``problem`` says why it does not load."""

    backend: str
    version: str = ""
    devices: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Speed of a model on a backend: seconds to load, tokens a second of a new prompt, of one character's reply, and of
    four characters' replies at once together. ``problem`` says why there are none."""

    backend: str
    model: str
    load_s: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0
    together: float = 0.0
    problem: str = ""


def survey(backends: Sequence[str] | None = None, *, patience_s: float = _PATIENCE_S) -> tuple[Answer, ...]:
    """Ask every runtime that is installed, all at once."""
    names = sorted(PACKAGES) if backends is None else list(backends)
    known = registry.backend_names()
    versions = {name: _version(name) if name in known else "" for name in names}
    asked = [name for name in names if versions[name] and name in QUERIES]
    told = dict(zip(asked, _apart([["devices", name] for name in asked], patience_s), strict=True))
    answers: list[Answer] = []
    for name in names:
        said = told.get(name, {})
        devices = said.get("devices")
        answers.append(
            Answer(
                backend=name,
                version=versions[name],
                devices=tuple(cast("list[Mapping[str, Any]]", devices)) if isinstance(devices, list) else (),
                problem=str(said.get("problem", "")),
            )
        )
    return tuple(answers)


def measure_apart(
    model: str | None, options: Mapping[str, Any] | None = None, *, patience_s: float = _PATIENCE_S
) -> Measured:
    """`measure` a model in a process of its own, which a crash or a lack of memory may take."""
    told = _apart([["measure", json.dumps({"model": model, "options": dict(options or {})})]], patience_s)[0]
    if "problem" in told and "backend" not in told:
        return Measured(backend="", model=model or "embedded", problem=str(told["problem"]))
    return Measured(**told)


def measure(backend: Backend, load_s: float = 0.0) -> Measured:
    """A short measurement of a loaded model, after one reply to warm up."""
    name, model = backend.capabilities.backend, backend.capabilities.model
    sampling = Sampling(temperature=1.0, seed=1, max_tokens=_REPLY_TOKENS)
    tokens = backend.count(_prompt("", 64).text) / 64  # of a word
    count = int(min(_PROMPT_TOKENS, backend.capabilities.context_length // 2) / max(tokens, 0.1))
    said = _say(backend, Request(prompt=_prompt("warm", 16), sampling=replace(sampling, max_tokens=4)))
    prefill = decode = 0.0
    for turn in range(2):
        said = _say(
            backend, Request(prompt=_prompt(f"{turn}", count), sampling=sampling, session=f"survey {turn}")
        )
        usage = said.usage
        if usage.prefill_s > 0:
            prefill = max(prefill, usage.computed_tokens / usage.prefill_s)
        if usage.decode_s > 0 and usage.generated_tokens > 1:
            decode = max(decode, (usage.generated_tokens - 1) / usage.decode_s)
    return Measured(
        backend=name,
        model=model,
        load_s=round(load_s, 2),
        prefill=round(prefill, 1),
        decode=round(decode, 1),
        together=round(_together(backend, sampling, count // 8), 1),
    )


def read_speed(megabytes: int = 256) -> float:
    """Bytes a second that all cores together read from memory: what decoding a large model is bound by."""
    threads = min(os.cpu_count() or 1, 16)
    blocks = [np.ones(megabytes * (1 << 20) // 8 // threads, dtype=np.float64) for _ in range(threads)]
    best = 0.0
    for _ in range(5):
        workers = [threading.Thread(target=block.sum) for block in blocks]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, sum(block.nbytes for block in blocks) / (time.perf_counter() - started))
    return best


def _together(backend: Backend, sampling: Sampling, words: int, count: int = 4) -> float:
    """Tokens a second of several characters who speak at once; their prompts are computed before."""
    requests = [
        Request(
            prompt=_prompt("together", words),
            sampling=replace(sampling, seed=number),
            session=f"survey t{number}",
        )
        for number in range(count)
    ]
    for request in requests:
        _say(backend, replace(request, sampling=replace(sampling, max_tokens=1)))
    tokens: list[int] = []

    def talk(request: Request) -> None:
        tokens.append(_say(backend, request).usage.generated_tokens)

    workers = [threading.Thread(target=talk, args=(request,)) for request in requests]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(tokens) / (time.perf_counter() - started)


def _say(backend: Backend, request: Request) -> Finish:
    finish = None
    for item in backend.generate(request):
        if not isinstance(item, Piece):
            finish = item
    assert finish is not None, "a generation ends with a finish"
    return finish


def _prompt(salt: str, words: int) -> Prompt:
    """Words that no two prompts begin alike, so that nothing of one is in the other's cache."""
    text = f"{salt} " + " ".join(_WORDS[at % len(_WORDS)] for at in range(words))
    return Prompt((Segment(text),))


# The process apart.


def _version(backend: str) -> str:
    for package in PACKAGES[backend]:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _apart(arguments: Sequence[Sequence[str]], patience_s: float) -> list[dict[str, Any]]:
    """Run this module once for each list of arguments, side by side, and read what it answers."""
    running = [
        subprocess.Popen(
            [*_COMMAND, *each],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        for each in arguments
    ]
    until = time.monotonic() + patience_s
    answers: list[dict[str, Any]] = []
    for child in running:
        try:
            out, error = child.communicate(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            answers.append({"problem": f"it did not answer in {patience_s:.0f} s"})
            continue
        lines = [line for line in out.splitlines() if line.startswith(_LINE)]
        if lines:
            answers.append(cast("dict[str, Any]", json.loads(lines[-1].removeprefix(_LINE))))
        else:
            last = (error.strip().splitlines() or ["it said nothing"])[-1]
            answers.append({"problem": f"its process ended with code {child.returncode}: {last[:300]}"})
    return answers


def _devices(backend: str) -> dict[str, Any]:
    module, _, function = QUERIES[backend].partition(":")
    ask = cast("Callable[[], list[dict[str, Any]]]", getattr(importlib.import_module(module), function))
    return {"devices": ask()}


def _measured(asked: Mapping[str, Any]) -> dict[str, Any]:
    model, options = asked["model"], asked["options"]
    source = registry.resolve(cast("str | None", model))
    try:
        started = time.perf_counter()
        backend = registry.load(replace(source, options={**source.options, **options}))
        loaded = time.perf_counter() - started
        try:
            return asdict(measure(backend, loaded))
        finally:
            backend.close()
    except NpcError as error:
        return asdict(Measured(backend=source.backend, model=source.name, problem=str(error)))


def main(arguments: Sequence[str]) -> None:
    """Answer one question on the standard output; see `survey` and `measure_apart`."""
    what, argument = arguments
    try:
        answer = _devices(argument) if what == "devices" else _measured(json.loads(argument))
    except Exception as error:  # whatever a native library made of it is the answer
        line = (str(error).strip().splitlines() or [""])[0][:300]
        answer = {"problem": f"{type(error).__name__}: {line}"}
    sys.stdout.write(f"{_LINE}{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
