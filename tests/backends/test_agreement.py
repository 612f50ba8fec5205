"""The same small model in full precision says the same in every runtime, greedily, for 64 tokens.

Each runtime gets the model from our own converters. Where two runtimes differ, the first difference has to be a
near-tie of the reference (PyTorch in 32 bits), and the message shows it.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Prompt, Request, Segment
from npcsdk.errors import ModelError
from npcsdk.models.convert import convert
from tests.backends.conformance import GREEDY, Said, say
from tests.backends.tiny import hugging_face
from tests.backends.toy import END, byte_fallback, byte_level, prompt

for package in ("torch", "transformers"):
    pytest.importorskip(package, reason="the reference is PyTorch")

NEAR = 1e-2
"""Of logits whose spread is about 2.5: what two runtimes may differ by in 32 bits, and a margin."""
TOKENIZERS = {"byte-level": byte_level, "byte fallback": byte_fallback}
ONCE = ("nemotron byte fallback", "gemma byte-level", "gemma2 byte-level", "embedded")
EMBEDDED = Path(__file__).resolve().parents[2] / "examples" / "embedded_model" / "checkpoint"
RUNTIMES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "llama_cpp": ("gguf", ("llama_cpp", "gguf"), {"threads": 1, "cache_type": "f32"}),
    "onnx_genai": ("onnx", ("onnxruntime_genai", "onnx_ir", "onnx"), {"threads": 1}),
    "openvino_genai": (
        "openvino",
        ("openvino", "openvino_genai", "openvino_tokenizers"),
        {"precision": "f32", "cache_type": "f32", "threads": 1},
    ),
}
"""Runtime -> what the model is converted to, the packages for it, and options that keep it exact."""


@dataclass(frozen=True)
class Model:
    """A Hugging Face folder and what was made of it."""

    name: str
    folder: Path
    home: Path


def load(path: Path, **options: Any) -> Any:
    return registry.load(replace(registry.resolve(str(path)), options=options))


@pytest.fixture(
    scope="module",
    params=[
        *((family, tokenizer) for family in ("nemotron", "gemma", "gemma2") for tokenizer in TOKENIZERS),
        ("embedded", ""),
    ],
    ids=lambda param: " ".join(param).strip(),
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    family, tokenizer = request.param
    home = tmp_path_factory.mktemp(family)
    if family == "embedded":
        if not (EMBEDDED / "model.safetensors").is_file():
            pytest.skip("the embedded model's checkpoint is not here")
        return Model(family, EMBEDDED, home)
    # What the ONNX builder's fused attention can rotate, and a window that a whole prompt fits into.
    folder = hugging_face(home / family, family, TOKENIZERS[tokenizer](), head=32, sliding=512)
    return Model(f"{family} {tokenizer}", folder, home)


@pytest.fixture(scope="module")
def in_onnx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the ONNX builder made of the models, by their names: of the same weights, for the seed is the same."""
    home = tmp_path_factory.mktemp("onnx")
    made: dict[str, Path] = {}
    places: list[str] = []
    for family, tokenizer in (
        ("nemotron", "byte-level"),
        ("gemma", "byte fallback"),
        ("gemma2", "byte fallback"),
    ):
        folder = hugging_face(home / family, family, TOKENIZERS[tokenizer](), head=32, sliding=512)
        made[f"{family} {tokenizer}"] = home / f"{family}-onnx"
        places += [str(folder), str(made[f"{family} {tokenizer}"])]
    command = [sys.executable, str(Path(__file__).parent / "onnx_all.py"), *places]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return made


def reference(model: Model) -> Any:
    return load(model.folder, device="cpu", dtype="fp32", threads=1)


def tokens(said: Said) -> list[int]:
    """What was said, with its end where it ended by itself."""
    return [*said.ids, END] if said.reason == "stop" else said.ids


def first_difference(one: Said, other: Said) -> int | None:
    """The place from which on the other says something else; None where it says the same."""
    pairs = zip(tokens(one), tokens(other), strict=False)
    return next((at for at, pair in enumerate(pairs) if pair[0] != pair[1]), None)


def worse(backend: Any, ids: list[int], said: Said, token: int, at: int, *, free: bool) -> tuple[float, str]:
    """By how much the reference finds a token worse than the best one at a place of its reply, and both in words.

    ``free``: control tokens count as well. OpenVINO GenAI samples by itself, and nothing can be forbidden there.
    """
    logits = np.array(backend._runtime.new_cache().append([*ids, *said.ids[:at]]))
    if not free:
        logits[sorted(backend._encoding.special - set(backend._runtime.ends))] = -math.inf
    if free and token == END:  # Any control token ends a reply there.
        token = max(backend._encoding.special, key=lambda number: logits[number])
    best = int(np.argmax(logits))
    words = [backend._encoding.bytes_of(number) for number in (best, token)]
    return float(logits[best] - logits[token]), f"{best} {words[0]!r} and {token} {words[1]!r}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_says_what_the_reference_says(
    model: Model, runtime: str, request: pytest.FixtureRequest
) -> None:
    target, packages, options = RUNTIMES[runtime]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if runtime not in registry.BACKENDS:
        pytest.skip(f"there is no backend {runtime}")
    if runtime != "llama_cpp" and model.name in ONCE:
        pytest.skip(
            "this adapter reads the tokenizer.json that the reference reads: one of a family is enough"
        )
    if runtime == "onnx_genai":
        made = request.getfixturevalue("in_onnx")[model.name]
    else:
        made = convert(str(model.folder), target, model.home / target, precision="fp32")
    one = reference(model)
    other: Any = load(made, **options)
    if runtime == "openvino_genai":
        other._engine._dropped = frozenset()  # Control tokens without a text are compared too.
    try:
        compare(one, other)
    finally:
        one.close()
        other.close()


def compare(one: Any, other: Any) -> None:
    """Both make the same tokens of a text, and say the same after them."""
    for lines in (("Hello", "Good day!", "Who are you?"), ("What does the gate cost? Ünïcödé 你好",)):
        asked = prompt(*lines)
        ids = one._encoding.encode(asked)
        assert other._encoding.encode(asked) == ids
        known = Prompt((Segment(asked.text, control=True, ids=tuple(ids)),))
        request = Request(prompt=known, sampling=replace(GREEDY, max_tokens=64))
        said, heard = say(one, request), say(other, request)
        at = first_difference(said, heard)
        if at is not None:
            free = other.capabilities.backend == "openvino_genai"
            apart, words = worse(one, ids, said, tokens(heard)[at], at, free=free)
            shown = f"token {at}: {words}, {apart:.6f} apart: {said.text!r}, {heard.text!r}"
            assert apart < NEAR, shown
            print(f"a near-tie at {shown}")
        assert heard.ids


def test_a_difference_that_is_no_near_tie_is_found(tmp_path: Path) -> None:
    """The comparison itself: of two models that differ in one weight, it says so."""
    from safetensors.numpy import load_file, save_file

    folders = [hugging_face(tmp_path / name, "nemotron") for name in ("one", "other")]
    path = folders[1] / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.0.mlp.up_proj.weight"] = weights["model.layers.0.mlp.up_proj.weight"] * 1.5
    save_file(weights, path, {"format": "pt"})
    one, other = (load(folder, device="cpu", dtype="fp32", threads=1) for folder in folders)
    with pytest.raises(AssertionError, match="apart"):
        compare(one, other)
    one.close()
    other.close()


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        convert(str(tmp_path / "nowhere"), "gguf", tmp_path / "out")
