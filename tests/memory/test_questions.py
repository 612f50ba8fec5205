"""Questions as players ask them, over the lore that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from npcsdk.memory.recall import Memory
from npcsdk.persona.loader import load_world

WORLD = Path(__file__).parents[2] / "personas"
SHEET: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "questions.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lore() -> Any:
    return load_world(WORLD).lore


def everything(memory: Memory, lore: Any, question: str, limit: int) -> list[str]:
    tags = {tag for passage in lore for tag in passage.tags}  # the hardest case: somebody who knows it all
    found = memory.recall(question, npc="sage", interlocutor="player", tags=tags, limit=limit)
    return [passage.text for passage in found]


def test_every_expected_passage_exists_once(lore: Any) -> None:
    wrong = {
        piece
        for question in SHEET["questions"]
        for piece in question["finds"]
        if sum(piece in passage.text for passage in lore) != 1
    }
    assert not wrong, "the lore has changed: say in questions.yaml what answers now"


def test_the_right_passage_is_among_the_first_four(lore: Any) -> None:
    memory = Memory.open(None, lore)
    missed = [
        question["ask"]
        for question in SHEET["questions"]
        if not any(
            piece in text
            for text in everything(memory, lore, question["ask"], 4)
            for piece in question["finds"]
        )
    ]
    memory.close()
    assert len(SHEET["questions"]) >= 150
    assert 1 - len(missed) / len(SHEET["questions"]) >= 0.93, missed


def test_small_talk_brings_nothing_to_mind(lore: Any) -> None:
    memory = Memory.open(None, lore)
    recalled = {line: everything(memory, lore, line, 4) for line in SHEET["small_talk"]}
    memory.close()
    assert {line for line, texts in recalled.items() if texts} == set()
