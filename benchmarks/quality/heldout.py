"""Whether the evaluation's worlds stay out of the training material: names, places, items, tools and lines.

    python -m benchmarks.quality.heldout [--samples 2000000]

Compared are whole words for names and whole phrases for the rest, without regard to case, with every text of
``examples/embedded_model`` (hand-written corpus, lexicon, generators) and of ``personas``. Names are also looked for
among samples of the training lexicon's name generator, which could hit one by chance.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.quality.cases import HeldOutWorld, load_worlds

__all__ = ["TRAINING", "found_in_training", "names", "phrases", "tools", "training_text"]

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "examples" / "embedded_model"
_ORDINARY = """
a an the and or of in on at to for is are was were it its it's he she they you your this that there here
no not never only nobody when after each one two three four five six seven eight nine ten eleven twelve
monday tuesday wednesday thursday friday saturday sunday mondays thursdays sundays january february march
april may june july august september october november december easter christmas god sir madam mr mrs miss
dr captain academy admiral auntie blue bright canal candles caravan countess crew crow dead duchess
empress flat gang gate golden goodnight grand grandfather hill hotel mule new notch old one-ear overpass
professor pudding queen ridge rock room saint seal shelf sister sleeves spring station tin veiled wells
wet whispers yard york antarctic candlemas causeway cricket dolly dragonfly dutch gala monks mrs. palms pendulum
reservoir santa tarpaulin tuck
"""
ORDINARY = frozenset(_ORDINARY.split())
"""English words, which may be part of a name; the whole name is looked for all the same."""
_NAME = re.compile(
    r"(?<![.!?:\"“] )(?<!^)(?<![\"“])\b[A-ZÀ-Ž][\w'’À-ž-]+(?: [A-ZÀ-Ž][\w'’À-ž-]+)*", re.MULTILINE
)


def names(world: HeldOutWorld) -> set[str]:
    """The personas' names, the world's, and every capitalised word inside a sentence of lore."""
    found = {persona.name for persona in world.definition.personas.values()} | {world.definition.name}
    for text in (*world.lore.values(), world.definition.setting, *world.definition.facts):
        found |= set(_NAME.findall(text))
    return {name for name in found if name.lower() not in ORDINARY}


def tools(world: HeldOutWorld) -> set[str]:
    return set(world.definition.actions)


def phrases(world: HeldOutWorld) -> set[str]:
    """Targets in the game's state, choices of tools, and the strings that calls must copy."""
    found: set[str] = set()
    for persona in world.definition.personas.values():
        for value in persona.state.values():
            found |= {str(one) for one in (value if isinstance(value, tuple) else (value,))}
    for action in world.definition.actions.values():
        for parameter in action.parameters.values():
            found |= {str(one) for one in parameter.enum or ()}
    for case in world.cases:
        for value in case.arguments.values():
            found |= {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)}
    return {
        one for one in found if one.lower() not in ORDINARY and len(one) > 1
    }  # not weekdays, not a letter


def training_text() -> str:
    """Everything that training is made from, in lower case, white space and underscores as single spaces."""
    files = [*TRAINING.rglob("*.txt"), *TRAINING.rglob("*.py"), *(ROOT / "personas").rglob("*.*")]
    return _plain("\n".join(file.read_text(encoding="utf-8") for file in sorted(files) if file.is_file()))


def _plain(text: str) -> str:
    words = re.sub(r"[^\w]+|_", " ", text.lower()).split()
    return " " + " ".join(words) + " "


def found_in_training(world: HeldOutWorld, text: str) -> dict[str, list[str]]:
    """What of a world stands in the training text: the names' words, the tools, the phrases and the lines."""

    def standing(items: Iterable[str]) -> list[str]:
        return sorted(item for item in items if _plain(item) in text)

    whole = names(world)
    proper = whole | {word for name in whole for word in name.split() if word.lower() not in ORDINARY}
    long_lines = {case.line for case in world.cases if len(case.line.split()) > 4}
    return {
        "names": standing(proper),
        "tools": standing(tools(world)),
        "phrases": standing(phrases(world)),
        "lines": standing(long_lines),
    }


def sampled(worlds: Iterable[HeldOutWorld], samples: int) -> list[str]:
    """Names that the training lexicon's generators hit within this many samples."""
    sys.path.insert(0, str(TRAINING))
    from lexicon import Lexicon  # type: ignore[import-not-found]

    wanted = {word.lower() for world in worlds for name in names(world) for word in name.split()}
    things = {phrase.lower() for world in worlds for phrase in phrases(world)}
    lexicon = Lexicon(random.Random(11))
    hit: set[str] = set()
    for number in range(samples):
        word = lexicon.invented().lower()
        if word in wanted:
            hit.add(word)
        if number % 4 == 0:
            for made in (lexicon.item(), lexicon.scenery(), lexicon.place(), lexicon.town()):
                if made.lower() in things | wanted:
                    hit.add(made.lower())
    return sorted(hit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=0, help="samples of the name generator")
    given = parser.parse_args()
    text = training_text()
    worlds = load_worlds()
    trouble = 0
    for world in worlds:
        for kind, items in found_in_training(world, text).items():
            if items:
                trouble += len(items)
                print(f"{world.file}: {kind}: {', '.join(items)}")
    if given.samples:
        hit = sampled(worlds, given.samples)
        print(f"the generator made in {given.samples} samples: {', '.join(hit) or 'none of them'}")
    counted = [len(set().union(*(kind(world) for world in worlds))) for kind in (names, tools, phrases)]
    print(
        f"checked {counted[0]} names, {counted[1]} tools, {counted[2]} phrases of {len(worlds)} worlds: "
        f"{trouble} stand in training"
    )
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
