"""The same small model in full precision says the same in every runtime, greedily, for 64 tokens.

Where two runtimes differ, the first difference has to be a near-tie, and the message shows it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Request
from npcsdk.backends.plan import Entry
from tests.backends.conformance import GREEDY, say
from tests.backends.tiny import gguf_file, hugging_face
from tests.backends.toy import byte_fallback, byte_level, prompt

for package in ("torch", "transformers", "llama_cpp", "gguf", "safetensors"):
    pytest.importorskip(package, reason="two runtimes are needed to compare")


def first_logits(backend: Any, ids: list[int]) -> Any:
    """What the bare runtime of a backend, which is at rest, computes after these tokens."""
    if hasattr(backend, "_runtime"):
        return backend._runtime.new_cache().append(ids)
    runtime = backend._engine._runtime
    (logits,) = runtime.compute([Entry(0, runtime.sequences - 1, 0, ids, reply=False, last=True)])
    return logits


NEAR = 1e-2
"""Of logits whose spread is about 2.5: what two runtimes may differ by in 32 bits, and a margin."""


def load(path: Path, **options: Any) -> Any:
    return registry.load(replace(registry.resolve(str(path)), options={"threads": 1, **options}))


@pytest.mark.parametrize("family", ["nemotron", "gemma", "gemma2"])
def test_transformers_and_llama_cpp_say_the_same(family: str, tmp_path: Path) -> None:
    tokenizer = byte_level if family == "nemotron" else byte_fallback
    folder = hugging_face(tmp_path / family, family, tokenizer())
    (tmp_path / "npcsdk.json").write_text((folder / "npcsdk.json").read_text())
    file = gguf_file(tmp_path / f"{family}.gguf", family, tokenizer(), like=folder)
    one, other = load(folder, device="cpu", dtype="fp32"), load(file, cache_type="f32")
    asked = prompt("Hello", "Good day!", "Who are you?")
    ids = one._encoding.encode(asked)
    assert other._encoding.encode(asked) == ids
    request = Request(prompt=asked, sampling=replace(GREEDY, max_tokens=64))
    said, heard = say(one, request), say(other, request)
    same = next(
        (at for at, pair in enumerate(zip(said.ids, heard.ids, strict=False)) if len(set(pair)) > 1), None
    )
    if same is not None:
        logits = first_logits(one, [*ids, *said.ids[:same]])
        apart = abs(float(logits[said.ids[same]] - logits[heard.ids[same]]))
        assert apart < NEAR, f"token {same}: {said.ids[same]} and {heard.ids[same]}, {apart} apart"
    # Of what follows the prompt, all logits, not only the highest.
    first, second = first_logits(one, ids), first_logits(other, ids)
    assert abs(first - second).max() < NEAR
    one.close()
    other.close()
