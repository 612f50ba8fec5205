"""The tavern without a window: its room, its keys, and a visit on the model in the wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.conftest import environment

pygame = pytest.importorskip("pygame", reason="the extra `examples` is not installed")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PNG = b"\x89PNG\r\n\x1a\n"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tavern", EXAMPLES / "tavern.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tavern"] = module
    spec.loader.exec_module(module)
    return module


tavern = load()


class Silent:
    """Minds that take for ever."""

    def __init__(self) -> None:
        self.happened = tavern.SimpleQueue()
        self.happened.put(("ready", "", "Testholm"))
        self.asked: list[tuple[str, str]] = []
        self.stopped: list[str] = []

    def say(self, who: str, line: str, state: object) -> None:
        self.asked.append((who, line))

    def stop(self, who: str) -> None:
        self.stopped.append(who)


def test_the_loop_goes_on_while_a_mind_takes_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    minds = Silent()
    room = tavern.run(minds, ["go mara", "say Good evening!", "pause 0.5"])
    assert minds.asked == [("mara", "Good evening!")]
    assert room.guests["mara"].speaking
    (frames,) = re.findall(r"while somebody thought or spoke (\d+)", capsys.readouterr().out)
    assert int(frames) >= 30


def test_what_they_do_happens_in_the_room() -> None:
    room = tavern.Tavern()
    room.take("act", "mara", ("sell_item", {"item": "eel stew", "price": "5 pennies"}))
    room.take("act", "mara", ("give_item", {"item": "bread", "count": 2}))
    assert room.bag == {"eel stew": 1, "bread": 2}
    room.take("act", "perrin", ("play_song", {"song": "Nine Lanterns"}))
    assert (room.song, room.sings > 0) == ("Nine Lanterns", True)
    room.take("act", "wren", ("follow_player", {}))
    far = room.player.distance_to(room.guests["wren"].at)
    for _ in range(60):
        room.move(pygame.Vector2(), 1 / 60)
    assert room.player.distance_to(room.guests["wren"].at) < far - 50
    room.take("act", "wren", ("stay_here", {}))
    assert not room.guests["wren"].follows


def test_words_come_piece_by_piece_and_fade() -> None:
    room = tavern.Tavern()
    room.ask("mara")
    for piece in ("Good ", "evening"):
        room.take("text", "mara", piece)
    assert room.guests["mara"].said == "Good evening"
    room.take("end", "mara", "stop")
    for _ in range(70):
        room.move(pygame.Vector2(), 0.1)
    assert room.guests["mara"].said == ""


def test_nobody_walks_through_walls_or_tables() -> None:
    room = tavern.Tavern()
    for way in ((1, 0), (0, -1), (-1, 0), (0, 1), (-1, -1), (1, 1)) * 3:
        for _ in range(200):
            room.move(pygame.Vector2(way), 1 / 60)
            assert tavern.ROOM.collidepoint(room.player)
            assert not any(one.collidepoint(room.player) for one in tavern.FURNITURE)


def test_escape_stops_who_speaks() -> None:
    room, minds = tavern.Tavern(awake=True), Silent()
    room.player = room.guests["corven"].at + pygame.Vector2(0, -50)
    player = tavern.Player(room, minds)
    for key in (pygame.K_e, None, pygame.K_RETURN, pygame.K_ESCAPE):
        if key is None:
            player.press(pygame.event.Event(pygame.TEXTINPUT, text="Hello"))
        else:
            player.press(pygame.event.Event(pygame.KEYDOWN, key=key))
    assert minds.asked == [("corven", "Hello")]
    assert minds.stopped == ["corven"]
    assert player.typed is None


def test_a_visit_on_the_model_in_the_wheel(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "tavern.py"), "--script", str(EXAMPLES / "tavern.txt")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**environment(), "SDL_VIDEODRIVER": "dummy"},
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for who in ("perrin", "mara", "wren"):
        assert re.search(rf"^(text|act) {who} ", done.stdout, re.MULTILINE), done.stdout
        assert f"end {who} stop" in done.stdout
    assert (tmp_path / "tavern.png").read_bytes().startswith(PNG)
    assert os.path.getsize(tmp_path / "tavern.png") > 5000
