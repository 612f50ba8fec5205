"""``npcsdk memory [NPC]``: what a character remembers and why; export, import, forgetting, a check with repair."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npcsdk.cli.options import JournalOption, MemoryOption, WorldOption
from npcsdk.cli.output import errors, reports_errors
from npcsdk.errors import MemoryStoreError, WorldError

if TYPE_CHECKING:
    from npcsdk.memory.recall import Embedder, Memory

__all__ = ["memory"]

_RUNS = 20  # of lost positions that are shown
_INDEXING = 10.0  # seconds to wait for the index before a query goes by words


@reports_errors
def memory(
    npc: Annotated[
        str | None, typer.Argument(metavar="[NPC]", help="The character's id. Left out: everybody.")
    ] = None,
    where: MemoryOption = None,
    journal: JournalOption = None,
    player: Annotated[
        str | None, typer.Option("--player", metavar="P", help="Only what concerns this player.")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="TEXT", help="What NPC recalls when it hears this.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="With --query: scores and reasons.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 20,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write records as JSON Lines; - = stdout.")
    ] = None,
    import_from: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Take in JSON Lines; - = stdin.")
    ] = None,
    doctor: Annotated[
        bool,
        typer.Option(
            "--doctor",
            help="Check journal and index, and repair them; of a damaged journal, all that can be read is kept.",
        ),
    ] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="P", help="Erase every trace of a player, for good.")
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option("--embedder", metavar="NAME", help="The one that the game uses, if not the usual."),
    ] = None,
    world: WorldOption = None,
) -> None:
    """Show what characters remember. One process owns a memory folder: stop the game first."""
    # here: the other commands start faster without
    from npcsdk.dialogue.world import open_memory
    from npcsdk.memory.places import place_of
    from npcsdk.persona.loader import load_world
    from npcsdk.persona.starter import shipped_world

    if query is not None and npc is None:
        raise WorldError(
            "Who recalls it?", hint="Name a character: npcsdk memory NPC --query TEXT.", code="npc_unknown"
        )
    definition = load_world(world or shipped_world())
    folder = place_of(where, journal=journal, world=definition.folder).folder
    if folder is None or not folder.is_dir():
        raise MemoryStoreError(
            f"There is no memory folder {folder}." if folder else "Which memory?",
            hint="Name the folder that the game uses: --memory DIR, or its server and --journal DIR.",
            code="memory_missing",
        )
    if npc is not None and npc not in definition.personas:
        meant = "For the doctor write --doctor. " if npc == "doctor" else ""
        raise WorldError(
            f"There is no character {npc!r} in {definition.name}.",
            hint=f"{meant}It has: {', '.join(sorted(definition.personas))}.",
            code="npc_unknown",
        )
    if doctor:
        _salvage(folder)
    using = _embedder(embedder, folder / "index")
    with open_memory(definition, where, journal=journal, embedder=using) as opened:
        if import_from is not None:
            count = opened.take_in(_read(import_from))
            errors.print(f"[green]{count} records taken in.[/]")
        if forget is not None:
            found = opened.forget(forget)
            errors.print(f"[green]{found.records} records and {found.slots} saved moments erased.[/]")
        elif doctor:
            _doctor(opened)
        elif export is not None:
            _write(export, opened.records(npc, interlocutor=player))
        elif query is not None and npc is not None:
            opened.indexed(_INDEXING)
            tags = definition.personas[npc].knows
            who = player or "player"
            for passage in opened.recall(query, npc=npc, interlocutor=who, tags=tags, limit=limit):
                sys.stdout.write(f"{passage.text}\n")
                if explain:
                    sys.stdout.write(
                        f"    {passage.id} {passage.source} {passage.score:.2f}: {passage.reason}\n"
                    )
        elif import_from is None:
            _show(opened, npc, player, limit)


def _embedder(given: str | None, index: Path) -> Embedder | None:
    """The one named, or the usual one, unless another has made the index: looking must not have it built again."""
    from npcsdk.memory.index import made_by
    from npcsdk.memory.registry import DEFAULT_EMBEDDER, make_embedder

    if given is not None:
        return make_embedder(given)
    usual, made = make_embedder(DEFAULT_EMBEDDER), made_by(index)
    if made not in (None, usual.name):
        raise MemoryStoreError(
            f"The index in {index} was made by the embedder {made!r}.",
            hint=f"Name it as the game does: --embedder sentence-transformers:FOLDER; or have the index built again by "
            f"the usual one: --embedder {DEFAULT_EMBEDDER}.",
            code="embedder_differs",
        )
    return usual


def _show(opened: Memory, npc: str | None, player: str | None, limit: int) -> None:
    from npcsdk.memory.summary import summary_of

    if npc is not None and player is not None:
        for name, value in sorted(opened.values(npc, player).items()):
            sys.stdout.write(f"{name} = {value:g}\n")
    every = opened.records(npc, interlocutor=player)
    for record in {record.conversation: record for record in every if record.kind == "summary"}.values():
        text = summary_of(record.data or {}).text(record.interlocutor)
        who = "" if npc is not None else f"{record.npc}, "
        sys.stdout.write(f"{text}\n    {who}with {record.interlocutor}, summary, at {record.at:g}\n")
    silent = ("transcript", "value", "summary")
    records = [record for record in every if record.kind not in silent]
    for record in records[-limit:]:
        who = "" if npc is not None else f"{record.npc}, "
        with_whom = f"with {record.interlocutor}, " if record.interlocutor else ""
        where = f", {record.place}" if record.place else ""
        sys.stdout.write(f"{record.text}\n    {who}{with_whom}{record.kind}, at {record.at:g}{where}\n")
    if len(records) > limit:
        errors.print(f"... and {len(records) - limit} older ones; --limit shows more.")


def _salvage(folder: Path) -> None:
    """Before memory is opened: of a damaged journal it could not be."""
    from npcsdk.memory.salvage import heal

    found = heal(folder)
    if found is None:
        return
    say = sys.stdout.write
    say(f"The journal was damaged: {found.records} records are recovered, {found.slots} saved moments.\n")
    if found.lost:
        runs = [str(first) if first == last else f"{first}-{last}" for first, last in found.lost]
        more = f" and {len(runs) - _RUNS} more" if len(runs) > _RUNS else ""
        say(
            f"{'Lost' if found.certain else 'Lost, at most'}: {found.count} records, at the positions "
            f"{', '.join(runs[:_RUNS])}{more}.\n"
        )
    else:
        say("Nothing is lost.\n" if found.certain else "Nothing is known to be lost.\n")
    if found.timelines_lost:
        say("It is lost what was un-done by loading a saved game: all of it counts as lived through now.\n")
    if found.slots_lost:
        say(
            "Saved moments may be lost; where each timeline ended is named `salvaged N` now: load or delete it.\n"
        )
    say(
        f"The damaged file is kept as {found.kept}. Play on; delete it when nothing is missed (--forget deletes it, "
        "too). What is missed may be in a backup: --export of that, then --import here.\n"
    )


def _doctor(opened: Memory) -> None:
    health = opened.doctor()
    sys.stdout.write(f"{health.records} records\n")
    for problem in health.journal:
        sys.stdout.write(f"journal: {problem}\n")
    if health.missing or health.strangers:
        sys.stdout.write(f"index: {health.missing} were missing, {health.strangers} did not belong\n")
    if health.well:
        sys.stdout.write("journal and index agree\n")
        return
    hint = (
        "the disk may be failing: copy the folder to another one and run this there"
        if health.journal
        else "delete the folder `index` and run this again"
    )
    sys.stdout.write(f"not repaired: {hint}\n")
    raise typer.Exit(2)


def _write(file: Path, records: Any) -> None:
    from npcsdk.memory.files import write_file
    from npcsdk.memory.savegame import fields_of

    lines = [json.dumps(fields_of(record), ensure_ascii=False) + "\n" for record in records]
    if str(file) == "-":
        sys.stdout.writelines(lines)
    else:
        write_file(file, "".join(lines).encode("utf-8"))
    errors.print(f"[green]{len(lines)} records.[/]")


def _read(file: Path) -> Iterator[Any]:
    from npcsdk.memory.files import read_file

    content = sys.stdin.buffer.read() if str(file) == "-" else read_file(file)
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise MemoryStoreError(
                    f"Line {number} of {file} is not JSON: {error}.",
                    hint="Give what --export wrote; nothing was taken in.",
                    code="import_invalid",
                ) from error
