"""A world from its folder, with a scripted model: the whole way from a game's line to its function and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from npcsdk.bridge.client import World
from npcsdk.bridge.server import Server
from npcsdk.events import Action, End, Text
from tests.bridge.conftest import RunningServer

WORLD = """
name: Testholm
setting: A village at a river.
actions: {}
"""
MIRA = """
name: Mira
role: gatekeeper
about: Keeps the north gate.
"""
REPLIES = [
    'Wait. <toolcall> {"name": "open_gate", "arguments": {"gate": "north"}} </toolcall>',
    "It stands open.",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "world.yaml").write_text(WORLD, encoding="utf-8")
    (folder / "mira.yaml").write_text(MIRA, encoding="utf-8")
    (tmp_path / "script.json").write_text(json.dumps(REPLIES), encoding="utf-8")
    return folder


def test_a_line_an_action_and_what_came_of_it(
    folder: Path, way: str, serve: Callable[..., RunningServer]
) -> None:
    model = f"scripted:{folder.parent / 'script.json'}"
    opened: list[str] = []

    def open_gate(gate: str) -> str:
        """Opens a gate."""
        opened.append(gate)
        return "opened"

    if way == "server":
        config = {"folder": str(folder), "model": model}
        world = World.connect(serve(config=config).address, actions=[open_gate])
    else:
        world = World(folder, model=model, actions=[open_gate], inline=way == "inline")
    with world:
        turn = world["mira"].say("Open the gate, please.")
        events = list(turn)
    said = "".join(event.text for event in events if isinstance(event, Text))
    (action,) = [event for event in events if isinstance(event, Action)]
    assert opened == ["north"]
    assert (action.name, action.arguments, action.returns) == ("open_gate", {"gate": "north"}, "result")
    assert "Wait." in said
    assert "It stands open." in said
    assert isinstance(events[-1], End)
    assert events[-1].text == said
    assert events[-1].reason == "stop"


def test_the_server_config_is_the_workers(folder: Path) -> None:
    server = Server({"folder": str(folder.parent / "nowhere")}, address="tcp://127.0.0.1:*")
    with pytest.raises(Exception, match="nowhere"):
        server.run()
