"""Models in Hugging Face's files: each architecture, exact caches, options, and folders that are not sound."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Request
from npcsdk.errors import MissingExtra, ModelError
from tests.backends.conformance import GREEDY, Conformance, follow, say
from tests.backends.tiny import WINDOW, hugging_face, smaller
from tests.backends.toy import byte_fallback, prompt

pytest.importorskip("torch", reason="the extra transformers is not installed")
pytest.importorskip("transformers", reason="the extra transformers is not installed")

FAMILIES = ("nemotron", "gemma", "gemma2")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("hugging_face")
    made = {family: hugging_face(home / family, family) for family in FAMILIES}
    return made | {"byte fallback": hugging_face(home / "fallback", "gemma2", byte_fallback())}


def load(folder: Path, **options: Any) -> Backend:
    source = registry.resolve(str(folder))
    assert source.backend == "transformers"
    return registry.load(replace(source, options={"device": "cpu", "threads": 1, **options}))


class _OnAFolder(Conformance):
    folder = ""

    @pytest.fixture
    def backend(self, folders: dict[str, Path]) -> Iterator[Backend]:
        backend = load(folders[self.folder])
        yield backend
        backend.close()


class TestNemotron(_OnAFolder):
    folder = "nemotron"


class TestGemma2(_OnAFolder):
    """With a sliding window of 32 tokens, which every longer prompt has to be cut back in, and byte fallback."""

    folder = "byte fallback"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_warm_conversation_has_the_logits_of_the_library_itself(
    folders: dict[str, Path], family: str
) -> None:
    """Greedy, in small pieces over several turns, against `generate` of the library on the whole prompt."""
    import torch
    import transformers

    backend = load(folders[family], piece_ms=0.001)
    bare: Any = transformers.AutoModelForCausalLM.from_pretrained(folders[family])
    now = prompt("Hello", system="You keep the iron gate of Veldran. " * 3)
    for turn in range(3):
        said = say(backend, Request(prompt=now, sampling=replace(GREEDY, max_tokens=12), session="a"))
        ids = backend._encoding.encode(now)  # type: ignore[attr-defined]
        with torch.inference_mode():
            logits = bare(torch.tensor([[*ids, *said.ids]])).logits[0, len(ids) - 1 :].numpy()
        logits[:, [0, 1, 3, 4]] = -1e9  # control tokens, which no reply may hold
        for token, at in zip(said.ids, logits, strict=False):
            assert at[token] >= at.max() - 1e-3
        now = follow(now, said, f"Line {turn}")
    backend.close()


def test_a_folder_is_recognised(folders: dict[str, Path]) -> None:
    source = registry.resolve(str(folders["gemma2"]))
    assert source.context_length == WINDOW
    assert "Gemma2ForCausalLM" in source.why


def test_half_precision_and_eager_attention_run(folders: dict[str, Path]) -> None:
    for options in ({"dtype": "bf16"}, {"dtype": "fp16"}, {"attention": "eager"}):
        backend = load(folders["nemotron"], **options)
        assert say(backend, Request(prompt=prompt("Hello"), sampling=replace(GREEDY, max_tokens=4))).text
        backend.close()


def test_auto_on_a_machine_without_gpu_warns(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING, "npcsdk.backends.transformers"):
        load(folders["nemotron"], device="auto").close()
    assert "CPU" in caplog.text


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({name: one for name, one in weights.items() if ".1.mlp." not in name}, path, {"format": "pt"})


def config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "model_not_found"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model_not_found"),
    "half the weights": (lambda folder: halve(folder / "model.safetensors"), "model_broken"),
    "weights of a layer missing": (without_a_layer, "model_broken"),
    "half a tokenizer": (lambda folder: halve(folder / "tokenizer.json"), "model_broken"),
    "an unknown architecture": (
        lambda folder: config(folder, model_type="nobody_knows"),
        "model_unsupported",
    ),
    "another shape": (lambda folder: config(folder, hidden_size=32), "model_broken"),
    "another tokenizer": (
        lambda folder: byte_fallback().save(str(folder / "tokenizer.json")),
        "tokenizer_mismatch",
    ),
    "a smaller tokenizer": (lambda folder: smaller(folder / "tokenizer.json"), "tokenizer_mismatch"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_folder_is_named_and_does_not_spoil_the_next_load(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    damage, code = BREAKS[name]
    copy = Path(shutil.copytree(folders["nemotron"], tmp_path / "model"))
    if name == "another tokenizer":
        (copy / "generation_config.json").unlink()
        config(copy, eos_token_id=399)
    damage(copy)
    with pytest.raises(ModelError) as caught:
        load(copy)
    assert caught.value.code == code
    assert str(copy) in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message
    backend = load(folders["nemotron"])
    assert say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    backend.close()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"thread": 2}, "option_unknown"),
        ({"threads": 0}, "option_invalid"),
        ({"dtype": "int3"}, "option_invalid"),
        ({"quantization": "2bit"}, "option_invalid"),
        ({"cache_bytes": 1000}, "option_invalid"),
        ({"device": "no such device"}, "device_absent"),
        ({"compile": "no such compiler"}, "option_invalid"),
        ({"compile": 3}, "option_invalid"),
    ],
)
def test_options_are_checked(folders: dict[str, Path], options: dict[str, Any], code: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(folders["nemotron"], **options)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_gpu_that_is_asked_for_and_absent(folders: dict[str, Path]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ModelError) as caught:
        load(folders["nemotron"], device="cuda")
    assert caught.value.code == "device_absent"


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("bitsandbytes", {"quantization": "4bit"}, "npcsdk[bitsandbytes]"),
        ("flash_attn", {"attention": "flash_attention_2"}, "flash-attn"),
        ("accelerate", {"device": "all"}, "npcsdk[transformers]"),
    ],
)
def test_a_missing_package_names_what_to_install(
    folders: dict[str, Path], module: str, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(MissingExtra) as caught:
        load(folders["nemotron"], **options)
    assert said in caught.value.hint


def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every package were installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: find(name) or find("json"))


@pytest.mark.parametrize(
    "options", [{"quantization": "4bit"}, {"quantization": "8bit"}, {"attention": "flash_attention_2"}]
)
def test_what_needs_a_gpu_is_refused_on_the_processor(
    folders: dict[str, Path], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    present(monkeypatch)
    with pytest.raises(ModelError) as caught:
        load(folders["nemotron"], **options)
    assert caught.value.code == "device_absent"
    assert "'cpu'" in caught.value.message


def test_options_for_a_gpu_reach_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine with GPUs would hand to `from_pretrained`."""
    import torch
    import transformers

    from npcsdk.backends import transformers as adapter

    present(monkeypatch)
    monkeypatch.setattr(adapter.transformers, "BitsAndBytesConfig", lambda **given: given)
    four = adapter._settings({"quantization": "4bit", "dtype": "bf16"}, "cuda:1")
    assert four["quantization_config"]["load_in_4bit"]
    assert four["quantization_config"]["bnb_4bit_compute_dtype"] is torch.bfloat16
    assert (four["device_map"], four["dtype"]) == ({"": "cuda:1"}, torch.bfloat16)
    eight = adapter._settings({"quantization": "8bit"}, "cuda")
    assert (eight["quantization_config"]["load_in_8bit"], eight["dtype"]) == (True, "auto")
    spread = adapter._settings({"attention": "flash_attention_2", "dtype": "fp16"}, "all")
    assert (spread["device_map"], spread["attn_implementation"]) == ("auto", "flash_attention_2")
    with pytest.raises(ModelError) as caught:
        adapter._settings({"attention": "flash_attention_2", "dtype": "fp32"}, "cuda")
    assert caught.value.code == "option_invalid"
    assert hasattr(transformers.AutoModelForCausalLM, "from_pretrained")


