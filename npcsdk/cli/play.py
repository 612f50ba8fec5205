"""``npcsdk play [NPC]``: a conversation in the terminal, or line by line from a pipe."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Generator
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from npcsdk.bridge.client import Npc, Turn, World
from npcsdk.cli.games import STAND_IN, with_state
from npcsdk.cli.options import (
    JournalOption,
    MemoryOption,
    ModelOption,
    SeedOption,
    ToolFormatOption,
    WorldOption,
    world_options,
)
from npcsdk.cli.output import EventPrinter, print_error, print_explained, reports_errors
from npcsdk.errors import NpcError
from npcsdk.events import Action

__all__ = ["play"]

HELP = """[bold]/who[/]              the characters of this world
[bold]/talk[/] NPC         speak with another one
[bold]/why[/]              what the last answer was made from
[bold]/state[/] KEY=VALUE  set what is so in the game, e.g. /state trust=80 or /state nearby=iron gate,well
[bold]/event[/] TEXT       something happens; the character may remark on it
[bold]/quit[/]             leave (so does Ctrl-D); Ctrl-C stops the character in mid-sentence"""


@reports_errors
def play(
    npc: Annotated[str | None, typer.Argument(metavar="[NPC]", help="Whom to talk to; see /who.")] = None,
    seed: SeedOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="After each answer, show what it was made from.")
    ] = False,
    world: WorldOption = None,
    model: ModelOption = None,
    tool_format: ToolFormatOption = None,
    memory: MemoryOption = None,
    journal: JournalOption = None,
) -> None:
    """Talk to a character. Input that is not a terminal is read line by line, and plain text comes out."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=True)
    waiting = console.status("[dim]waking the characters …[/]") if terminal else contextlib.nullcontext()
    with waiting:
        opened = World(world, model=model, memory=memory, options=world_options(tool_format, journal))
    with opened:
        session = _Session(opened, console, terminal=terminal, seed=seed, explain=explain)
        session.talk_to(npc or next(iter(opened.npcs)))
        if terminal:
            session.run_terminal()
        else:
            session.run_pipe()
    if session.failed and not terminal:
        raise typer.Exit(2)


class _Session:
    """One run of the command."""

    def __init__(
        self, world: World, console: Console, *, terminal: bool, seed: int | None, explain: bool
    ) -> None:
        self._world = world
        self._console = console
        self._terminal = terminal
        self._seed = seed
        self._explain = explain
        self._printer = EventPrinter(terminal=terminal)
        self._state: dict[str, Any] = {}
        self._npc: Npc
        self._over = False
        self.failed = False

    def talk_to(self, npc: str) -> None:
        """Turn to a character."""
        self._npc = self._world[npc]
        if self._terminal:
            name, role = escape(self._npc.name), escape(self._npc.role)
            others = ", ".join(key for key in self._world.npcs if key != npc)
            self._console.print(f"\n[bold cyan]{name}[/], {role}, in [bold]{escape(self._world.name)}[/].")
            self._console.print(f"[dim]Others here: {escape(others)}. /help shows what else you can do.[/]\n")

    def run_terminal(self) -> None:
        """Read lines until the player leaves."""
        with contextlib.suppress(ImportError):
            importlib.import_module(
                "readline"
            )  # line editing and history for input(), where the platform has it
        self._hear(self._npc.react("A stranger walks up to you.", state=self._state, seed=self._seed))
        while not self._over:
            try:
                line = input("\x01\x1b[1m\x02you\x01\x1b[0m\x02 ").strip()
            except EOFError:
                self._console.print()
                return
            except KeyboardInterrupt:
                self._console.print("\n[dim]/quit or Ctrl-D leaves.[/]")
                continue
            if line:
                self.take(line)

    def run_pipe(self) -> None:
        """Read lines to the end of the input, or until one of them is /quit."""
        for line in sys.stdin:
            if line.strip():
                self.take(line.strip())
            if self._over:
                return

    def take(self, line: str) -> None:
        """One line: a command, or words for the character."""
        try:
            if line.startswith("/"):
                self._command(line[1:])
            else:
                self._hear(self._npc.say(line, state=self._state, seed=self._seed))
        except NpcError as error:
            self.failed = True
            print_error(error)

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        rest = rest.strip()
        if name in ("quit", "exit", "q"):
            self._over = True
        elif name == "who":
            for key, npc in self._world.npcs.items():
                self._console.print(f"  [cyan]{escape(key)}[/]  {escape(npc.name)}, {escape(npc.role)}")
        elif name == "talk" and rest:
            self.talk_to(rest)
        elif name == "state" and rest:
            self._state = with_state(self._state, [rest])
        elif name == "event" and rest:
            self._hear(self._npc.react(rest, state=self._state, seed=self._seed))
        elif name == "why":
            if self._printer.end is not None:
                print_explained(self._printer.end)
        else:
            self._console.print(HELP)

    def _hear(self, turn: Turn) -> None:
        self._printer.begin(self._npc.name)
        with _interrupt_cancels(turn):
            for event in turn:
                self._printer.show(event)
                if isinstance(event, Action) and event.returns == "result":
                    turn.result(event, STAND_IN)
                self.failed = self.failed or event.event == "error"
        self._printer.footer()
        if self._explain and self._printer.end is not None:
            print_explained(self._printer.end)


@contextlib.contextmanager
def _interrupt_cancels(turn: Turn) -> Generator[None, None, None]:
    """While it lasts, Ctrl-C stops the character instead of the program."""

    def cancel(number: int, frame: FrameType | None) -> None:
        del number, frame
        turn.cancel()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
