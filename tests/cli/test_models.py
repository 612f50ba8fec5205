"""``npcsdk models``: what it prints, and a whole download from a hub on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from npcsdk.backends import registry
from npcsdk.cli.main import app
from npcsdk.models import catalog
from tests.models.hub_server import REPOSITORY, Hub, serving

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NPCSDK_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)


def test_list_claims_only_what_runs_here() -> None:
    rows = {row["name"]: row for row in map(json.loads, run("list", "--json").stdout.splitlines())}
    assert set(rows) == set(catalog.CATALOG)
    assert rows["embedded"]["here"]
    assert {name for name, row in rows.items() if row["runs"]} == {
        name for name, entry in catalog.CATALOG.items() if entry.backend in registry.backend_names()
    }
    lines = run("list").stdout.splitlines()
    assert "ready" in next(line for line in lines if line.startswith("embedded "))
    assert "downloaded" not in next(line for line in lines if line.startswith("openai-server "))


def test_info_of_a_row_that_is_not_here() -> None:
    result = run("info", "gemma-2b")
    assert result.exit_code == 0
    for said in (
        "google/gemma-2b",
        "gated",
        "Gemma Terms of Use",
        "prohibited_use_policy",
        "completion",
        "8192",
    ):
        assert said in result.stdout


def test_info_says_what_a_folder_was_taken_for(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "genai_config.json").write_text('{"model": {"type": "qwen2", "context_length": 2048}}')
    (folder / "chat_template.jinja").write_text(CHATML + OPEN)
    result = run("info", str(folder))
    assert "qwen2" in result.stdout
    assert "jinja" in result.stdout
    assert "prefix stable:   yes" in result.stdout
    (folder / "chat_template.jinja").write_text("{{ messages | length }}" + CHATML + OPEN)
    assert json.loads(run("info", str(folder), "--json").stdout)["prefix_stable"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "nosuch"], "embedded"),
        (["pull", "gema-2b"], "gemma-2b"),
        (["info", "./gone.gguf"], "gone.gguf"),
    ],
)
def test_what_is_unknown_is_a_paragraph_and_exit_code_2(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_embedded_model_needs_no_download() -> None:
    assert "no download" in run("pull", "embedded").stdout


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    entry = replace(catalog.CATALOG["nemotron-mini-4b"], repository=REPOSITORY)
    monkeypatch.setitem(catalog.CATALOG, entry.name, entry)
    config = b'{"model": {"type": "nemotron", "context_length": 4096}}'
    with serving(Hub({"genai_config.json": config, "model.onnx.data": b"w" * 9999})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_pull_shows_the_licence_once_and_the_model_is_found(hub: Hub, models: Path) -> None:
    first = run("pull", "nemotron-mini-4b")
    assert first.exit_code == 0, first.stderr
    assert "NVIDIA Open Model License" in first.stdout
    assert "100%" in first.stderr
    assert "downloaded and checked" in first.stdout
    assert "no checksums" in first.stdout
    source = registry.resolve("nemotron-mini-4b")
    assert source.path == str(models / "nemotron-mini-4b")
    again = run("pull", "nemotron-mini-4b")
    assert "here already" in again.stdout
    assert "NVIDIA Open Model License" not in again.stdout


def test_a_gated_model_is_a_paragraph(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    hub.gated = True
    result = run("pull", "nemotron-mini-4b")
    assert result.exit_code == 2
    assert "model_gated" in result.stderr
    assert "HF_TOKEN" in result.stderr


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtimes' answers, without asking them: that is `tests/backends/test_survey.py`'s."""
    from npcsdk.backends.survey import Answer
    from npcsdk.cli import advising

    gpu = {"kind": "cuda", "name": "A GPU", "memory": 1 << 30}
    answers = (
        Answer(backend="onnx_genai", version="0.18"),
        Answer(backend="llama_cpp", version="0.3", problem="its process ended with code -6: abort"),
        Answer(backend="transformers", version="5", devices=(gpu,)),
    )
    monkeypatch.setattr(advising, "survey", lambda: answers)


def test_advice_says_what_why_and_what_next(asked: None) -> None:
    said = run("advise", "embedded").stdout
    assert "Run embedded with onnx_genai" in said
    assert "because" in said
    assert "Next: npcsdk play\n" in said
    assert "A GPU (transformers: cuda)" in said
    assert "Does not load: llama_cpp: its process ended with code -6" in said
    facts = json.loads(run("advise", "nemotron-mini-4b-gguf", "--json").stdout)
    assert facts["at_hand"] is None
    assert facts["machine"]["devices"][0]["memory"] == 1 << 30
    every = [facts["advice"], *facts["others"]]
    assert any("does not load" in one["against"] for one in every if one)
    assert json.loads(run("advise", "--json").stdout)["chosen"]


def test_advice_for_a_folder_reads_its_size(asked: None) -> None:
    folder = str(catalog.CATALOG["embedded"].path)
    facts = json.loads(run("advise", folder, "--json").stdout)
    assert facts["advice"]["backend"] == "onnx_genai"
    assert facts["advice"]["ready"]
    assert 100 << 20 < facts["advice"]["memory"] < 1 << 30
    result = run("advise", "./nowhere")
    assert result.exit_code == 2
    assert "model_not_found" in result.stderr


def test_a_measurement_on_request(asked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from npcsdk.backends.survey import Measured
    from npcsdk.cli import advising

    def measured(model: str | None, options: Any = None) -> Measured:
        return Measured(backend="onnx_genai", model=model or "embedded", prefill=500, decode=70, together=60)

    monkeypatch.setattr(advising, "measure_apart", measured)
    monkeypatch.setattr(advising, "read_speed", lambda: 2e10)
    said = run("advise", "embedded", "--measure").stdout
    assert "reads 500 tokens a second, says 70; four at once 60 together" in said
    said = run("advise", "gemma-2-9b-it-ov", "--measure").stdout
    assert "memory is read at 20.0 GB a second" in said
