"""The cases of the evaluation: hand-written worlds, one YAML file each, and what is asked in them.

A file holds a world (`WorldFile` fields), its personas, passages of lore by key, and the cases of each behaviour:

    fact      [npc, key, line, [need, ...]]      the reply must hold each need; `14|fourteen` are alternatives
    unknown   [npc, line]                        nothing in the world answers it
    call      [npc, line, {tool: {arguments}}, {state: {...}, know: key, result: value}]     the last part is optional
    chat      [npc, line]                        tools are offered and none is wanted
    identity  [npc, name|role|who, line]         judged by `answers: {npc: {name: ..., role: ...}}`
    free      [npc, line, [key, ...]]            for a person to read

What the writer does not decide is dealt out in turn, the same on every run: how many passages stand in the prompt and
where among them the right one is, how many tools are offered besides the right one, whether the game's state is shown.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from npcsdk.persona.schema import Persona, WorldDefinition

__all__ = ["BEHAVIOURS", "WORLDS", "Case", "HeldOutWorld", "all_cases", "load_worlds"]

WORLDS = Path(__file__).parent / "worlds"
BEHAVIOURS = ("fact", "unknown", "call", "chat", "identity", "free")
MOST_PASSAGES = 4
MOST_TOOLS = 5


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of a player, what the character has before it, and what counts as right."""

    id: str
    behaviour: str
    world: WorldDefinition
    npc: str
    line: str
    contexts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    state: Mapping[str, Any] | None = None
    """None: the persona's own state; {}: the game shows none."""
    needs: tuple[str, ...] = ()
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    result: Any = "done"

    @property
    def persona(self) -> Persona:
        return self.world.personas[self.npc]

    @property
    def now(self) -> Mapping[str, Any]:
        """The game's state as the character meets it."""
        return self.persona.state if self.state is None else self.state


@dataclass(frozen=True, kw_only=True)
class HeldOutWorld:
    """A world as its file tells it."""

    file: str
    definition: WorldDefinition
    lore: Mapping[str, str]
    cases: tuple[Case, ...]


def all_cases() -> list[Case]:
    """Every case of every world."""
    return [case for world in load_worlds() for case in world.cases]


@cache
def load_worlds(folder: Path = WORLDS) -> tuple[HeldOutWorld, ...]:
    """The worlds in the order of their file names.

    Raises:
        ValueError: a case names a persona, a passage or a tool that its world does not have, or is malformed.
    """
    return tuple(_world(path) for path in sorted(folder.glob("*.yaml")))


def _world(path: Path) -> HeldOutWorld:
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    personas = {key: Persona.model_validate({"id": key, **value}) for key, value in data["personas"].items()}
    definition = WorldDefinition.model_validate(
        {**data["world"], "folder": path.parent, "personas": personas}
    )
    lore = {key: " ".join(text.split()) for key, text in data["lore"].items()}
    reader = _Reader(path.stem, definition, lore, data.get("answers", {}))
    unknown = data.keys() - {"world", "personas", "lore", "answers", *BEHAVIOURS}
    if unknown:
        raise ValueError(f"{path.name}: unknown keys {sorted(unknown)}")
    cases: list[Case] = []
    for behaviour in BEHAVIOURS:
        for number, entry in enumerate(data.get(behaviour, [])):
            try:
                cases.append(
                    getattr(reader, behaviour)(f"{path.stem}/{behaviour}/{number + 1}", number, *entry)
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path.name}: {behaviour} {entry!r}: {type(error).__name__}: {error}"
                ) from error
    return HeldOutWorld(file=path.name, definition=definition, lore=lore, cases=tuple(cases))


class _Reader:
    """One method for each behaviour: from an entry of the list to a case."""

    def __init__(
        self,
        stem: str,
        world: WorldDefinition,
        lore: Mapping[str, str],
        answers: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._world = world
        self._lore = lore
        self._answers = answers
        self._turn = zlib.crc32(stem.encode())  # so that not every world begins with the same passages

    def fact(self, id: str, number: int, npc: str, key: str, line: str, needs: Sequence[str]) -> Case:
        others = self._others(number, number % MOST_PASSAGES, [key])
        place = zlib.crc32(id.encode()) % (len(others) + 1)
        keys = [*others[:place], key, *others[place:]]
        return self._case(id, npc, line, keys, number, needs=tuple(map(str, needs)))

    def unknown(self, id: str, number: int, npc: str, line: str, avoid: Sequence[str] = ()) -> Case:
        return self._case(id, npc, line, self._others(number, (number + 1) % MOST_PASSAGES, avoid), number)

    def call(
        self,
        id: str,
        number: int,
        npc: str,
        line: str,
        call: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
    ) -> Case:
        more = dict(more or {})
        ((tool, arguments),) = call.items()
        keys = [more.pop("know")] if "know" in more else []
        if number % 3 == 2 and not keys:
            keys = self._others(number, 1, ())
        case = self._case(
            id,
            npc,
            line,
            keys,
            0,
            tools=self._tools(number, tool),
            state=more.pop("state", None),
            tool=tool,
            arguments=dict(arguments or {}),
            result=more.pop("result", "done"),
        )
        if more:
            raise ValueError(f"unknown {sorted(more)}")
        return case

    def chat(self, id: str, number: int, npc: str, line: str) -> Case:
        return self._case(
            id, npc, line, self._others(number, number // 4 % 2, ()), 0, tools=self._tools(number)
        )

    def identity(self, id: str, number: int, npc: str, kind: str, line: str) -> Case:
        answers = self._answers[npc]
        needs = (f"{answers['name']}|{answers['role']}",) if kind == "who" else (answers[kind],)
        return self._case(id, npc, line, self._others(number, number % 3, ()), number, needs=needs)

    def free(self, id: str, number: int, npc: str, line: str, keys: Sequence[str] = ()) -> Case:
        return self._case(id, npc, line, keys, number)

    def _case(self, id: str, npc: str, line: str, keys: Sequence[str], number: int, **more: Any) -> Case:
        if npc not in self._world.personas:
            raise KeyError(npc)
        more.setdefault("state", None if number // 4 % 2 == 0 else {})
        return Case(
            id=id,
            behaviour=id.split("/")[1],
            world=self._world,
            npc=npc,
            line=line,
            contexts=tuple(self._lore[key] for key in keys),
            **more,
        )

    def _others(self, number: int, count: int, without: Sequence[str]) -> list[str]:
        keys = [key for key in self._lore if key not in without]
        start = self._turn + 3 * number
        return (
            [keys[(start + 2 * step) % len(keys)] for step in range(count)] if len(keys) > 8 else keys[:count]
        )

    def _tools(self, number: int, right: str = "") -> tuple[str, ...]:
        names = list(self._world.actions)
        if right and right not in names:
            raise KeyError(right)
        others = [name for name in _rotated(names, self._turn + number) if name != right]
        chosen = {right, *others[: 1 + number % (MOST_TOOLS - 1)]} if right else {*others[: 2 + number % 4]}
        return tuple(name for name in names if name in chosen)


def _rotated(names: Sequence[str], by: int) -> Iterator[str]:
    for step in range(len(names)):
        yield names[(by + step) % len(names)]
