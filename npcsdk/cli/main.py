"""The ``npcsdk`` command."""

from __future__ import annotations

import os
import sys

import typer

import npcsdk
from npcsdk.cli.actions import actions
from npcsdk.cli.bindings import bindings
from npcsdk.cli.check import check
from npcsdk.cli.init import init
from npcsdk.cli.keys import keys
from npcsdk.cli.memory import memory
from npcsdk.cli.models import models
from npcsdk.cli.play import play
from npcsdk.cli.say import say
from npcsdk.cli.serve import serve
from npcsdk.cli.top import top

__all__ = ["app", "main"]

app = typer.Typer(
    name="npcsdk",
    help="Game characters that think, remember and act on the player's own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(play)
app.command()(say)
app.command()(serve)
app.command()(keys)
app.command()(top)
app.command()(check)
app.command()(actions)
app.command()(bindings)
app.command()(init)
app.command()(memory)
app.add_typer(models, name="models")


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"npcsdk {npcsdk.__version__}\n")


def main() -> None:
    """Entry point of the console script and of ``python -m npcsdk``."""
    for stream in (sys.stdout, sys.stderr):
        # Characters speak UTF-8, whatever code page a Windows console or a bare locale has.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="replace")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe left; leaving quietly is what a filter does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
