"""``npcsdk serve``: the bridge for game engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from npcsdk.bridge.server import Status
from npcsdk.bridge.server import serve as run
from npcsdk.cli.logs import log_json, log_text, write_json
from npcsdk.cli.options import (
    JournalOption,
    MemoryOption,
    ModelOption,
    ToolFormatOption,
    WorldOption,
    world_options,
)
from npcsdk.cli.output import errors, reports_errors
from npcsdk.cli.settings import Settings, read_settings
from npcsdk.cli.staffing import workers_of
from npcsdk.wire.version import DEFAULT_ADDRESS

__all__ = ["serve"]


@reports_errors
def serve(
    worlds: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[WORLD]...",
            help="Folders of worlds; of several, each has a worker of its own, and its characters' ids begin with the "
            "folder's name and a slash. Left out: --world.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            help=f"Where to listen; without keys, this machine only. Left out: {DEFAULT_ADDRESS}.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="A YAML file with these and further settings."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            max=512,
            help="Threads of the model's computation: leave the game some cores. Left out: the runtime's choice.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
    world: WorldOption = None,
    model: ModelOption = None,
    tool_format: ToolFormatOption = None,
    memory: MemoryOption = None,
    journal: JournalOption = None,
) -> None:
    """Serve worlds to game engines over ZeroMQ, until Ctrl-C or SIGTERM."""
    settings = read_settings(config) if config is not None else Settings()
    options = {**settings.options, **world_options(tool_format, journal or settings.journal)}
    threads = threads or settings.threads
    if threads is not None:
        options["threads"] = threads
    given, kept = worlds or [], memory or settings.memory
    entries = {} if given or world else settings.workers
    structured = as_json or settings.log == "json"
    log_json() if structured else log_text()
    run(
        (given[0] if given else world) or settings.world,
        model=model or settings.model,
        memory=kept,
        workers=workers_of(entries, given, memory=kept, options=options),
        address=address or settings.address,
        options=options,
        limits=settings.bounds(),
        access=settings.access(),
        metrics=metrics or settings.metrics,
        on_status=_log if structured else _tell,
    )


def _log(status: Status) -> None:
    fields: dict[str, Any] = {
        name: getattr(status, name)
        for name in ("address", "stage", "progress", "world", "npcs", "message", "worker")
    }
    write_json(status.event, **fields)


def _tell(status: Status) -> None:
    if status.event == "listening":
        errors.print(f"listening on [bold]{escape(status.address)}[/]")
        if status.message:
            errors.print(escape(status.message))
    elif status.event == "ready":
        errors.print(
            f"serving [bold]{escape(status.world)}[/]: {escape(', '.join(status.npcs))}. Ctrl-C stops."
        )
    elif status.event == "worker_died":
        which = f"worker {status.worker}" if status.worker else "worker"
        errors.print(f"[red]the {escape(which)} died[/]: {escape(status.message)}")
    elif status.event == "draining":
        errors.print("finishing the turns that are running")
