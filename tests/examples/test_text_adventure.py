"""The text adventure: its rules without a model, and a whole game on the model in the wheel."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import environment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("text_adventure", EXAMPLES / "text_adventure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["text_adventure"] = module
    spec.loader.exec_module(module)
    return module


adventure = load()


class Played:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.game = adventure.Game(self.said.append)
        self.acts = self.game.actions()

    def do(self, *lines: str) -> str:
        del self.said[:]
        for line in lines:
            assert self.game.command(line), line
        return "\n".join(self.said)


@pytest.fixture
def played() -> Played:
    return Played()


def test_places_lead_to_each_other_and_back(played: Played) -> None:
    for name, place in played.game.places.items():
        for target in set(place.exits.values()) - {"the road"}:
            assert name in played.game.places[target].exits.values()


def test_what_is_taken_is_carried_and_what_is_dropped_lies_there(played: Played) -> None:
    played.do("take handbill", "e", "drop handbill")
    assert not played.game.bag
    assert "handbill" in played.do("look")


def test_a_guard_who_agrees_opens_the_gate_and_the_goals_count(played: Played) -> None:
    assert "barred" in played.do("s", "out")
    assert played.game.state("bram")["nearby"] == ["iron gate"]
    assert played.acts["open_gate"]("iron gate") == "It is open."
    assert "cannot leave yet" in played.do("out")
    played.acts["give_item"]("bread")
    for npc in ("bram", "mara", "olwin"):
        played.game.spoken_with(npc)
    assert "won" in played.do("out")
    assert played.game.outcome == "won"


def test_nothing_is_sold_for_more_than_the_purse_holds(played: Played) -> None:
    assert played.acts["sell_item"]("room", "4 silver") == "The player has only 30 pennies."
    assert played.acts["sell_item"]("stew", "5 pennies") == "Sold."
    assert (played.game.pennies, played.game.bag) == (25, {"stew": 1})


def test_a_gate_elsewhere_does_not_open(played: Played) -> None:
    assert "no such gate" in played.acts["open_gate"]("iron gate")
    assert not played.game.gate_open


def test_night_ends_the_game(played: Played) -> None:
    played.do(*["wait"] * adventure.NIGHT)
    assert played.game.outcome == "lost"
    assert played.game.hour == "night"


@pytest.mark.parametrize("line", ["Good evening!", "look at me", "mara: hello", "take", "go"])
def test_what_is_no_command_is_said(played: Played, line: str) -> None:
    assert played.game.command(line) == (line in ("take", "go"))


def test_a_whole_game_is_won_on_the_model_in_the_wheel(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "text_adventure.py"),
            "--script",
            str(EXAMPLES / "text_adventure.txt"),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "You have won." in done.stdout
    for name in ("Mara: ", "Perrin: ", "Father Olwin: ", "Bram: "):
        _, found, rest = done.stdout.partition(name)
        assert found
        assert rest.partition("\n>")[0].strip()  # said or done something
    assert not done.stderr.strip()
