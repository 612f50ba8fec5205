"""Opening a world, and what it is asked for."""

from __future__ import annotations

import gc
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from npcsdk.actions.schema import ActionDefinition
from npcsdk.dialogue import world as module
from npcsdk.dialogue.world import World, open_world
from npcsdk.errors import ActionError, MemoryStoreError, ModelError, NpcError, WorldError, WorldInvalid
from npcsdk.events import End
from npcsdk.memory.recall import Memory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A world's folder with one character and one passage of lore."""
    home = tmp_path / "personas"
    (home / "lore").mkdir(parents=True)
    (home / "world.yaml").write_text("name: Testing\nsetting: A village.\n", encoding="utf-8")
    (home / "mara.yaml").write_text(
        "name: Mara\nrole: an innkeeper\nabout: You keep the inn.\n", encoding="utf-8"
    )
    (home / "lore" / "lake.md").write_text("# Lake\n\nThe lake is called the Mere.\n", encoding="utf-8")
    return home


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(["Good day."]), encoding="utf-8")
    return f"scripted:{path}"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Any:
    """Whatever fails, nobody leaves threads running."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(5)
    assert not [thread for thread in left if thread.is_alive()]


def problem(*args: Any, **options: Any) -> NpcError:
    with pytest.raises(NpcError) as caught:
        open_world(*args, **options)
    assert caught.value.hint
    return caught.value


def test_a_world_from_a_folder_talks(folder: Path, script: str) -> None:
    with open_world(folder, model=script) as world:
        assert world.name == "Testing"
        assert list(world.npcs) == ["mara"]
        assert (world.npcs["mara"].name, world.npcs["mara"].role) == ("Mara", "an innkeeper")
        assert world.capabilities.backend == "scripted"
        events = list(world.open("mara").say("What is the lake called?"))
    assert isinstance(events[-1], End)
    assert events[-1].text == "Good day."
    assert events[-1].recalled[0].source.startswith("lore/lake.md")


def test_the_shipped_world_is_the_one_without_a_folder(script: str) -> None:
    with open_world(model=script) as world:
        assert len(world.npcs) >= 6


class Test_what_can_be_wrong:
    def test_no_folder(self, tmp_path: Path, script: str) -> None:
        error = problem(tmp_path / "nowhere", model=script)
        assert isinstance(error, WorldError)
        assert error.code == "world_missing"
        assert "nowhere" in error.message

    def test_no_personas(self, folder: Path, script: str) -> None:
        (folder / "mara.yaml").unlink()
        assert isinstance(problem(folder, model=script), WorldInvalid)

    def test_a_persona_twice(self, folder: Path, script: str) -> None:
        text = (folder / "mara.yaml").read_text(encoding="utf-8")
        (folder / "other.yaml").write_text("id: mara\n" + text, encoding="utf-8")
        error = problem(folder, model=script)
        assert isinstance(error, WorldInvalid)
        assert "mara" in error.message

    def test_lore_that_is_not_utf_8(self, folder: Path, script: str) -> None:
        (folder / "lore" / "lake.md").write_bytes("# See\n\nDer See heißt Mere.\n".encode("latin-1"))
        error = problem(folder, model=script)
        assert isinstance(error, WorldInvalid)
        assert "lake.md" in error.message

    def test_no_model(self, folder: Path, tmp_path: Path) -> None:
        error = problem(folder, model=f"scripted:{tmp_path / 'nothing.json'}")
        assert isinstance(error, ModelError)
        assert error.code == "model_not_found"

    def test_a_broken_model(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "broken.json").write_text("{", encoding="utf-8")
        error = problem(folder, model=f"scripted:{tmp_path / 'broken.json'}")
        assert error.code == "model_broken"

    @pytest.mark.parametrize("sampling", [{"heat": 3}, ["temperature"], 5, {1: 2}])
    def test_a_bad_sampling_option(self, folder: Path, script: str, sampling: Any) -> None:
        error = problem(folder, model=script, options={"sampling": sampling})
        assert error.code == "bad_option"
        assert "temperature" in error.hint

    @pytest.mark.parametrize(
        "limits",
        [{"order": "seq"}, {"calls": "4"}, {"rounds": -1}, {"actions": True}, {"choose": ["words"]}],
        ids=str,
    )
    def test_a_bad_limit(self, folder: Path, script: str, limits: Any) -> None:
        error = problem(folder, model=script, options={"limits": limits})
        assert error.code == "bad_option"
        assert next(iter(limits)) in error.message

    def test_memory_in_the_place_of_a_file(self, folder: Path, script: str, tmp_path: Path) -> None:
        (tmp_path / "memory").write_text("not a folder", encoding="utf-8")
        assert isinstance(problem(folder, model=script, memory=tmp_path / "memory"), MemoryStoreError)


def test_a_users_limits_join_those_that_the_model_brings(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brings = {"limits": {"choose": "words", "sentences": 2}, "threads": 2}
    found = replace(module.resolve(script), options=brings)
    monkeypatch.setattr(module, "resolve", lambda _: found)
    with open_world(folder, model=script, options={"limits": {"calls": 2, "sentences": 3}}) as world:
        assert world.source.options == {
            "limits": {"choose": "words", "sentences": 3, "calls": 2},
            "threads": 2,
        }


def test_what_was_opened_is_closed_when_the_rest_fails(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    load, memory_close = module.load, Memory.close

    def loaded(source: Any) -> Any:
        backend = load(source)
        monkeypatch.setattr(backend, "close", lambda: closed.append("backend"))
        return backend

    def close(memory: Memory) -> None:
        closed.append("memory")
        memory_close(memory)

    monkeypatch.setattr(module, "load", loaded)
    monkeypatch.setattr(Memory, "close", close)
    problem(folder, model=script, options={"sampling": 5})
    assert closed == ["backend", "memory"]


def test_options_choose_embedder_and_index(folder: Path, script: str) -> None:
    failed = problem(folder, model=script, options={"embedder": "telepathy"})
    assert failed.code == "embedder_unknown"
    with open_world(folder, model=script, options={"embedder": "hashing", "memory_index": "exact"}) as world:
        assert world.source.options.keys().isdisjoint({"embedder", "memory_index"})


def test_an_unknown_character(open_world: Any) -> None:
    world, _ = open_world([])
    with pytest.raises(WorldError) as caught:
        world.open("nobody")
    assert caught.value.code == "npc_unknown"
    assert "mara" in caught.value.hint


def test_the_same_conversation_is_the_same(open_world: Any) -> None:
    world, _ = open_world([])
    talk = world.open("mara", player="anselm", conversation="c1")
    assert world.open("mara", player="anselm", conversation="c1") is talk
    assert world.open("mara", player="anselm") is not world.open("mara", player="anselm")
    talk.close()
    assert world.open("mara", player="anselm", conversation="c1") is not talk


@pytest.mark.parametrize(("npc", "player"), [("bram", "anselm"), ("mara", "berta")])
def test_a_conversation_belongs_to_two(open_world: Any, tmp_path: Path, npc: str, player: str) -> None:
    world, _ = open_world(["Aye."], memory=tmp_path / "memory")
    list(world.open("mara", player="anselm", conversation="c1").say("hi"))

    def taken(world: World) -> None:
        with pytest.raises(WorldError) as caught:
            world.open(npc, player=player, conversation="c1")
        assert caught.value.code == "conversation_taken"
        assert "anselm" in caught.value.message

    taken(world)
    world.close()
    world, _ = open_world(["Aye."], memory=tmp_path / "memory")
    taken(world)  # also when it is known from memory only
    world.open("mara", player="anselm", conversation="c1")


def test_the_games_actions_join_and_replace_the_worlds(open_world: Any) -> None:
    world, _ = open_world([])
    names = [definition.name for definition in world.actions()]
    assert names == ["open_gate", "ask", "wave", "dance"]
    own = ActionDefinition(name="wave", description="Wave with both arms.", returns="result")
    world.add_actions([own, ActionDefinition(name="sing")])
    actions = {definition.name: definition for definition in world.actions()}
    assert list(actions) == [*names, "sing"]
    assert actions["wave"] is own


def test_actions_that_come_in_the_middle_count_from_the_next_turn(open_world: Any) -> None:
    world, backend = open_world(["Hm.", "Hm."])
    talk = world.open("bram")
    list(talk.say("hi"))
    world.add_actions([ActionDefinition(name="sing", description="Sing.")])
    list(talk.say("hi"))
    assert ["sing" in request.prompt.text for request in backend.requests] == [False, True]


def test_a_bad_action_is_refused_before_it_is_added(open_world: Any) -> None:
    world, _ = open_world([])
    with pytest.raises(ActionError):
        world.add_actions(ActionDefinition.from_dict(data) for data in ({"name": "a"}, {"name": "b c"}))
    assert "a" not in {definition.name for definition in world.actions()}


def test_close_twice(open_world: Any) -> None:
    world, backend = open_world(["One two three."])
    talk = world.open("mara")
    world.close()
    world.close()
    assert talk.closed
    assert backend.closed
    with pytest.raises(NpcError):
        talk.say("hi")


def test_close_keeps_the_turn_that_was_running(open_world: Any, tmp_path: Path) -> None:
    world, _ = open_world(["One two three."], memory=tmp_path / "memory")
    turn = world.open("mara", conversation="c1").say("Count!")
    next(turn)
    world.close()
    last = list(turn)[-1]
    assert isinstance(last, End)
    assert (last.reason, last.text) == ("cancelled", "One")
    with Memory.open(tmp_path / "memory", index="exact") as memory:
        assert [kept["text"] for kept in memory.history("c1")] == ["One"]


def test_after_closing_nothing_is_opened(open_world: Any) -> None:
    world, _ = open_world([])
    world.close()
    with pytest.raises(NpcError):
        world.open("mara")
