"""``npcsdk say NPC TEXT``: one turn, for scripts and for a first look."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from npcsdk.bridge.client import World
from npcsdk.cli.games import STAND_IN, with_state
from npcsdk.cli.options import (
    JournalOption,
    MemoryOption,
    ModelOption,
    SeedOption,
    ToolFormatOption,
    WorldOption,
    world_options,
)
from npcsdk.cli.output import EventPrinter, print_explained, print_json, reports_errors
from npcsdk.events import Action, Failed

__all__ = ["say"]


@reports_errors
def say(
    npc: Annotated[str, typer.Argument(metavar="NPC", help="The character's id.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the player says.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as on the wire.")] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Show what was recalled and dropped, which actions were offered, and why."
        ),
    ] = False,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="KEY=VALUE", help="What is so in the game; a,b makes a list. Repeatable."
        ),
    ] = None,
    seed: SeedOption = None,
    world: WorldOption = None,
    model: ModelOption = None,
    tool_format: ToolFormatOption = None,
    memory: MemoryOption = None,
    journal: JournalOption = None,
) -> None:
    """Say one line to a character and print the answer. Actions are answered with `done`."""
    printer = EventPrinter(terminal=sys.stdout.isatty())
    failed = False
    with World(
        world, model=model, memory=memory, options=world_options(tool_format, journal), inline=True
    ) as opened:
        turn = opened[npc].say(text, state=with_state({}, state or ()), seed=seed)
        for event in turn:
            if isinstance(event, Action) and event.returns == "result":
                turn.result(event, STAND_IN)
            if as_json:
                print_json(event)
            else:
                printer.show(event)
            failed = failed or isinstance(event, Failed)
    if explain and not as_json and printer.end is not None:
        print_explained(printer.end)
    if failed:
        raise typer.Exit(2)
