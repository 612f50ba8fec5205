"""What a runtime cannot do is a named error, and what failed leaves the next load alone. For every runtime here.

Truncated and missing files, foreign tokenizers and unknown architectures are in the runtimes' own test modules.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Request
from npcsdk.backends.failures import first_line, ran_out_of_memory
from npcsdk.errors import ModelError
from npcsdk.models.catalog import CATALOG, EMBEDDED
from npcsdk.models.convert import convert
from tests.backends.conformance import GREEDY, say
from tests.backends.tiny import gguf_file, hugging_face
from tests.backends.toy import prompt

NEEDS = {
    "onnx_genai": (),
    "transformers": ("torch", "transformers"),
    "llama_cpp": ("llama_cpp", "gguf"),
    "openvino_genai": ("torch", "transformers", "openvino", "openvino_genai", "openvino_tokenizers"),
}
"""Runtime -> packages that it and its test model need."""


@pytest.fixture(scope="module", params=NEEDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A runtime, and a model that it runs."""
    runtime = str(request.param)
    for package in NEEDS[runtime]:
        pytest.importorskip(package, reason=f"{runtime} is not installed", exc_type=ImportError)
    home = tmp_path_factory.mktemp(runtime)
    if runtime == "onnx_genai":
        path = CATALOG[EMBEDDED].path
        assert path is not None
        return runtime, path
    if runtime == "transformers":
        return runtime, hugging_face(home / "model", "nemotron")
    if runtime == "openvino_genai":
        return runtime, convert(str(hugging_face(home / "model", "nemotron")), "openvino", home / "made")
    (home / "npcsdk.json").write_text('{"prompt_format": "nemotron", "tool_format": "nemotron"}')
    return runtime, gguf_file(home / "model.gguf", "nemotron")


def load(model: tuple[str, Path], **options: Any) -> Backend:
    source = registry.resolve(str(model[1]))
    assert source.backend == model[0]
    return registry.load(replace(source, options={"threads": 1, **options}))


@cache  # asked in a process of its own, which imports the runtime
def has_gpu(runtime: str) -> bool:
    from npcsdk.backends.survey import survey

    (answer,) = survey([runtime])
    return bool(answer.devices)


def test_a_gpu_that_is_asked_for_and_absent_is_an_error(model: tuple[str, Path]) -> None:
    if has_gpu(model[0]):
        pytest.skip("this machine has one")
    with pytest.raises(ModelError) as caught:
        load(model, device="gpu" if model[0] in ("llama_cpp", "openvino_genai") else "cuda")
    assert caught.value.code == "device_absent"
    assert "auto" in caught.value.hint
    assert "\n" not in caught.value.message
    backend = load(model)
    assert say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    backend.close()


def test_auto_takes_the_processor_and_says_so(
    model: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    if has_gpu(model[0]):
        pytest.skip("this machine has one")
    with caplog.at_level(logging.WARNING, "npcsdk.backends"):
        backend = load(model, device="auto")
    assert "runs on the CPU" in caplog.text
    assert say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    backend.close()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "npcsdk.backends"):
        load(model, device="cpu").close()
    assert not caplog.text


STARVED = """
import json, resource, sys
from dataclasses import replace
from npcsdk.backends import registry
from npcsdk.backends.base import Request, Sampling
from npcsdk.errors import NpcError
from tests.backends.conformance import say
from tests.backends.toy import prompt

path, runtime, more = sys.argv[1], sys.argv[2], int(sys.argv[3])
source = replace(registry.resolve(path), options={"threads": 1})
registry.load(source).close()  # what the libraries themselves take for good is taken
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + more, hard))
try:
    options = {"threads": 1, "cache_bytes": 1 << 42} if runtime == "llama_cpp" else {"threads": 1}
    registry.load(replace(source, options=options))
    said = {"code": "it fits"}
except NpcError as error:
    said = {"code": error.code, "message": error.message, "hint": error.hint}
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
backend = registry.load(source)
said["after"] = say(backend, Request(prompt=prompt("Hello"), sampling=Sampling(temperature=0, max_tokens=4))).text
backend.close()
print(json.dumps(said))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="takes memory away as Linux does")
def test_too_little_memory_is_an_error_and_the_next_load_works(model: tuple[str, Path]) -> None:
    """For real: in a process that may not have more memory than it has."""
    if model[0] == "onnx_genai":
        pytest.skip("the model in the wheel is so small that the tokenizer's own memory runs out first")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "1"}
    environment |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STARVED, str(model[1]), model[0], "4096"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["code"] == "out_of_memory", said
    assert str(model[1]) in said["message"]
    assert said["hint"]
    assert said["after"]


def test_too_little_memory_for_an_onnx_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of ONNX Runtime's allocator."""
    from npcsdk.backends import onnx_genai

    folder = CATALOG[EMBEDDED].path
    assert folder is not None

    def full(config: object) -> object:
        raise RuntimeError(
            "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 786432000\nmore"
        )

    with monkeypatch.context() as patch:
        patch.setattr(onnx_genai.og, "Model", full)
        with pytest.raises(ModelError) as caught:
            load(("onnx_genai", folder))
    assert caught.value.code == "out_of_memory"
    assert "786432000" in caught.value.message
    assert "\n" not in caught.value.message
    load(("onnx_genai", folder)).close()


def test_auto_goes_on_to_the_processor_where_the_gpu_does_not_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a CUDA build on a machine whose driver is too old."""
    from npcsdk.backends import onnx_genai

    folder = CATALOG[EMBEDDED].path
    assert folder is not None
    monkeypatch.setattr(onnx_genai, "devices", lambda: [{"kind": "cuda"}])
    with caplog.at_level(logging.WARNING, "npcsdk.backends"):
        backend = load(("onnx_genai", folder), device="auto")
    assert "does not run on cuda" in caplog.text
    assert say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    backend.close()
    with pytest.raises(ModelError) as caught:
        load(("onnx_genai", folder), device="cuda")
    assert caught.value.code == "device_absent"
    assert "onnxruntime-genai-cuda" in caught.value.hint


# What a runtime's own words mean.


@pytest.mark.parametrize(
    "text",
    [
        "std::bad_alloc",
        "bad allocation",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "Failed to allocate memory for requested buffer of size 786432000",
        "Cannot allocate memory (os error 12)",
        "887A0005: 8007000E Not enough memory resources are available",
        "Exception from src/plugins/intel_gpu: [GPU] out of GPU resources: CL_OUT_OF_RESOURCES, failed to allocate",
        "[GPU] clCreateBuffer, error code: -4 CL_MEM_OBJECT_ALLOCATION_FAILURE",
        "Requested cache blocks require more memory than available on the system.",
        "Exception from src/inference/src/dev/plugin.cpp:54: Resource temporarily unavailable",
    ],
)
def test_memory_that_ran_out_is_seen_in_any_runtimes_words(text: str) -> None:
    assert ran_out_of_memory(RuntimeError(text))
    try:
        raise ValueError("the model cannot be loaded") from RuntimeError(text)
    except ValueError as error:
        assert ran_out_of_memory(error)


def test_other_failures_are_not_taken_for_it() -> None:
    assert ran_out_of_memory(MemoryError())
    for text in (
        "the file is truncated",
        "unknown architecture 'alloc'",
        "memory mapped file has the wrong size",
        "could not open /games/memory/allocation/model.bin",
    ):
        assert not ran_out_of_memory(RuntimeError(text))
    assert first_line(RuntimeError("one\ntwo")) == "one"
    assert first_line(RuntimeError()) == "RuntimeError"
    assert len(first_line(RuntimeError("x" * 999))) == 303
