"""What the commands print: streamed speech, actions, and errors as one readable paragraph."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text as Styled

from npcsdk.errors import NpcError
from npcsdk.events import Action, ActionStarted, End, Event, Explanation, Failed, Refused, Text, event_to_dict

__all__ = [
    "EventPrinter",
    "arguments_text",
    "errors",
    "print_error",
    "print_explained",
    "print_json",
    "reports_errors",
]

errors = Console(stderr=True, highlight=False, soft_wrap=True)

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def print_error(error: NpcError | Failed) -> None:
    """What happened and what to do, as a paragraph on stderr."""
    errors.print(f"[bold red]error[/] [dim]({escape(error.code)})[/]: {escape(error.message)}")
    if error.hint:
        errors.print(f"[bold]hint[/]: {escape(error.hint)}")


def reports_errors(command: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Turn an `NpcError` into a paragraph on stderr and exit code 2; nothing else is caught."""

    @wraps(command)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except NpcError as error:
            print_error(error)
            raise typer.Exit(2) from None

    return wrapped


def print_json(event: Event) -> None:
    """One event, one line of JSON, at once."""
    sys.stdout.write(json.dumps(event_to_dict(event), ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def arguments_text(arguments: Any) -> str:
    """``gate="iron gate", count=2``."""
    return ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in arguments.items()
    )


class EventPrinter:
    """Prints a turn as it comes: with colours in a terminal, as plain lines elsewhere."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._console = Console(highlight=False)
        self._open = False  # whether the cursor stands behind speech
        self.end: End | None = None
        """How the last turn ended, if it did not fail."""

    def begin(self, name: str) -> None:
        """A character is about to speak."""
        self.end = None
        if self._terminal:
            self._console.print(f"[bold cyan]{escape(name)}[/] ", end="")
            self._open = True

    def show(self, event: Event) -> None:
        """Print one event."""
        if isinstance(event, Text):
            text = event.text if self._open else event.text.lstrip()
            sys.stdout.write(text)
            sys.stdout.flush()
            self._open = True
        elif isinstance(event, ActionStarted):
            pass  # for animations; the action itself is printed
        elif isinstance(event, Action):
            self._aside(f"[{event.name}({arguments_text(event.arguments)})]", "yellow")
        elif isinstance(event, Refused):
            self._aside(f"[not allowed: {event.message}]", "dim")
        elif isinstance(event, Failed):
            self._break()
            print_error(event)
        else:
            self.end = event
            if event.reason == "cancelled" and self._terminal:
                self._aside("[stopped]", "dim")
            self._break()

    def footer(self) -> None:
        """Time to first token and speed of the last turn, in a terminal."""
        if self.end is None or not self._terminal:
            return
        tokens, times = self.end.tokens, self.end.timings
        speed = tokens.generated / max(times.total_ms - times.first_token_ms, 1) * 1000
        self._console.print(
            f"[dim]  first word {times.first_token_ms:.0f} ms · {tokens.generated} tokens, {speed:.0f}/s · "
            f"prompt {tokens.prompt} ({tokens.cached} kept) · {len(self.end.recalled)} recalled[/]"
        )

    def _aside(self, text: str, style: str) -> None:
        if self._terminal:
            self._console.print(Styled(f" {text}", style), end="")
            self._open = True
        else:
            self._break()
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def _break(self) -> None:
        if self._open:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._open = False


def print_explained(end: End) -> None:
    """What an answer was made from: recalled passages with their reasons, what was dropped, actions offered and
    withheld, what the model was held to and what it wrote, where the time went."""
    console = Console(highlight=False)
    for item in end.recalled:
        console.print(f"[dim]  {escape(item.source)}  {item.score:.2f}  ({escape(item.reason)})[/]")
        console.print(f"[dim]    {escape(item.text)}[/]")
    if not end.recalled:
        console.print("[dim]  nothing was recalled[/]")
    for item in end.dropped:
        console.print(f"[dim]  dropped {escape(item.what)} ({item.tokens} tokens)[/]")
    _print_actions(console, end.explanation)
    times = end.timings
    console.print(
        f"[dim]  recall {times.recall_ms:.1f} ms · our own work {times.sdk_ms:.1f} ms · first word "
        f"{times.first_token_ms:.0f} ms · whole turn {times.total_ms:.0f} ms · ended: {end.reason}[/]"
    )


def _print_actions(console: Console, told: Explanation) -> None:
    console.print(f"[dim]  offered: {escape(', '.join(told.offered)) or 'no action'}[/]")
    for item in told.withheld:
        console.print(f"[dim]  withheld {escape(item.name)}: {escape(item.reason)}[/]")
    held = told.constraint or "nothing: the runtime cannot, so calls are checked and repaired"
    console.print(f"[dim]  held to {escape(held)}[/]")
    for call in told.calls:
        console.print(f"[dim]  wrote {escape(call.raw)}[/]")
        console.print(f"[dim]    -> {escape(call.became)}[/]")
    if told.tool_changes:
        console.print(f"[dim]  the actions in the prompt have changed {told.tool_changes} times[/]")
