"""What time it is in the game, and what hangs on it; what a world's YAML says of memory; forgetting a player."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from npcsdk.dialogue.gametime import GameTime
from npcsdk.dialogue.world import open_memory
from npcsdk.errors import MemoryStoreError, WorldInvalid
from npcsdk.events import End
from npcsdk.memory.recall import Summary
from npcsdk.persona.loader import load_world
from npcsdk.persona.schema import MemoryEntry
from tests.dialogue.conftest import DEFINITION

DAY = 86_400.0


@pytest.mark.parametrize(
    ("name", "state", "now"),
    [
        (None, {"game_time": 5, "time": 7}, 5.0),
        (None, {"time": 7.5}, 7.5),
        (None, {"time": "dusk"}, None),
        (None, {"time": True}, None),
        (None, {"time": float("nan")}, None),
        (None, {"time": 10**400}, None),
        ("world.clock", {"world": {"clock": 3}, "time": 7}, 3.0),
        ("world.clock", {"world.clock": 4}, 4.0),
        ("world.clock", {"world": "round", "time": 7}, None),
        (None, {}, None),
    ],
)
def test_the_game_says_what_time_it_is(name: str | None, state: dict[str, Any], now: float | None) -> None:
    assert GameTime(name).now(state) == now


def test_the_latest_time_told_holds_until_another_is_told() -> None:
    time = GameTime(None, {"time": 10})
    assert time.at() == 10.0
    assert time.now({"time": 50}) == 50.0
    assert time.at({"trust": 3}) == 50.0
    assert time.at({"time": 20}) == 20.0  # a game may jump back
    assert GameTime().at() > 1e9  # the wall clock's


def recalled(world: Any, line: str, **state: Any) -> list[str]:
    last = list(world.open("bram", player="anselm").say(line, state=state))[-1]
    assert isinstance(last, End)
    return [item.text for item in last.recalled]


def test_what_is_remembered_has_its_place(open_world: Any) -> None:
    world, _ = open_world(lambda request: "Aye.")
    talk = world.open("bram", player="anselm")
    list(talk.say("Good day.", state={"place": "the mill"}))
    list(talk.react("A cart rolls by."))  # it is still there
    list(talk.say("Farewell.", state={"place": {"not": "a name"}}))
    world.remember("bram", "A pedlar sold combs.", place="the gate")
    world.learn("bram", "bell", "state", "cracked", place="the chapel")
    found = {record.text: record.place for record in world._memory.records("bram") if record.text}
    assert found == {
        "anselm said: Good day.": "the mill",
        "A cart rolls by.": "the mill",
        "anselm said: Farewell.": "",
        "Bram said: Aye.": found["Bram said: Aye."],
        "A pedlar sold combs.": "the gate",
        "bell: state is cracked.": "the chapel",
    }
    assert {record.place for record in world._memory.records("bram") if record.kind == "transcript"} == {
        "the mill",
        "",
    }
    last = list(talk.say("Which pedlar sold combs?"))[-1]
    assert isinstance(last, End)
    assert "at the gate" in next(item.reason for item in last.recalled if "pedlar" in item.text)


def test_recency_counts_in_game_time(open_world: Any) -> None:
    """The same two notes: shortly after the newer one it comes first; what is as old as the other does not."""
    world, _ = open_world(lambda request: "Aye.")
    list(world.open("bram").say("Good day.", state={"time": 1_000.0}))
    world.remember("bram", "A pedlar sold combs at the gate!", player="anselm", importance=0.53)
    list(world.open("bram").say("Good day.", state={"time": 1_000.0 + 2 * DAY}))
    world.remember("bram", "A pedlar sold combs at the gate.", player="anselm", importance=0.5)
    ats = [record.at for record in world._memory.records("bram") if record.kind == "note"]
    assert ats == [1_000.0, 1_000.0 + 2 * DAY]
    asked = "Which pedlar sold at the gate?"
    assert recalled(world, asked, time=1_000.0 + 2 * DAY)[0] == "A pedlar sold combs at the gate."
    much_later = 1_000.0 + 400 * DAY  # both are long ago: the more important one comes first
    assert recalled(world, asked, time=much_later)[0] == "A pedlar sold combs at the gate!"


def test_a_clock_that_jumps_loses_nothing(open_world: Any) -> None:
    world, _ = open_world(lambda request: "Aye.")
    for time in (1e6, -1e6, 0.0, 1e12, 5.0):
        assert "pedlar" not in "".join(recalled(world, "Good day.", time=time))
        world.remember("bram", f"A pedlar sold {time:g} combs.", player="anselm")
        assert recalled(world, "What did the pedlar sell?", time=time)
    assert len([1 for record in world._memory.records("bram") if record.kind == "note"]) == 5


def test_hearsay_waits_for_the_games_clock(tmp_path: Path) -> None:
    folder = _world(tmp_path, "memory:\n  clock: hour\nhearsay:\n- {from: mara, to: bram, delay: 10}\n")
    from npcsdk.dialogue.world import open_world

    script = tmp_path / "script.json"
    script.write_text('["Aye."]', encoding="utf-8")
    with open_world(folder, model=f"scripted:{script}") as world:
        list(world.open("mara").say("Hm.", state={"hour": 100}))
        world.remember("mara", "The miller drowned in the pond.", importance=0.9)
        assert recalled(world, "What of the miller?", hour=105) == []
        assert recalled(world, "What of the miller?", hour=111) == ["The miller drowned in the pond."]


# -- the world's YAML


def _world(tmp_path: Path, more: str = "") -> Path:
    home = tmp_path / "personas"
    home.mkdir()
    (home / "world.yaml").write_text(f"name: Testing\nsetting: A village.\n{more}", encoding="utf-8")
    for name in ("mara", "bram"):
        persona = f"name: {name.title()}\nrole: an innkeeper\nabout: You keep the inn.\n"
        (home / f"{name}.yaml").write_text(persona, encoding="utf-8")
    return home


def test_cap_and_weights_are_the_worlds(tmp_path: Path) -> None:
    more = "memory:\n  cap: 500\n  recall: {recency: 0, importance: 2, half_life: 60}\n"
    with open_memory(load_world(_world(tmp_path, more)), None) as memory:
        weights = memory._recaller._weights
        assert (weights.recency, weights.importance, weights.half_life) == (0.0, 2.0, 60.0)
        assert weights.lexical == 1.3
        assert memory._caps is not None
        assert memory._caps._cap == 500


@pytest.mark.parametrize(
    "more",
    ["memory: {cap: 3}", "memory: {recall: {recency: -1}}", "memory: {recal: {}}", "memory: {clock: 1}"],
)
def test_mistakes_in_it_are_named(tmp_path: Path, more: str) -> None:
    with pytest.raises(WorldInvalid, match=r"world\.yaml:3"):
        load_world(_world(tmp_path, more))


def test_a_world_stays_within_its_cap_while_it_is_played(tmp_path: Path) -> None:
    definition = DEFINITION.model_copy(update={"memory": MemoryEntry(cap=100)})
    with open_memory(definition, tmp_path, index="exact") as memory:
        memory.take_in({"npc": "mara", "kind": "event", "text": f"Cart {number}."} for number in range(300))
        assert memory.capped(30)
        assert len(memory.records("mara")) <= 100


# -- values, and forgetting a player


@pytest.mark.parametrize("value", ["high", None, True, float("nan"), [1]])
def test_values_are_numbers(open_world: Any, value: Any) -> None:
    world, _ = open_world([])
    with pytest.raises(MemoryStoreError) as caught:
        world.set_values("mara", {"trust": 3, "mood": value})
    assert caught.value.code == "data_invalid"
    assert world.values("mara") == {}


def test_a_forgotten_player_is_a_stranger_and_the_others_talk_on(open_world: Any, tmp_path: Path) -> None:
    world, backend = open_world(lambda request: "Aye, Zanzibar.", memory=tmp_path)
    with_anselm = world.open("mara", player="anselm", conversation="a")
    list(with_anselm.say("I hid the ruby below the oak."))
    with_berta = world.open("mara", player="berta", conversation="b")
    list(with_berta.say("Have you seen anselm today?", state={"night": "moonless"}))
    list(with_berta.say("I like herons."))
    world.set_values("mara", {"trust": 70}, player="anselm")
    world.save("anselm 1")
    found = world.forget("anselm")
    assert (found.records, found.slots, found.conversations) == (6, 1, 1)
    assert world.values("mara", player="anselm") == {}
    list(with_berta.say("Well?"))
    prompt = backend.requests[-1].prompt.text
    assert "herons" in prompt
    assert "moonless" in prompt
    assert "anselm" not in prompt
    list(with_anselm.say("Where is the ruby?"))
    prompt = backend.requests[-1].prompt.text
    assert "oak" not in prompt
    assert "spare key" not in prompt
    assert "trust: 70" not in prompt
    world.close()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"below the oak" not in path.read_bytes()


def test_a_turn_that_runs_while_its_player_is_forgotten_is_cut_off_and_not_kept(open_world: Any) -> None:
    world, _ = open_world(lambda request: "Aye. " * 50)
    talk = world.open("mara", player="anselm", conversation="a")
    turn = talk.say("I hid the ruby below the oak.")
    next(turn)
    assert world.forget("anselm").records == 0
    assert list(turn)[-1].reason == "cancelled"
    assert world._memory.records() == []


def test_what_a_turn_that_runs_says_of_a_forgotten_player_is_forgotten_too(
    open_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npcsdk.dialogue.world._OTHERS", 0.0)  # nobody listens on: it is cancelled at once
    world, backend = open_world(lambda request: "Anselm hid it. " * 50)
    talk = world.open("mara", player="berta", conversation="b")
    list(talk.say("I like herons."))
    turn = talk.say("Who hid the ruby?")
    next(turn)
    found = world.forget("anselm")
    assert found.records == 4  # the first answer and its turn, and those of the one that ran
    assert "nselm" not in " ".join(f"{record.text} {record.data}" for record in world._memory.records())
    list(talk.say("Well?"))
    assert "Anselm hid" not in backend.requests[-1].prompt.text


def test_a_summary_that_is_being_made_while_its_player_is_forgotten_is_not_written(open_world: Any) -> None:
    world, _ = open_world(lambda request: "Aye.")
    talk = world.open("mara", player="anselm", conversation="a")
    list(talk.say("I hid the ruby below the oak."))
    made: list[Any] = []
    talk._upkeep._summaries.submit = lambda work, keep, give_up: made.append(keep)  # type: ignore[method-assign]
    talk._history.due = lambda composer: object()  # type: ignore[method-assign]
    list(talk.say("And a sapphire."))
    world.forget("anselm")
    (keep,) = made
    keep(Summary(prose="Anselm hid a ruby.", upto="x", turns=1))
    assert world._memory.records() == []
