"""Hugging Face folders brought into each format: what they say afterwards, and what is wrong with what cannot be."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from npcsdk.backends import registry
from npcsdk.backends.base import Prompt, Request, Sampling, Segment
from npcsdk.cli.main import app
from npcsdk.errors import ModelError
from npcsdk.models.convert import convert, to_onnx
from npcsdk.models.convert.checkpoint import read_checkpoint
from tests.backends.conformance import say
from tests.backends.tiny import hugging_face
from tests.backends.toy import byte_fallback, byte_level

for package in ("torch", "transformers", "safetensors"):
    pytest.importorskip(package, reason="models are made here")

NEAR = 1e-2
CHECKPOINT = Path(__file__).parents[2] / "examples" / "embedded_model" / "checkpoint"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("convert")
    for family in ("nemotron", "gemma", "gemma2"):
        hugging_face(place / family, family, (byte_level if family == "nemotron" else byte_fallback)())
    return place


def reference(folder: Path, ids: list[int]) -> Any:
    """The logits of transformers after every one of ``ids``."""
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, attn_implementation="eager", dtype=torch.float32
    ).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].numpy().copy()


def agrees(file: Path, folder: Path, prompt: Prompt, **options: Any) -> int:
    """Let a converted model speak greedily, and check each token against transformers. How many there were."""
    backend: Any = registry.load(replace(registry.resolve(str(file)), options={"threads": 1, **options}))
    said = say(backend, Request(prompt=prompt, sampling=Sampling(temperature=0, max_tokens=64)))
    ids, banned = backend._encoding.encode(prompt), sorted(backend._encoding.special)
    backend.close()
    logits = reference(folder, [*ids, *said.ids])[len(ids) - 1 :]
    logits[:, banned] = -1e9  # No backend says these.
    for at, token in enumerate(said.ids):
        best = int(logits[at].argmax())
        apart = float(logits[at, best] - logits[at, token])
        assert apart < NEAR, f"token {at}: {token}, not {best}, {apart} apart"
    return len(said.ids)


TALK = Prompt(
    (Segment("<extra_id_0>System\n", control=True), Segment("The iron gate opens at dawn. naïve 你好 " * 4))
)


@pytest.mark.parametrize("family", ["nemotron", "gemma", "gemma2"])
def test_gguf_says_what_transformers_says(made: Path, tmp_path: Path, family: str) -> None:
    for needed in ("llama_cpp", "gguf"):
        pytest.importorskip(needed)
    file = convert(str(made / family), "gguf", tmp_path / "model.gguf", precision="fp32")
    assert agrees(file, made / family, TALK, cache_type="f32") > 3


def test_the_shipped_checkpoint_as_gguf_says_the_same(tmp_path: Path) -> None:
    """With its own way of splitting words, which llama.cpp does not have and the file brings along."""
    for needed in ("llama_cpp", "gguf"):
        pytest.importorskip(needed)
    file = convert(str(CHECKPOINT), "gguf", tmp_path / "model.gguf", precision="fp32")
    asked = Prompt(
        (
            Segment("<extra_id_0>System\n", control=True),
            Segment("You are Brannoc, a smith. You sell 3 iron swords at 12 silver each."),
            Segment("\n\n<extra_id_1>User\n", control=True),
            Segment("What's the price of a sword?"),
            Segment("\n<extra_id_1>Assistant\n", control=True),
        )
    )
    assert agrees(file, CHECKPOINT, asked, cache_type="f32") > 3


def test_onnx_keeps_nemotrons_own_epsilon(tmp_path: Path) -> None:
    for needed in ("onnxruntime_genai", "onnx_ir"):
        pytest.importorskip(needed)
    source = hugging_face(tmp_path / "nemotron", "nemotron", byte_level(), head=32)
    told: list[tuple[str, float]] = []
    folder = convert(
        str(source),
        "onnx",
        tmp_path / "onnx",
        precision="fp32",
        report=lambda what, done: told.append((what, done)),
    )
    steps = [done for _, done in told]
    assert steps == sorted(steps)
    assert steps[-1] == 1
    assert any(what.startswith("layer 2 of ") for what, _ in told)
    backend: Any = registry.load(registry.resolve(str(folder)))
    ids = backend._encoding.encode(TALK)
    logits = backend._runtime.new_cache().append(ids)
    backend.close()
    assert abs(logits - reference(source, ids)[-1]).max() < 1e-3


def test_the_command_converts_and_says_where(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    command = ["models", "convert", str(made / "gemma"), str(tmp_path / "out"), "--to", "gguf"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    file = tmp_path / "out" / "gemma-q8_0.gguf"
    assert str(file) in done.output
    assert file.is_file()
    assert "100%" in done.output
    again = CliRunner().invoke(app, [*command[:3], str(file), *command[4:]])
    assert again.exit_code == 2
    assert "there already" in again.output


# What cannot be converted. Nothing is left behind.


def broken(made: Path, tmp_path: Path, **changes: Any) -> Path:
    folder = tmp_path / "broken"
    shutil.copytree(made / "nemotron", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "model_unsupported"),
        ({"hidden_act": "silu"}, "model_unsupported"),
        ({"num_hidden_layers": 3}, "model_broken"),
        ({"vocab_size": 90}, "model_broken"),
        ({"hidden_size": "many"}, "model_broken"),
        ({"eos_token_id": None}, "model_broken"),
    ],
)
def test_a_config_that_lies_is_refused(made: Path, tmp_path: Path, changes: Any, code: str) -> None:
    pytest.importorskip("gguf")
    folder = broken(made, tmp_path, **changes)
    if changes.get("eos_token_id", 0) is None:
        (folder / "generation_config.json").unlink()
    with pytest.raises(ModelError) as caught:
        convert(str(folder), "gguf", tmp_path / "out" / "model.gguf")
    assert caught.value.code == code
    assert not list(tmp_path.glob("out/*"))


def test_weights_that_were_cut_off_are_refused(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    folder = broken(made, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError) as caught:
        convert(str(folder), "gguf", tmp_path / "model.gguf")
    assert caught.value.code == "model_broken"


def test_what_the_onnx_builder_would_build_wrong_is_refused(made: Path, tmp_path: Path) -> None:
    """It knows the last layer by its height alone, and goes on without a word when another is as high."""
    for needed in ("onnxruntime_genai", "onnx_ir"):
        pytest.importorskip(needed)
    whole = read_checkpoint(made / "nemotron")
    checkpoint = replace(whole, network=replace(whole.network, inner=whole.network.vocabulary))
    with pytest.raises(ModelError, match="for its last"):
        to_onnx.write(checkpoint, tmp_path, "int4", lambda what, done: None)


@pytest.mark.parametrize(
    ("model", "target", "precision", "code"),
    [
        ("nemotron", "coreml", "", "target_unknown"),
        ("nemotron", "gguf", "int3", "precision_unknown"),
        ("nowhere", "gguf", "", "model_not_found"),
    ],
)
def test_what_is_not_known_is_refused(
    made: Path, tmp_path: Path, model: str, target: str, precision: str, code: str
) -> None:
    pytest.importorskip("gguf")
    with pytest.raises(ModelError) as caught:
        convert(str(made / model), target, tmp_path / "out", precision=precision)
    assert caught.value.code == code


def test_a_package_that_is_missing_is_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npcsdk.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.delitem(sys.modules, "npcsdk.models.convert.to_gguf", raising=False)
    with pytest.raises(MissingExtra) as caught:
        convert(str(made / "nemotron"), "gguf", tmp_path / "out")
    assert "'gguf'" in caught.value.message
    assert "npcsdk[convert]" in caught.value.hint
