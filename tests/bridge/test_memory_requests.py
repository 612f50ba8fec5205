"""What a game asks of its world's memory over the wire: facts, values, saved moments as files, forgetting a player."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npcsdk.bridge.access import may
from npcsdk.bridge.client import AsyncWorld, World
from npcsdk.errors import NpcError
from npcsdk.events import End
from npcsdk.wire import messages as m
from tests.bridge.test_service import Client, Desk

VILLAGE = """
name: Testholm
setting: A village at a river.
groups:
  - id: watch
    members: [mira, tom]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "world.yaml").write_text(VILLAGE, encoding="utf-8")
    for name in ("mira", "tom", "ann"):
        persona = f"name: {name.title()}\nrole: villager\nabout: Lives in the village.\n"
        (folder / f"{name}.yaml").write_text(persona, encoding="utf-8")
    (tmp_path / "script.json").write_text(json.dumps(["Aye."]), encoding="utf-8")
    return folder


def options(folder: Path, memory: str | None = None) -> dict[str, Any]:
    """A world with a scripted model, in this process; with ``memory``, in a folder of that name."""
    where = None if memory is None else folder.parent / memory
    more = {} if memory is None else {"memory_index": "exact"}
    model = f"scripted:{folder.parent / 'script.json'}"
    return {"folder": folder, "model": model, "memory": where, "options": more, "inline": True}


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    with World(**options(folder, "memory")) as world:
        yield world


def recalled(world: World, npc: str, line: str, player: str = "player") -> list[str]:
    """What comes to the character's mind."""
    last = list(world[npc].conversation(player).say(line))[-1]
    assert isinstance(last, End)
    return [item.text for item in last.recalled]


def test_a_fact_of_a_group_replaces_the_one_before_for_its_members_alone(world: World) -> None:
    world.learn("watch", "north gate", "state", "open", text="The north gate stands open.")
    world.learn("watch", "north gate", "state", "shut", text="The north gate is shut.", importance=0.9)
    for npc in ("mira", "tom"):
        assert recalled(world, npc, "How is the north gate?") == ["The north gate is shut."]
    assert recalled(world, "ann", "How is the north gate?") == []
    world.remember("*", "The heron has landed.")
    assert recalled(world, "ann", "Did the heron land?") == ["The heron has landed."]
    with pytest.raises(NpcError) as caught:
        world.learn("nobody", "gate", "state", "open")
    assert caught.value.code == "npc_unknown"


def test_values_are_read_back(world: World) -> None:
    world.set_values("mira", {"trust": 7}, player="ada")
    assert dict(world.values("mira", player="ada")) == {"trust": 7}
    assert dict(world.values("mira")) == {}


def test_a_saved_moment_travels_in_one_file(world: World, folder: Path, tmp_path: Path) -> None:
    world.remember("mira", "The heron met a fox.")
    world.save("noon")
    assert world.export_slot("noon", tmp_path / "game.save") == 1
    world.delete_slot("noon")
    assert world.slots() == []
    with World(**options(folder)) as other:
        assert other.import_slot(tmp_path / "game.save", "from afar") == "from afar"
        other.load("from afar")
        assert recalled(other, "mira", "Whom met the heron?") == ["The heron met a fox."]
        with pytest.raises(NpcError) as caught:
            other.import_slot(tmp_path / "none")
    assert caught.value.code == "save_unreadable"


def test_a_player_is_forgotten_everywhere_and_may_begin_anew(world: World, tmp_path: Path) -> None:
    talk = world["mira"].conversation("ada")
    talk.say("I hid the zanzibarium below the oak.").text()
    world.remember("tom", "Ada paid for the window.")
    world.save("ada 1")
    found = world.forget("ada")
    assert dict(found) == {"records": 4, "slots": 1, "conversations": 1}
    assert recalled(world, "tom", "Who paid for the window?") == []
    assert talk.say("Where is it?").text() == "Aye."
    assert dict(world.forget("nobody")) == {"records": 0, "slots": 0, "conversations": 0}
    for path in (tmp_path / "memory").rglob("*"):
        assert not path.is_file() or b"zanzibarium" not in path.read_bytes()


def test_all_of_it_awaited(folder: Path, tmp_path: Path) -> None:
    async def play() -> dict[str, int]:
        async with AsyncWorld(**options(folder)) as world:
            await world.learn("mira", "gate", "state", "open", player="ada")
            await world.set_values("mira", {"trust": 7}, player="ada")
            assert dict(await world.values("mira", player="ada")) == {"trust": 7}
            await world.save("noon")
            assert await world.export_slot("noon", tmp_path / "game.save") == 2
            await world.delete_slot("noon")
            assert await world.import_slot(tmp_path / "game.save") == "noon"
            return dict(await world.forget("ada"))

    assert asyncio.run(play())["records"] == 4  # those of the saved moment, too


def answer(client: Client, request: str) -> Any:
    return client.until(lambda one: getattr(one, "request", None) == request)


def test_what_a_forgotten_player_was_told_last_is_not_told_again() -> None:
    desk = Desk()
    desk.service.attach(desk.world)
    ada = desk.client("ada").open(player="ada").say("count 3")
    ada.turn()
    ben = desk.client("ben").open(player="ben").say("count 3")
    ben.turn()
    counted = {"records": 2, "slots": 0, "conversations": 1}
    assert answer(ben.sends(m.Forget(request="f", player="ada")), "f").value == counted
    back = Client(desk, "ada", b"again").hello(seen={"c": 0})
    lost = back.until(lambda one: isinstance(one, m.Problem | m.TurnEvent))
    assert isinstance(lost, m.Problem)
    assert lost.code == "conversation_lost"
    again = Client(desk, "ben", b"ben again").hello(seen={"c": 0})
    assert isinstance(again.until(lambda one: isinstance(one, m.Problem | m.TurnEvent)), m.TurnEvent)
    desk.service.close()


@pytest.mark.parametrize(
    ("command", "least"),
    [
        (m.Values(request="r", npc="mira"), "direct"),
        (m.Learn(request="r", npc="mira", subject="gate", attribute="state", value="open"), "direct"),
        (m.DeleteSlot(request="r", slot="noon"), "direct"),
        (m.ExportSlot(request="r", slot="noon", file="/etc/passwd"), "administer"),
        (m.ImportSlot(request="r", file="/etc/passwd"), "administer"),
        (m.Forget(request="r", player="ada"), "administer"),
    ],
)
def test_who_may_ask_for_it(command: m.Command, least: Any) -> None:
    assert may(least, command)
    assert not may("play" if least == "direct" else "direct", command)
