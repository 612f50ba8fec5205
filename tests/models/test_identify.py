"""What a model argument is taken for, and why; and what is said of folders that are not whole."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from npcsdk.actions.formats import load_format
from npcsdk.backends import registry
from npcsdk.errors import ModelError
from npcsdk.models.catalog import CATALOG, EMBEDDED, FAMILIES
from npcsdk.models.identify import Found, identify
from npcsdk.models.verify import CONTROL, verify_genai
from npcsdk.prompt.templates import load_template
from tests.models.test_gguf import VALUES, gguf

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<tool_call>"


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def safetensors(path: Path, missing: int = 0) -> None:
    head = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * (16 - missing))


def genai(folder: Path, family: str, **files: Any) -> Path:
    write(folder / "genai_config.json", {"model": {"type": family, "context_length": 2048}})
    for name, content in files.items():
        write(folder / f"{name}.json", content)
    return folder


def hf(folder: Path, **config: Any) -> Path:
    write(folder / "config.json", {"architectures": ["GemmaForCausalLM"], "model_type": "gemma", **config})
    safetensors(folder / "model.safetensors")
    return folder


def spoken(found: Found) -> tuple[str, str, str]:
    return found.backend, found.prompt_format, found.tool_format


@pytest.mark.parametrize(
    ("family", "template", "expected"),
    [
        ("nemotron", "", ("nemotron", "nemotron")),
        ("gemma", "{{ bos_token }}<start_of_turn>", ("gemma", "gemma")),
        ("gemma2", "", ("completion", "gemma")),
        ("qwen2", CHATML, ("jinja", "hermes")),
        ("llama", "{{ '<|eot_id|>' }} ipython", ("jinja", "llama3")),
        ("mistral", "[TOOL_CALLS]", ("jinja", "mistral")),
        ("mistral", "{{ '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}", ("jinja", "mistral_args")),
        ("phi3", "{{ messages }}", ("jinja", "gemma")),
    ],
)
def test_a_folder_is_spoken_to_as_its_own_files_say(
    tmp_path: Path, family: str, template: str, expected: tuple[str, str]
) -> None:
    files = {
        "tokenizer_config": {"chat_template": template, "bos_token": {"content": "<b>"}, "eos_token": "<e>"}
    }
    found = identify(str(genai(tmp_path / "m", family, **files)))
    assert spoken(found) == ("onnx_genai", *expected)
    assert found.tokens == {"bos_token": "<b>", "eos_token": "<e>"}
    assert family in found.why
    assert bool(found.chat_template) == (expected[0] == "jinja")
    source = registry.resolve(str(tmp_path / "m"))
    assert (source.prompt_format, source.chat_template, dict(source.tokens)) == (
        found.prompt_format,
        found.chat_template,
        found.tokens,
    )


def test_a_template_file_and_a_list_of_templates(tmp_path: Path) -> None:
    several = [{"name": "tool_use", "template": "<start_of_turn>"}, {"name": "default", "template": CHATML}]
    found = identify(str(genai(tmp_path / "a", "qwen2", tokenizer_config={"chat_template": several})))
    assert found.chat_template == CHATML
    write(tmp_path / "a" / "chat_template.jinja", "{{ '<start_of_turn>' }}")
    assert identify(str(tmp_path / "a")).prompt_format == "gemma"


def test_our_own_file_has_the_last_word(tmp_path: Path) -> None:
    folder = genai(tmp_path / "m", "phi3")
    with pytest.raises(ModelError) as caught:
        identify(str(folder))
    assert caught.value.code == "model_unsupported"
    assert "npcsdk.json" in caught.value.hint
    write(
        folder / "npcsdk.json",
        {"prompt_format": "completion", "tool_format": "mistral", "context_length": 1024},
    )
    found = identify(str(folder))
    assert (*spoken(found), found.context_length) == ("onnx_genai", "completion", "mistral", 1024)
    assert "npcsdk.json says" in found.why
    for wrong in ({"promt_format": "gemma"}, {"context_length": "long"}, []):
        write(folder / "npcsdk.json", wrong)
        with pytest.raises(ModelError) as caught:
            identify(str(folder))
        assert caught.value.code == "model_broken"


def test_gguf_files_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "m" / "gemma.gguf"
    file.parent.mkdir()
    file.write_bytes(gguf())
    for argument in (file, file.parent):
        found = identify(str(argument))
        assert (*spoken(found), found.context_length) == ("llama_cpp", "gemma", "gemma", 8192)
        assert found.path == str(file)
        assert "GGUF" in found.why
    base = tmp_path / "base"  # known by what is in it
    base.write_bytes(gguf({key: value for key, value in VALUES.items() if "template" not in key}))
    found = identify(str(base))
    assert (*spoken(found), found.tokens["bos_token"]) == ("llama_cpp", "completion", "gemma", "<bos>")
    (file.parent / "other.gguf").write_bytes(gguf())
    with pytest.raises(ModelError, match=r"2 models: gemma\.gguf, other\.gguf"):
        identify(str(file.parent))


def test_other_kinds(tmp_path: Path) -> None:
    found = identify(str(hf(tmp_path / "hf", max_position_embeddings=8192)))
    assert (*spoken(found), found.architecture, found.context_length) == (
        "transformers",
        "completion",
        "gemma",
        "GemmaForCausalLM",
        8192,
    )
    folder = tmp_path / "ov"
    for name in (
        "openvino_model.xml",
        "openvino_model.bin",
        "openvino_tokenizer.xml",
        "openvino_detokenizer.xml",
    ):
        write(folder / name, "")
    write(folder / "config.json", {"model_type": "gemma2"})
    write(folder / "chat_template.jinja", "<start_of_turn>")
    assert spoken(identify(str(folder))) == ("openvino_genai", "gemma", "gemma")
    (folder / "openvino_tokenizer.xml").unlink()
    with pytest.raises(ModelError, match=r"openvino_tokenizer\.xml is missing"):
        identify(str(folder))
    found = identify("http://localhost:8000/v1")
    assert (found.kind, found.backend) == ("server", "openai_compat")
    assert "URL" in found.why


def test_without_its_backend_a_model_is_refused_with_what_it_was_taken_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "BACKENDS", {"onnx_genai": registry.BACKENDS["onnx_genai"]})
    with pytest.raises(ModelError) as caught:
        registry.resolve(str(hf(tmp_path / "hf")))
    assert caught.value.code == "model_unsupported"
    assert "GemmaForCausalLM" in caught.value.message
    assert "'transformers'" in caught.value.message
    assert "onnx_genai" in caught.value.hint


def index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    safetensors(folder / "model-1.safetensors")
    write(
        folder / "model.safetensors.index.json",
        {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}},
    )


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "model_not_found", "no model"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model_not_found", "no weights"),
        (lambda folder: safetensors(folder / "model.safetensors", 4), "model_broken", "not whole"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 30),
            "model_broken",
            "not whole",
        ),
        (index, "model_not_found", "model-2.safetensors"),
        (lambda folder: write(folder / "config.json", "{"), "model_broken", "config.json"),
        (lambda folder: write(folder / "adapter_config.json", "{}"), "model_unsupported", "adapter"),
        (lambda folder: write(folder / "config.json", {"model_type": "zeta"}), "model_unsupported", "zeta"),
    ],
)
def test_a_folder_that_is_not_whole_is_named(tmp_path: Path, damage: Any, code: str, said: str) -> None:
    folder = hf(tmp_path / "m")
    identify(str(folder))
    damage(folder)
    with pytest.raises(ModelError) as caught:
        identify(str(folder))
    assert caught.value.code == code
    assert said in caught.value.message
    assert str(folder) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("argument", ["gemma.gguf", "./x", "x/y", "openai-server"])
def test_what_is_not_there_is_named(argument: str) -> None:
    with pytest.raises(ModelError) as caught:
        identify(argument)
    assert caught.value.code == "model_not_found"
    assert caught.value.hint


# Models in sub-folders, as repositories are published.


def test_a_model_in_a_sub_folder_is_found_and_said_where(tmp_path: Path) -> None:
    folder = tmp_path / "Nemotron-ONNX-INT4"
    genai(folder / "onnx" / "int4", "nemotron")
    (folder / "README.md").write_text("# Nemotron")
    write(
        folder / "config.json", {"model_type": "nemotron"}
    )  # a config without weights is no model of its own
    (folder / ".cache" / "x").mkdir(parents=True)
    found = identify(str(folder))
    assert (found.path, found.backend) == (str(folder / "onnx" / "int4"), "onnx_genai")
    assert found.name == "Nemotron-ONNX-INT4"
    assert "the only model there" in found.why
    assert str(folder / "onnx" / "int4") in found.why


def test_of_several_the_one_for_the_cpu_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    for inner in (
        "cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4",
        "directml/directml-int4-awq-block-128",
        "gpu/x",
    ):
        genai(tmp_path / "m" / inner, "gemma2")
    found = identify(str(tmp_path / "m"))
    assert found.path.endswith("acc-level-4")
    assert "directml/directml-int4-awq-block-128" in found.why
    genai(tmp_path / "m" / "cpu_and_mobile" / "cpu-int4-awq", "gemma2")
    with pytest.raises(ModelError, match="4 models: cpu_and_mobile/cpu-int4-awq") as caught:
        identify(str(tmp_path / "m"))
    assert caught.value.code == "model_not_found"
    assert "Name the folder" in caught.value.hint


def test_other_kinds_in_sub_folders(tmp_path: Path) -> None:
    hf(tmp_path / "a" / "original")
    assert identify(str(tmp_path / "a")).backend == "transformers"
    (tmp_path / "b" / "gguf").mkdir(parents=True)
    (tmp_path / "b" / "gguf" / "gemma.gguf").write_bytes(gguf())
    assert identify(str(tmp_path / "b")).path.endswith("gemma.gguf")


def test_the_hub_clients_own_cache_is_followed_to_its_snapshot(tmp_path: Path) -> None:
    folder, commit = tmp_path / "models--google--gemma-2b", "0123456789abcdef0123456789abcdef01234567"
    hf(folder / "snapshots" / commit)
    hf(folder / "snapshots" / ("f" * 40))
    write(folder / "refs" / "main", commit)
    found = identify(str(folder))
    assert found.path == str(folder / "snapshots" / commit)
    assert commit[:12] in found.why


def test_a_folder_of_many_folders_is_not_searched_for_ever(tmp_path: Path) -> None:
    for number in range(2100):
        (tmp_path / "home" / str(number)).mkdir(parents=True)
    with pytest.raises(ModelError) as caught:
        identify(str(tmp_path / "home"))
    assert caught.value.code == "model_not_found"


def test_a_row_of_the_catalogue_is_found_in_a_sub_folder_and_by_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPCSDK_MODELS", str(tmp_path))
    genai(tmp_path / "nemotron-mini-4b" / "onnx", "nemotron")
    for argument in ("nemotron-mini-4b", "nvidia/Nemotron-Mini-4B-Instruct-ONNX-INT4"):
        found = identify(argument)
        assert found.path == str(tmp_path / "nemotron-mini-4b" / "onnx")
        assert found.entry is CATALOG["nemotron-mini-4b"]
        assert "the only model there" in found.why
    with pytest.raises(ModelError) as caught:
        identify("somebody/some-model")
    assert "hub" in caught.value.hint


# Tokenizers and weights of a folder for onnxruntime-genai.


def tokenizer(words: int, *added: str) -> dict[str, Any]:
    return {
        "added_tokens": [{"id": at, "content": text} for at, text in enumerate(added)],
        "model": {"vocab": {f"w{at}": at for at in range(words)}},
    }


NEMOTRON = ("<extra_id_0>", "<extra_id_1>")


def whole(folder: Path, **model: Any) -> Path:
    location = b"\n\x08location\x12\x0fmodel.onnx.data"
    write(
        folder / "genai_config.json",
        {"model": {"vocab_size": 100, "eos_token_id": [3], "decoder": {"filename": "model.onnx"}, **model}},
    )
    (folder / "model.onnx").write_bytes(b"\x08\x01" + location + b"\x1a")
    (folder / "model.onnx.data").write_bytes(b"weights")
    write(folder / "tokenizer.json", tokenizer(90, *NEMOTRON))
    return folder


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    verify_genai(whole(tmp_path), "nemotron")
    verify_genai(CATALOG[EMBEDDED].path or tmp_path, "nemotron")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    (whole(tmp_path) / "model.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx\.data") as caught:
        verify_genai(tmp_path, "nemotron")
    assert caught.value.code == "model_not_found"


def test_weights_lie_beside_the_graph_that_names_them(tmp_path: Path) -> None:
    folder = whole(tmp_path, decoder={"filename": "onnx/model.onnx"})
    (folder / "onnx").mkdir()
    for name in ("model.onnx", "model.onnx.data"):
        (folder / name).rename(folder / "onnx" / name)
    verify_genai(folder, "nemotron")
    (folder / "onnx" / "model.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"onnx.model\.onnx\.data"):
        verify_genai(folder, "nemotron")


@pytest.mark.parametrize(
    ("theirs", "model", "prompt_format"),
    [
        (tokenizer(200, *NEMOTRON), {}, "nemotron"),
        ({**tokenizer(90, *NEMOTRON), "model": {"vocab": [["w", 0.0]] * 200}}, {}, "nemotron"),
        (tokenizer(90, *NEMOTRON), {"eos_token_id": 95}, "nemotron"),
        (tokenizer(40, *NEMOTRON), {"eos_token_id": 3}, "nemotron"),
        (tokenizer(90, *NEMOTRON), {}, "gemma"),
    ],
)
def test_another_models_tokenizer_is_named(
    tmp_path: Path, theirs: Any, model: Any, prompt_format: str
) -> None:
    folder = whole(tmp_path, **model)
    write(folder / "tokenizer.json", theirs)
    with pytest.raises(ModelError) as caught:
        verify_genai(folder, prompt_format)
    assert caught.value.code == "tokenizer_mismatch"
    assert "tokenizer.json" in caught.value.message


# The catalogue.


def test_control_tokens_are_those_of_the_templates() -> None:
    assert {name: load_template(name).control for name in CONTROL} == CONTROL


@pytest.mark.parametrize("entry", CATALOG.values(), ids=list(CATALOG))
def test_every_row_names_formats_that_exist(entry: Any) -> None:
    if entry.file_format != "server":
        load_format(entry.tool_format)
        assert load_template(entry.prompt_format).stop
        assert entry.stop
        assert entry.runtimes
    assert entry.licence.obligations or entry.licence.name.startswith(("Apache", "that"))


def test_families_name_formats_that_exist() -> None:
    for prompt_format, tool_format in FAMILIES.values():
        load_template(prompt_format)
        load_format(tool_format)
