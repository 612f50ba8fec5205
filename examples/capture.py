"""Make the README's picture: a real conversation, as a terminal shows it. python examples/capture.py"""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape

import npcsdk

NPC = "bram"
LINES = [
    "Who are you?",
    "Open the iron gate!",
    "Where is the postern?",
]
STATE = {"nearby": ["iron gate", "postern"], "place": "the iron gate", "time": "day"}


def main() -> None:
    console = Console(record=True, width=100, file=io.StringIO(), highlight=False, color_system="truecolor")
    console.print("[bold]$ npcsdk play[/]")
    with npcsdk.World(options={"sampling": {"temperature": 0}}) as world:
        npc = world[NPC]
        console.print(f"\n[bold cyan]{npc.name}[/], {npc.role}, in [bold]{world.name}[/].\n")
        for line in LINES:
            console.print(f"[bold]you[/] {line}")
            turn = npc.say(line, state=STATE, seed=1)
            said = ""  # printed in one go: a picture has no time, and fonts set pieces of words apart
            for event in turn:
                match event:
                    case npcsdk.Text():
                        said += escape(event.text)
                    case npcsdk.Action():
                        arguments = ", ".join(
                            f"{key}={json.dumps(value)}" for key, value in event.arguments.items()
                        )
                        said += f"{' ' if said else ''}[yellow]\\[{event.name}({arguments})][/] "
                        turn.result(event, "done")
                    case npcsdk.End():
                        times = event.timings
                        console.print(f"[bold cyan]{npc.name}[/] {said.replace('  ', ' ')}")
                        console.print(
                            f"[dim]  first word {times.first_token_ms:.0f} ms · {event.tokens.generated} tokens · "
                            f"{len(event.recalled)} recalled[/]"
                        )
    console.save_svg(str(Path(__file__).with_name("conversation.svg")), title="npcsdk play")


if __name__ == "__main__":
    main()
