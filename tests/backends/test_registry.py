"""Models are found or the error says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import ModelSource, Request
from npcsdk.errors import BackendError, MissingExtra, ModelError
from npcsdk.models.catalog import CATALOG, FAMILIES
from tests.backends.conformance import GREEDY, say
from tests.backends.toy import prompt


def folder(path: Path, **model: object) -> Path:
    path.mkdir()
    content = {"model": {"type": "nemotron", "context_length": 2048, **model}}
    (path / "genai_config.json").write_text(json.dumps(content))
    return path


def test_a_folder_is_recognised_and_says_why(tmp_path: Path) -> None:
    source = registry.resolve(str(folder(tmp_path / "mine")))
    assert (source.name, source.backend, source.context_length) == ("mine", "onnx_genai", 2048)
    assert (source.prompt_format, source.tool_format) == FAMILIES["nemotron"]
    assert "genai_config.json" in source.why


def test_a_catalogue_name_is_looked_for_where_models_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPCSDK_MODELS", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        registry.resolve("nemotron-mini-4b")
    assert caught.value.code == "model_not_found"
    assert str(tmp_path) in caught.value.message
    assert "nvidia/Nemotron-Mini-4B-Instruct-ONNX-INT4" in caught.value.hint
    folder(tmp_path / "nemotron-mini-4b")
    source = registry.resolve("nemotron-mini-4b")
    assert source.path == str(tmp_path / "nemotron-mini-4b")
    assert source.context_length == 4096
    assert source.options["summaries"] == "model"  # the row says that it can
    assert "summaries" not in registry.resolve(str(tmp_path / "nemotron-mini-4b")).options


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        ("embeded", "model_unknown", "embedded"),
        ("something else", "model_unknown", "nemotron-mini-4b"),
        ("./nowhere", "model_not_found", "nowhere"),
        ("scripted:nowhere.json", "model_not_found", "nowhere.json"),
    ],
)
def test_what_is_not_there_is_named(model: str, code: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        registry.load(registry.resolve(model))
    assert caught.value.code == code
    assert said in str(caught.value)
    assert caught.value.hint


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    other = folder(tmp_path / "other", type="phi3")
    broken = folder(tmp_path / "broken")
    (broken / "genai_config.json").write_text('{"model": 3}')
    file = tmp_path / "model.onnx"
    file.write_bytes(b"x")
    codes = []
    for path in (tmp_path / "empty", other, broken, file):
        with pytest.raises(ModelError) as caught:
            registry.resolve(str(path))
        assert str(path) in caught.value.message
        codes.append(caught.value.code)
    assert codes == ["model_not_found", "model_unsupported", "model_broken", "model_not_found"]


def test_an_unknown_backend_names_those_that_exist() -> None:
    with pytest.raises(BackendError) as caught:
        registry.load(ModelSource(name="x", backend="nope", path="."))
    assert caught.value.code == "backend_unknown"
    assert "onnx_genai" in caught.value.hint


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BACKENDS, "fancy", "npcsdk_no_such_package.fancy:load")
    with pytest.raises(MissingExtra) as caught:
        registry.load(ModelSource(name="x", backend="fancy", path="."))
    assert "npcsdk_no_such_package" in caught.value.message
    assert "pip install" in caught.value.hint


def test_a_package_that_does_not_load_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "npcsdk_broken_runtime.py").write_text("raise ImportError('DLL load failed')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.BACKENDS, "fancy", "npcsdk_broken_runtime:load")
    with pytest.raises(BackendError, match="DLL load failed") as caught:
        registry.load(ModelSource(name="x", backend="fancy", path="."))
    assert caught.value.code == "runtime_unusable"


def test_third_parties_join_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "theirs"

        def load(self):  # type: ignore[no-untyped-def]
            from npcsdk.backends.scripted import ScriptedBackend

            return lambda source: ScriptedBackend(["theirs"], name=source.name)

    monkeypatch.setattr(
        registry, "entry_points", lambda group: [Point()] if group == "npcsdk.backends" else []
    )
    backend = registry.load(ModelSource(name="x", backend="theirs", path="."))
    assert say(backend, Request(prompt=prompt("Hi"), sampling=GREEDY)).text == "theirs"
    assert "theirs" in registry.backend_names()


def test_a_script_file_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    path.write_text(json.dumps(["One.", "Two."]))
    backend = registry.load(registry.resolve(f"scripted:{path}"))
    assert [say(backend, Request(prompt=prompt("Hi"))).text for _ in range(3)] == ["One.", "Two.", "One."]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "[1]", '{"replies": "no"}', '{"replies": ["a"], "delay": "soon"}']
)
def test_a_broken_script_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "replies.json"
    path.write_text(content)
    with pytest.raises(ModelError) as caught:
        registry.load(registry.resolve(f"scripted:{path}"))
    assert caught.value.code == "model_broken"


def test_every_catalogue_entry_is_complete() -> None:
    for name, entry in CATALOG.items():
        assert entry.name == name
        assert entry.summary
        assert entry.licence.name
        assert entry.path or entry.file_format == "server" or (entry.repository and entry.licence.url)
        assert entry.context_length >= 2048
