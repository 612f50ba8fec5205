"""``--memory http://host:port``: vectors on a shared Chroma server, the journal here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npcsdk.cli.settings import read_settings
from npcsdk.errors import MemoryStoreError
from npcsdk.memory.places import memory_folder, place_of
from tests.memory.chroma_server import Chroma

Run = Callable[..., Any]
Script = Callable[..., str]


def test_a_game_plays_on_a_server_and_goes_on_without_it(
    npcsdk: Run, npcsdk_process: Run, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPCSDK_MEMORY", str(tmp_path / "data"))
    with Chroma(tmp_path / "chroma") as chroma:
        where = ("--memory", chroma.url)
        horse, cat = "My horse is called Thunderhoof.", "My cat is called Amadeus."
        done = npcsdk_process("say", "bram", horse, *where, "--model", script("A good name."))
        assert done.returncode == 0, done.stderr
        done = npcsdk_process(
            "play", "bram", *where, "--journal", "mine", "--model", script("Aye."), stdin=f"{cat}\n"
        )
        assert done.returncode == 0, done.stderr
        (journal,) = (tmp_path / "data").iterdir()
        for folder in (journal, tmp_path / "mine"):
            assert (folder / "journal.sqlite3").is_file()
            assert not (folder / "index").exists()
        done = npcsdk("memory", *where, "--doctor")
        assert "journal and index agree" in done.stdout, done.stderr
    done = npcsdk(
        "say", "bram", "What is my horse called?", "--json", *where, "--model", script("Thunderhoof.")
    )
    recalled = json.loads(done.stdout.splitlines()[-1])["recalled"]
    assert any("Thunderhoof" in item["text"] for item in recalled)
    assert not any("Amadeus" in item["text"] for item in recalled)
    assert all(item["reason"] for item in recalled)
    shown = npcsdk("memory", "bram", *where, "--journal", "mine").stdout
    assert "Amadeus" in shown
    assert "Thunderhoof" not in shown


def test_a_place_is_a_folder_a_server_or_none(tmp_path: Path) -> None:
    world = tmp_path / "world"
    assert place_of(None, world=world).folder is None
    assert place_of(tmp_path, world=world).folder == tmp_path
    assert place_of(tmp_path, world=world).index is None
    server = place_of("http://here:8000/", journal=tmp_path, world=world)
    assert (server.folder, server.index) == (tmp_path, "chroma:http://here:8000")
    assert place_of("http://here:8000", world=world).folder == memory_folder(world)
    assert memory_folder(world) != memory_folder(tmp_path / "other" / "world")
    with pytest.raises(MemoryStoreError) as caught:
        place_of(tmp_path / "a", journal=tmp_path / "b", world=world)
    assert caught.value.code == "memory_misplaced"


def test_the_configuration_names_a_folder_beside_it_or_a_server(tmp_path: Path) -> None:
    config = tmp_path / "npcsdk.yaml"
    config.write_text("memory: memory\n", encoding="utf-8")
    assert read_settings(config).memory == str(tmp_path / "memory")
    config.write_text("memory: http://here:8000\njournal: mine\n", encoding="utf-8")
    settings = read_settings(config)
    assert (settings.memory, settings.journal) == ("http://here:8000", tmp_path / "mine")
