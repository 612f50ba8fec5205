"""``npcsdk top``: how a server is doing, live."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from npcsdk.bridge.asking import metrics_of
from npcsdk.bridge.client import DEFAULT_ADDRESS, Keys, connect
from npcsdk.bridge.stats import BUCKETS_MS
from npcsdk.cli.output import reports_errors

__all__ = ["top"]


@reports_errors
def top(
    address: Annotated[
        str, typer.Option("--address", metavar="ADDRESS", help="Where the server listens.")
    ] = DEFAULT_ADDRESS,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="FILE", help="Your key file, where the server wants one.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the numbers once and leave.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="S", min=0.2, help="Seconds between looks.")
    ] = 1.0,
) -> None:
    """Show a server's clients, queue, speed and errors, live. Ctrl-C leaves."""
    with connect(address, keys=Keys.read(keys) if keys else None) as world:
        before = dict(metrics_of(world.core))
        if once:
            Console().print(_table(world.name, before, before, 1.0))
            return
        with (
            contextlib.suppress(KeyboardInterrupt),
            Live(_table(world.name, before, before, every), auto_refresh=False) as live,
        ):
            while True:
                time.sleep(every)
                now = dict(metrics_of(world.core))
                live.update(_table(world.name, before, now, every), refresh=True)
                before = now


def _table(world: str, before: Mapping[str, Any], now: Mapping[str, Any], seconds: float) -> Table:
    worker: Mapping[str, Any] = now.get("worker") or {}
    earlier: Mapping[str, Any] = before.get("worker") or {}
    table = Table(title=world, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    tokens: Mapping[str, int] = worker.get("tokens", {})
    tokens_before: Mapping[str, int] = earlier.get("tokens", {})
    rate = (tokens.get("generated", 0) - tokens_before.get("generated", 0)) / seconds
    prompt = tokens.get("prompt", 0)
    cached = f"{100 * tokens.get('cached', 0) / prompt:.0f} %" if prompt else "-"
    rows: list[tuple[str, Any]] = [
        ("ready", "yes" if now.get("ready") else "loading"),
        ("up", f"{now.get('up_s', 0):.0f} s"),
        ("clients (slow)", f"{now.get('clients', 0)} ({now.get('slow_clients', 0)})"),
        ("conversations", worker.get("conversations", 0)),
        ("waiting", worker.get("waiting", 0)),
        ("turns", worker.get("turns", 0)),
        ("tokens a second", f"{rate:.1f}"),
        ("prompt tokens from the cache", cached),
        ("first token, half of the turns", _half(worker, "first_token_ms")),
        ("recall, half of the turns", _half(worker, "recall_ms")),
        ("actions", _counts(worker.get("actions", {}))),
        ("ended", _counts(worker.get("ended", {}))),
        ("refused", _counts(now.get("refused", {}))),
        ("worker restarts", now.get("worker_restarts", 0)),
    ]
    for name, value in rows:
        table.add_row(name, str(value))
    for one in now.get("workers") or ():
        table.add_row(f"worker {one['name']}", _worker(one))
    return table


def _worker(one: Mapping[str, Any]) -> str:
    """One of several workers, in a line."""
    numbers: Mapping[str, Any] = one.get("numbers") or {}
    state = "ready" if one.get("ready") else "loading"
    turns = f"{numbers.get('turns', 0)} turns, {numbers.get('waiting', 0)} waiting"
    return f"{state}, {turns}, {one.get('restarts', 0)} restarts"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "-"


def _half(worker: Mapping[str, Any], name: str) -> str:
    """The bound under which half of the values lie."""
    counts: list[int] = worker.get("times", {}).get(name, {}).get("counts", [])
    total, seen = sum(counts), 0
    for bound, count in zip(BUCKETS_MS, counts, strict=False):
        seen += count
        if total and 2 * seen >= total:
            return f"within {bound} ms"
    return f"over {BUCKETS_MS[-1]} ms" if total else "-"
