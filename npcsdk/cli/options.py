"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["MemoryOption", "ModelOption", "SeedOption", "WorldOption"]

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
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Make the answer repeatable.")
]
