"""Checks of `groups:`, `hearsay:` and the actions' `who:` in world.yaml: everybody in them exists."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

from npcsdk.persona.diagnostics import did_you_mean
from npcsdk.persona.source import Path, Source

__all__ = ["check_society"]


def check_society(world: Source, personas: Collection[str]) -> None:
    """Report everybody named who is no persona (or, where speakers and listeners are named, no group).

    It reads the file's plain values, so that a mistake elsewhere in it does not hide these.
    """
    groups: set[str] = set()
    for index, group in _entries(world, "groups"):
        name = group.get("id")
        if isinstance(name, str):
            if name in groups or name in personas:
                other = "group" if name in groups else "persona"
                world.report("NPC044", world.value_at(("groups", index, "id")), name=name, other=other)
            groups.add(name)
        _check_all(world, ("groups", index, "members"), group.get("members"), personas)
    for index, rule in _entries(world, "hearsay"):
        for key in ("from", "to"):
            _check(world, ("hearsay", index, key), rule.get(key), [*personas, *groups])
    whole: Any = world.value
    actions: Any = cast("dict[str, Any]", whole).get("actions") if isinstance(whole, dict) else None
    for name, entry in (cast("dict[str, Any]", actions) if isinstance(actions, dict) else {}).items():
        if isinstance(entry, dict):
            _check_all(world, ("actions", name, "who"), cast("dict[str, Any]", entry).get("who"), personas)


def _check_all(world: Source, path: Path, names: Any, known: Collection[str]) -> None:
    for place, name in enumerate(cast("list[Any]", names) if isinstance(names, list) else []):
        _check(world, (*path, place), name, known)


def _check(world: Source, path: Path, name: Any, known: Collection[str]) -> None:
    if isinstance(name, str) and name not in known:
        hint = did_you_mean(name, known)
        world.report("NPC043", world.value_at(path), name=name, known=", ".join(sorted(known)), hint=hint)


def _entries(world: Source, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    whole: Any = world.value
    listed: Any = cast("dict[str, Any]", whole).get(key) if isinstance(whole, dict) else None
    for index, entry in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
        if isinstance(entry, dict):
            yield index, cast("dict[str, Any]", entry)
