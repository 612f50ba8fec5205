"""``npcsdk keys``: who a server is, and who its clients are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from npcsdk.bridge.keys import Keys, read_keys, write_keys
from npcsdk.bridge.zap import new_keys
from npcsdk.cli.output import errors, reports_errors

__all__ = ["keys"]


@reports_errors
def keys(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CLIENT]...", help="Make keys for these clients, too.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the files go.")] = Path(),
) -> None:
    """Make the server's keys (once), and a key file for each client."""
    path = folder / "server.key"
    if path.exists():
        server = read_keys(path)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        server = Keys(*new_keys())
        write_keys(path, server)
        errors.print(f"wrote {escape(str(path))}: stays with the server")
    lines = [f"keys: {path.name}"]
    if names:
        lines.append("clients:")
    for name in names or ():
        client = Keys(*new_keys(), server=server.public)
        write_keys(folder / f"{name}.key", client)
        errors.print(f"wrote {escape(str(folder / f'{name}.key'))}: goes to the client")
        lines.append(f'  {name}: {{key: "{client.public}", role: play}}')
    errors.print("for the configuration file, with the roles play, direct or administer:")
    typer.echo("\n".join(lines))
