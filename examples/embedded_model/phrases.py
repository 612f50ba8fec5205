# SPDX-License-Identifier: Apache-2.0
"""The lists of words and phrases in data/lists.txt."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import numpy as np

import npcsdk.memory


@cache
def _table() -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for chunk in (Path(__file__).parent / "data" / "lists.txt").read_text(encoding="utf-8").split("\n[")[1:]:
        name, _, body = chunk.partition("]")
        entries = [entry.strip() for entry in body.replace("\n", " ").split("|")]
        table[name] = ["" if entry == "-" else entry for entry in entries]
    return table


def words(name: str) -> list[str]:
    """The entries of a list, in the file's order (an entry that stands twice is drawn twice as often)."""
    return _table()[name]


def content(text: str) -> set[str]:
    """The words of a text that carry its matter; a slot counts as a word."""
    common = set(words("FUNCTION_WORDS"))
    return {w for w in re.findall(r"\{\w+\}|[a-z0-9]+", text.lower()) if w not in common and len(w) > 2}


FREQUENT = 8000
"""Only so many of the most frequent words stand in for others."""
NEAR = 0.56
"""The least cosine of two words of which one may stand for the other."""


@cache
def _vectors() -> tuple[list[str], dict[str, int], np.ndarray]:
    """The words of the SDK's default embedder, most frequent first, their places, and their vectors of length one."""
    with np.load(Path(npcsdk.memory.__file__).with_name("word_vectors.npz")) as table:
        known = table["words"].tobytes().decode("ascii").split()
        rows = table["vectors"].astype(np.float32)
    return (
        known,
        {word: n for n, word in enumerate(known)},
        rows / np.linalg.norm(rows, axis=1, keepdims=True),
    )


@cache
def neighbours(word: str) -> list[str]:
    """Frequent words that mean much the same."""
    known, places, rows = _vectors()
    if word not in places:
        return []
    cosine = rows[:FREQUENT] @ rows[places[word]]
    return [known[n] for n in np.argsort(-cosine)[1:7] if cosine[n] >= NEAR]


def reword(rng: random.Random, line: str) -> str:
    """The line with one of its words of matter replaced by another that means much the same, if there is one."""
    common = words("FUNCTION_WORDS")
    places = [m for m in re.finditer(r"(?<![{\w'])[a-z]{4,}(?![}\w'])", line) if m[0] not in common]
    rng.shuffle(places)
    for m in places[:3]:
        if others := neighbours(m[0]):
            return line[: m.start()] + rng.choice(others) + line[m.end() :]
    return line
