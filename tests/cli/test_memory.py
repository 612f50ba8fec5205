"""``npcsdk memory``: what is remembered and why, export, import, the doctor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npcsdk.memory.index import made_by
from npcsdk.memory.recall import Experience, Memory, Summary, Told

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bram has met ann and bo."""
    folder = tmp_path / "memory"
    with Memory.open(folder) as memory:
        for who, text in (("ann", "ann paid for the broken window."), ("bo", "bo sold a heron.")):
            memory.remember(Experience(npc="bram", interlocutor=who, kind="event", origin="game", text=text))
        memory.set_value("bram", "ann", "trust", 40)
        memory.indexed(60)
    return folder


def test_it_shows_what_a_character_remembers_of_a_player(npcsdk: Run, folder: Path) -> None:
    done = npcsdk("memory", "bram", "--memory", str(folder), "--player", "ann")
    assert done.returncode == 0, done.stderr
    assert "ann paid for the broken window." in done.stdout
    assert "trust = 40" in done.stdout
    assert "heron" not in done.stdout


def test_it_shows_what_stands_for_the_oldest_turns(npcsdk: Run, folder: Path) -> None:
    with Memory.open(folder) as memory:
        for text in ("I lost my ring.", "I found my ring."):
            told = (Told(origin="player", text=text),)
            memory.append_summary("talk", "bram", "Ada", Summary(lines=told, upto="t1", turns=1))
    shown = npcsdk("memory", "bram", "--memory", str(folder), "--player", "Ada").stdout
    assert "Earlier in this talk: Ada said: I found my ring." in shown
    assert "I lost my ring." not in shown  # the newer one has taken its place


def test_a_query_shows_what_would_be_recalled_and_why(npcsdk: Run, folder: Path) -> None:
    asked = ("memory", "bram", "--memory", str(folder), "--player", "ann", "--query", "the broken window")
    plain = npcsdk(*asked)
    assert plain.stdout.splitlines()[0] == "ann paid for the broken window."
    assert "words:" not in plain.stdout
    assert "words: broken, window" in npcsdk(*asked, "--explain").stdout


def test_export_and_import(npcsdk: Run, npcsdk_process: Run, folder: Path, tmp_path: Path) -> None:
    done = npcsdk_process("memory", "--memory", str(folder), "--export", "all.jsonl")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["event", "event", "value"]
    (tmp_path / "other").mkdir()
    done = npcsdk("memory", "--memory", "other", "--import", "all.jsonl")
    assert done.returncode == 0, done.stderr
    shown = npcsdk("memory", "bram", "--memory", "other", "--player", "ann").stdout
    assert "trust = 40" in shown
    assert "broken window" in shown


@pytest.mark.parametrize("line", ["{", "[]", '{"npc": 1}', '{"surprise": 1}'])
def test_an_import_that_is_wrong_takes_nothing(npcsdk: Run, folder: Path, line: str) -> None:
    good = '{"npc": "bram", "interlocutor": "ann", "kind": "event", "text": "Good."}'
    done = npcsdk("memory", "--memory", str(folder), "--import", "-", stdin=f"{good}\n{line}\n")
    assert done.returncode == 2
    assert "2" in done.stderr
    assert "Good." not in npcsdk("memory", "--memory", str(folder)).stdout


def test_the_doctor_repairs_the_index(npcsdk: Run, folder: Path) -> None:
    with Memory.open(folder) as memory:
        assert memory.indexed(60)
        index = memory._follower.index
        assert index is not None
        index.remove("bram", [1])
        index.add("bram", [77], memory._embedder.embed(["a stranger"]))  # the counts agree, the ids do not
    done = npcsdk("memory", "--memory", str(folder), "--doctor")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "1 were missing, 1 did not belong" in done.stdout
    done = npcsdk("memory", "--memory", str(folder), "--doctor")
    assert done.stdout == "2 records\njournal and index agree\n"


def test_the_doctor_saves_what_can_be_read_of_a_damaged_journal(npcsdk: Run, folder: Path) -> None:
    with (folder / "journal.sqlite3").open("r+b") as stream:
        stream.write(bytes(4096))
    done = npcsdk("memory", "--memory", str(folder))
    assert done.returncode == 2
    assert f'npcsdk memory --doctor --memory "{folder}"' in done.stderr.replace("\n", " ")
    done = npcsdk("memory", "--memory", str(folder), "--doctor")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "3 records are recovered" in done.stdout
    assert "Nothing is lost." in done.stdout
    (kept,) = folder.glob("journal.damaged-*.sqlite3")
    assert str(kept) in done.stdout
    assert "journal and index agree" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("bram",),
        ("bram", "--memory", "nowhere"),
        ("nobody", "--memory", "."),
        ("--memory", ".", "--query", "x"),
    ],
)
def test_mistakes_are_one_paragraph(npcsdk: Run, arguments: tuple[str, ...]) -> None:
    done = npcsdk("memory", *arguments)
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_a_player_is_forgotten(npcsdk: Run, folder: Path) -> None:
    done = npcsdk("memory", "--memory", str(folder), "--forget", "ann")
    assert done.returncode == 0
    assert "erased" in done.stderr
    shown = npcsdk("memory", "bram", "--memory", str(folder)).stdout
    assert "ann" not in shown
    assert shown


def test_looking_has_the_index_not_built_again(npcsdk: Run, folder: Path) -> None:
    with Memory.open(folder, embedder="hashing") as memory:
        assert memory.indexed(60)
    done = npcsdk("memory", "bram", "--memory", str(folder))
    assert done.returncode == 2
    assert "hashing-1/384" in done.stderr
    assert "--embedder" in done.stderr
    done = npcsdk("memory", "bram", "--memory", str(folder), "--embedder", "hashing")
    assert done.returncode == 0
    assert made_by(folder / "index") == "hashing-1/384"
