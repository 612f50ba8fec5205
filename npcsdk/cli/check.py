"""``npcsdk check [PATH...]``: every mistake of a world at once, each with file, line, column and caret."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from npcsdk.cli.output import errors, reports_errors

__all__ = ["check"]


@reports_errors
def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...", help="World folders or single files. Left out: the shipped world."
        ),
    ] = None,
) -> None:
    """Check worlds, personas and lore; exit code 2 when something is wrong."""
    # here: the other commands start faster without the parts that read worlds
    from npcsdk.persona.loader import check_paths
    from npcsdk.persona.starter import shipped_world

    named: list[Path] = paths or [shipped_world()]
    found = check_paths(named)
    for diagnostic in found:
        sys.stdout.write(diagnostic.render() + "\n\n")
    wrong = sum(diagnostic.severity == "error" for diagnostic in found)
    warnings = len(found) - wrong
    if wrong:
        errors.print(f"[bold red]{wrong} mistakes[/]" + (f", {warnings} warnings" if warnings else ""))
        raise typer.Exit(2)
    errors.print("[green]No mistakes[/]" + (f", {warnings} warnings" if warnings else "") + ".")
