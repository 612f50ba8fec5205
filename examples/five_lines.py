"""From `import npcsdk` to a character that talks and acts. Run it: python examples/five_lines.py"""

import npcsdk


@npcsdk.action
def open_gate(gate: str) -> str:
    """Open a gate of the town."""
    print(f"  [the game opens {gate!r}]")
    return "done"


with npcsdk.World(actions=[open_gate]) as world:
    print(
        world["bram"].say("Good morning. Please open the iron gate.", state={"nearby": ["iron gate"]}).text()
    )
