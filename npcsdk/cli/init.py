"""``npcsdk init DIR``: a small commented world to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from npcsdk.cli.output import reports_errors

__all__ = ["init"]


@reports_errors
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
) -> None:
    """Make a small commented world with two characters, lore and actions."""
    from npcsdk.persona.starter import create_world  # here, as in `check`

    for path in create_world(directory):
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(
        f"\nTalk to it:   npcsdk play --world {directory}\nCheck it:     npcsdk check {directory}\n"
    )
