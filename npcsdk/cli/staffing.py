"""Which workers ``npcsdk serve`` starts: one for a world, several for several worlds or for parts of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from npcsdk.cli.settings import WorkerEntry
from npcsdk.errors import BridgeError
from npcsdk.memory.places import is_server

__all__ = ["workers_of"]


def workers_of(
    entries: Mapping[str, WorkerEntry],
    worlds: Sequence[Path],
    *,
    memory: str | None,
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """What each worker loads otherwise than the others; empty where one is enough.

    Every worker keeps a journal of its own: in the folder that is named for it, or in one of its name in the common
    ``memory`` (or, with a Chroma server, in the common journal).

    Args:
        entries: the configuration's, by name.
        worlds: folders that were named on the command line; several take the place of ``entries``.

    Raises:
        BridgeError: two workers have one name, or would write one journal (``bad_config``).
    """
    if len(worlds) > 1:
        entries = {folder.absolute().name: WorkerEntry(world=folder) for folder in worlds}
        if len(entries) < len(worlds):
            raise BridgeError(
                "Two of these worlds have folders of one name.",
                hint="Name the workers in a file for --config.",
                code="bad_config",
            )
    workers = [_worker(name, entry, memory, options) for name, entry in entries.items()]
    if len(workers) == 1:
        workers[0]["prefix"] = ""
    places: dict[Any, str] = {}
    for worker in workers:
        kept = worker["options"].get("journal") if is_server(worker["memory"]) else worker["memory"]
        if kept is None and (worker["memory"] is None or worker["prefix"]):
            continue  # nothing is kept, or in the world's own place
        if kept is None or kept in places:
            raise BridgeError(
                f"The workers {places.get(kept, 'of one world')!r} and {worker['name']!r} would write one journal."
                if kept in places
                else f"The worker {worker['name']!r} has no journal of its own.",
                hint="Name a memory folder for each, or with a Chroma server a journal for all.",
                code="bad_config",
            )
        places[kept] = worker["name"]
    return workers


def _worker(name: str, entry: WorkerEntry, memory: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": name,
        "prefix": f"{name}/" if entry.world is not None else "",
        "npcs": entry.npcs,
        "options": {**options, **entry.options},
    }
    if entry.world is not None:
        given["folder"] = entry.world
    if entry.model is not None:
        given["model"] = entry.model
    kept = entry.memory or memory
    if kept is not None and not is_server(kept) and entry.memory is None:
        kept = str(Path(kept).absolute() / name)
    elif is_server(kept) and "journal" in options and "journal" not in entry.options:
        given["options"]["journal"] = str(Path(options["journal"]) / name)
    given["memory"] = kept
    return given
