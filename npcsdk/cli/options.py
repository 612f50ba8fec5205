"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from npcsdk.actions.formats import KNOWN

__all__ = ["MemoryOption", "ModelOption", "SeedOption", "ToolFormatOption", "WorldOption", "world_options"]

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
    Path | None,
    typer.Option("--memory", metavar="DIR", help="Keep memory in this folder. Left out: for this run only."),
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


def world_options(tool_format: str | None) -> dict[str, Any]:
    """What was given of a world's options."""
    return {} if tool_format is None else {"tool_format": tool_format}
