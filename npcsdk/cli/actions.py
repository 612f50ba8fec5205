"""``npcsdk actions``: a world's actions as JSON Schema, or as typed code for an engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from npcsdk.cli.options import WorldOption
from npcsdk.cli.output import errors, reports_errors

__all__ = ["actions"]


@reports_errors
def actions(
    world: WorldOption = None,
    stubs: Annotated[
        Literal["csharp", "cpp"] | None,
        typer.Option("--stubs", help="Write typed code for an engine instead, to the folder DIR."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where to write the code; made if it is not there.")
    ] = None,
    openai: Annotated[
        bool, typer.Option("--openai", help="Print in the form of OpenAI's tools instead of our own.")
    ] = False,
) -> None:
    """Print the actions of a world, one JSON object for each, or write typed code for them."""
    # here: the other commands start faster without the parts that read worlds
    from npcsdk.cli.stubs import FILE_NAMES, cpp, csharp
    from npcsdk.dialogue.npc import definition_of_entry
    from npcsdk.persona.loader import load_world
    from npcsdk.persona.starter import shipped_world

    if (stubs is None) != (folder is None):
        raise typer.BadParameter("--stubs csharp|cpp and the folder DIR go together.")
    definition = load_world(world or shipped_world())
    known = [definition_of_entry(name, entry) for name, entry in definition.actions.items()]
    if stubs is not None and folder is not None:
        writers: dict[str, Callable[..., str]] = {"csharp": csharp, "cpp": cpp}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE_NAMES[stubs]
        path.write_text(writers[stubs](definition.name, known), encoding="utf-8")
        errors.print(f"[green]Wrote[/] {path} with {len(known)} actions.")
        return
    shown = [one.to_openai() if openai else one.to_dict() for one in known]
    sys.stdout.write(json.dumps(shown, ensure_ascii=False, indent=2) + "\n")
