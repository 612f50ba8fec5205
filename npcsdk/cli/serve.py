"""``npcsdk serve``: the bridge for game engines."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from npcsdk.bridge.client import DEFAULT_ADDRESS
from npcsdk.bridge.server import Status
from npcsdk.bridge.server import serve as run
from npcsdk.cli.options import MemoryOption, ModelOption, WorldOption
from npcsdk.cli.output import errors, reports_errors

__all__ = ["serve"]


@reports_errors
def serve(
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="Where to listen; this machine only.")
    ] = DEFAULT_ADDRESS,
    world: WorldOption = None,
    model: ModelOption = None,
    memory: MemoryOption = None,
) -> None:
    """Serve a world to game engines over ZeroMQ, until Ctrl-C or SIGTERM."""
    run(world, model=model, memory=memory, address=address, on_status=_tell)


def _tell(status: Status) -> None:
    if status.event == "listening":
        errors.print(f"listening on [bold]{escape(status.address)}[/]")
    elif status.event == "ready":
        errors.print(
            f"serving [bold]{escape(status.world)}[/]: {escape(', '.join(status.npcs))}. Ctrl-C stops."
        )
    elif status.event == "worker_died":
        errors.print(f"[red]the worker died[/]: {escape(status.message)}")
    elif status.event == "draining":
        errors.print("finishing the turns that are running")
