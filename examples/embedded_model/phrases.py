# SPDX-License-Identifier: Apache-2.0
"""The lists of words and phrases in data/lists.txt."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path


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
