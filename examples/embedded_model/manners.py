# SPDX-License-Identifier: Apache-2.0
"""Manners of speech: what a persona's `Manner:` line says, and how such a character words the everyday.

The phrases are in data/manners.txt. `pre` and `post` go around a statement that carries a fact; the other lists are
whole replies. A manner has several names, so that a persona may say it in other words.
"""

from __future__ import annotations

from pathlib import Path


def _read() -> dict[str, dict[str, list[str]]]:
    table: dict[str, dict[str, list[str]]] = {}
    phrases: list[str] = []
    manner = ""
    for row in (Path(__file__).parent / "data" / "manners.txt").read_text(encoding="utf-8").splitlines():
        if row.startswith("#") or not row:
            continue
        if row.startswith("["):
            manner = row.strip("[]")
            table[manner] = {}
        elif row.startswith("  "):
            phrases.append(row.strip().removeprefix("-") if row.strip() == "-" else row.strip())
        else:
            phrases = table[manner][row.rstrip(":")] = []
    return table


ALL = _read()
PLAIN = ALL["plain"]


def match(words: str) -> str:
    """The manner that best fits a hand-written file's words, or `plain`."""
    hints = {
        "gruff": "gruff blunt grump short rough surly curt growl",
        "cheerful": "cheer merry warm jolly chatty talkative friend bubbly kind",
        "formal": "formal courteous polite dignif courtly proper",
        "shy": "shy timid nervous stammer halting soft",
        "sly": "sly oily smooth cunning greedy flatter",
        "wise": "wise patient calm serene old gentle thoughtful",
        "pompous": "pompous haughty arrog vain boast proud grand",
        "weary": "weary tired gloom melanch bitter sad sigh",
        "military": "militar strict stern clipped duti disciplin",
        "dreamy": "dream myster cryptic poetic whims odd strange",
        "rustic": "rustic folks country plain simple earthy homely",
        "scholarly": "scholar bookish learned pedant exact curious precise",
    }
    best = max(hints, key=lambda k: sum(h in words.lower() for h in hints[k].split()))
    return best if any(h in words.lower() for h in hints[best].split()) else "plain"
