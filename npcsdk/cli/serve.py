"""``npcsdk serve``: the bridge for game engines."""

from __future__ import annotations

from typing import Annotated

import typer

from npcsdk.cli.options import MemoryOption, ModelOption, WorldOption
from npcsdk.cli.output import errors, reports_errors

__all__ = ["serve"]


@reports_errors
def serve(
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="Where to listen.")
    ] = "tcp://127.0.0.1:5990",
    world: WorldOption = None,
    model: ModelOption = None,
    memory: MemoryOption = None,
) -> None:
    """Serve a world to game engines over ZeroMQ."""
    from npcsdk.bridge.server import serve as run

    run(address, world=world, model=model, memory=memory, told=errors.print)
