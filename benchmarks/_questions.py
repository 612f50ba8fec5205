"""Hand-written questions over four worlds, each with the passage that answers, and how many of them are answered.

Three of the worlds are written for this and lie beside the questions in ``memory_questions``; the fourth ships.
Half of the measure are questions as players ask them (`asked`), the other questions that share no word of
meaning with their passage: those a word index cannot answer. Of these the first were looked at when a threshold was
chosen (`no_shared_word`), the others were written after that and choose nothing (`held_out`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from npcsdk.memory.recall import Memory
from npcsdk.memory.registry import DEFAULT_EMBEDDER
from npcsdk.memory.scoring import Weights
from npcsdk.persona.loader import load_world
from npcsdk.persona.schema import LorePassage

__all__ = ["KINDS", "Question", "Sheet", "answered", "share", "sheets"]

FOLDER = Path(__file__).parent / "memory_questions"
SHIPPED = Path(__file__).parents[1] / "personas"
Kind = Literal["asked", "no_shared_word", "held_out"]
KINDS: tuple[Kind, ...] = ("asked", "no_shared_word", "held_out")


@dataclass(frozen=True, slots=True)
class Question:
    """``passage`` is the id of the one that answers ``text``."""

    text: str
    passage: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Sheet:
    """A world's questions with all of its lore."""

    world: str
    lore: tuple[LorePassage, ...]
    questions: tuple[Question, ...]


def sheets() -> list[Sheet]:
    """All of them. Raises ValueError for a question whose passage is not there exactly once."""
    found: list[Sheet] = []
    for path in sorted(FOLDER.glob("*.yaml")):
        own = FOLDER / "worlds" / path.stem
        lore = load_world(own if own.is_dir() else SHIPPED).lore
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        questions: list[Question] = []
        for kind in KINDS:
            for item in content[kind]:
                passages = [passage.id for passage in lore if item["finds"] in passage.text]
                if len(passages) != 1:
                    raise ValueError(
                        f"{path.name}: {item['finds']!r} is in {len(passages)} passages, not in one"
                    )
                questions.append(Question(item["ask"], passages[0], kind))
        found.append(Sheet(path.stem, lore, tuple(questions)))
    return found


def answered(
    sheet: Sheet, *, embedder: str = DEFAULT_EMBEDDER, weights: Weights | None = None, limit: int = 5
) -> list[tuple[Question, list[str]]]:
    """Each question of a sheet with the ids of the passages that come to mind, best first.

    Everything is known to the one who is asked: the hardest case.
    """
    tags = {tag for passage in sheet.lore for tag in passage.tags}
    memory = Memory.open(None, sheet.lore, embedder=embedder, weights=weights)
    try:
        memory._recaller._lore.prepare()
        lines = [question.text for question in sheet.questions]
        # A turn waits for a slow embedder only so long; what is found shall not hang on what else runs here.
        vectors = dict(zip(lines, memory._embedder.embed(lines), strict=True))
        memory._recaller._vector = vectors.__getitem__
        results: list[tuple[Question, list[str]]] = []
        for question in sheet.questions:
            found = memory.recall(question.text, npc="sage", interlocutor="player", tags=tags, limit=limit)
            results.append((question, [passage.id for passage in found]))
        return results
    finally:
        memory.close()


def share(results: Sequence[tuple[Question, list[str]]], *kinds: str) -> float:
    """Of the questions of some kinds, how many have their passage among what was found."""
    counted = [question.passage in found for question, found in results if question.kind in kinds]
    return sum(counted) / len(counted)
