"""Random weights under constraint, in short: every runtime whose logits we have, legal calls or plain speech."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _random_calls
from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends import registry
from tests.backends.test_conformance import model_folder

NEEDED = {
    "onnx_genai": ("onnxruntime_genai",),
    "llama_cpp": ("llama_cpp", "gguf"),
    "transformers": ("torch", "transformers"),
}


@pytest.mark.parametrize("runtime", NEEDED)
def test_only_legal_calls_come_out_and_every_turn_ends(runtime: str, tmp_path: Path) -> None:
    for package in NEEDED[runtime]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    model = model_folder() if runtime == "onnx_genai" else _random_calls.tiny(runtime, tmp_path)
    source = registry.resolve(str(model))
    assert source.backend == runtime
    backend: Any = registry.load(replace(source, options={"threads": 1}))
    try:
        free, forced = _random_calls.play(backend, backend._encoding, 12)
    finally:
        backend.close()
    assert free.wrong == forced.wrong == []
    assert (free.turns, forced.turns) == (6, 6)
    assert forced.calls >= 3, "a test without calls proves nothing"
    assert forced.spoken_only == 0


@pytest.mark.parametrize(
    "text",
    [
        '<toolcall> {"name": "burn", "arguments": {}} </toolcall>',
        '<toolcall> {"name": "wave", "arguments": {"x": 4}} </toolcall>',
        '<toolcall> {"name": "wave", "arguments": {"x": "3"}} </toolcall>',
        '<toolcall> {"name": "wave", "arguments": {"x": 1, "y": 1}} </toolcall>',
        "<toolcall> nonsense </toolcall>",
        '<toolcall> {"name": "wave", "arguments": {}} </toolcall>' * 3,
    ],
)
def test_what_is_no_legal_call_is_counted_as_wrong(text: str) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer", "maximum": 3}}}
    offer = make_offer([ActionDefinition(name="wave", parameters=schema)], {})
    tally, fine = _random_calls.Tally(), _random_calls.Tally()
    _random_calls.judge(text, offer, load_format("nemotron"), tally)
    assert tally.wrong
    legal = '<toolcall> {"name": "wave", "arguments": {"x": 3}} </toolcall>'
    _random_calls.judge(f"So. {legal}", offer, load_format("nemotron"), fine)
    assert (fine.wrong, fine.calls) == ([], 1)