def test_bf16_is_what_the_weights_are_kept_in(folders: dict[str, Path]) -> None:
    import torch

    whole, half = load(folders["nemotron"], dtype="fp32"), load(folders["nemotron"], dtype="bf16")
    assert half._runtime._model.dtype is torch.bfloat16  # type: ignore[attr-defined]
    assert half._runtime.cache_bytes * 2 == whole._runtime.cache_bytes  # type: ignore[attr-defined]
    assert say(half, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    whole.close()
    half.close()


def test_compiled_or_not_a_warm_conversation_says_the_same(folders: dict[str, Path]) -> None:
    """With the compiler's front end alone; what generates machine code takes a minute and a C++ compiler."""
    import torch

    torch.compiler.reset()
    plain, compiled = load(folders["nemotron"]), load(folders["nemotron"], compile="eager")
    now = prompt("Hello", system="You keep the gate. " * 3)
    for turn in range(2):
        request = Request(prompt=now, sampling=replace(GREEDY, max_tokens=8), session="a")
        one, other = say(plain, request), say(compiled, request)
        assert one.ids == other.ids
        assert one.usage.cached_tokens == other.usage.cached_tokens
        now = follow(now, one, f"Line {turn}")
    plain.close()
    compiled.close()


def test_a_compiler_that_fails_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def failing(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler was found")

    torch.compiler.reset()
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, dynamic, backend: real(model, backend=failing))
    with pytest.raises(ModelError) as caught:
        load(folders["nemotron"], compile=True)
    assert caught.value.code == "compile_failed"
    assert "compile" in caught.value.hint
    torch.compiler.reset()
