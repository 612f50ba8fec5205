"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from npcsdk.actions.formats import KNOWN

__all__ = [
    "JournalOption",
    "MemoryOption",
    "ModelOption",
    "SeedOption",
    "ToolFormatOption",
    "WorldOption",
    "world_options",
]

WorldOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--world", metavar="DIR", help="The world's folder. Left out: the world that ships."),
]
ModelOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A catalogue name, a folder, a .gguf file or a server's URL; see `npcsdk models`. Left out: the "
        "embedded model.",
    ),
]
MemoryOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="DIR|URL",
        help="Keep memory in this folder, or its vectors on a Chroma server (http://host:port). Left out: for this "
        "run only.",
    ),
]
JournalOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        metavar="DIR",
        help="With a Chroma server: the journal's folder. Left out: one of this world's in your data folder.",
    ),
]
ToolFormatOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tool-format",
        metavar="DIALECT",
        help=f"How the model spells its calls: {', '.join(KNOWN)}. Left out: as the catalogue or the model's own files "
        "say.",
    ),
]
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Make the answer repeatable.")
]


def world_options(tool_format: str | None, journal: Path | None) -> dict[str, Any]:
    """What was given of a world's options."""
    given = {
        "tool_format": tool_format,
        "journal": None if journal is None else str(journal.absolute()),
    }
    return {name: value for name, value in given.items() if value is not None}
