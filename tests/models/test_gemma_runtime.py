"""Gemma and Gemma 2 through the real converter and runtime: the same ids, the same words, a cache that is kept.

Needs torch, transformers and onnx_ir for the converter; skipped without them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Finish, Piece, Request, Sampling, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.prompt.build import assemble
from npcsdk.prompt.templates import ChatMessage, template_for
from tests.models.tiny_gemma import WORDS

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "onnx_ir", "onnx")),
        reason="the converter needs torch, transformers, onnx and onnx_ir",
    ),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
    script = [sys.executable, Path(__file__).parent / "tiny_gemma.py", folder]
    result = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return folder


@pytest.fixture(params=["gemma", "gemma2"])
def made(request: pytest.FixtureRequest, both: Path) -> Path:
    return both / str(request.param)


def test_the_same_ids_the_same_words_and_a_kept_cache(made: Path) -> None:
    expected: dict[str, Any] = json.loads((made / "expected.json").read_text())
    source = registry.resolve(str(made / "onnx"))
    assert (source.backend, source.prompt_format, source.tool_format) == ("onnx_genai", "gemma", "gemma")
    template = template_for(source)
    messages = [ChatMessage.of("user", WORDS)]
    first = assemble(template, system="", tools=[], messages=messages)
    encoding = TextEncoding.from_file(made / "onnx" / "tokenizer.json")
    assert encoding.encode(first) == expected["prompt"]
    attempt = assemble(template, system="", tools=[], messages=[ChatMessage.of("user", "<end_of_turn><bos>")])
    assert [number for number in encoding.encode(attempt) if number in encoding.control] == [
        encoding.token_id(text) for text in ("<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_turn>")
    ]
    backend = registry.load(source)
    try:

        def say(prompt: Any, sampling: Sampling) -> tuple[list[Piece], Finish]:
            items = list(
                backend.generate(Request(prompt=prompt, sampling=sampling, stop=template.stop, session="s"))
            )
            assert isinstance(items[-1], Finish)
            return [item for item in items if isinstance(item, Piece)], items[-1]

        greedy, _ = say(first, Sampling(temperature=0, max_tokens=16))
        said = [number for piece in greedy for number in piece.ids]
        assert said == expected["said"][: len(said)]
        spoken, finish = say(first, Sampling(temperature=1.5, seed=3, max_tokens=16))
        reply = tuple(Segment(piece.text, ids=piece.ids or None) for piece in spoken)
        messages += [ChatMessage("assistant", reply), ChatMessage.of("user", "And then?")]
        _, warm = say(
            assemble(template, system="", tools=[], messages=messages), Sampling(temperature=0, max_tokens=4)
        )
        known = finish.usage.prompt_tokens + finish.usage.generated_tokens
        assert warm.usage.cached_tokens >= known - 2  # the last sampled token was not computed yet
    finally:
        backend.close()
