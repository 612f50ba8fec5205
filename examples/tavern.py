"""The Lantern of Harrowmere: a small tavern in two dimensions whose guests think for themselves. Needs pygame.

    pip install 'npcsdk[examples]' && python examples/tavern.py

Walk with the arrows or WASD. Next to somebody, E begins to talk; type and press Enter, Escape stops them or ends the
talk. What they do happens in the room: they hand things over, play, point, follow.

The loop draws sixty frames a second whatever the model is doing. `Minds` is how: a turn is read in a thread of its own
that puts each event into a queue, and the loop takes what is there.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import pygame

import npcsdk

WIDTH, HEIGHT, FPS = 880, 560, 60
ROOM = pygame.Rect(40, 70, 800, 400)
FURNITURE = [pygame.Rect(100, 165, 220, 34), pygame.Rect(520, 330, 110, 60), pygame.Rect(250, 330, 110, 60)]
BEHIND_THE_BAR = pygame.Rect(48, 78, 272, 95)
HEARTH = pygame.Rect(770, 180, 60, 110)
REACH, SPEED = 80, 190


class Minds:
    """The characters' minds, beside the game's loop: everything here returns at once.

    ``happened`` brings (what, who, value): ``ready``; ``text``; ``act`` with (name, arguments); ``end``; ``failed``
    with the reason.
    """

    def __init__(self, **options: Any) -> None:
        self.happened: SimpleQueue[tuple[str, str, Any]] = SimpleQueue()
        self._options = options
        self._world: npcsdk.World | None = None
        self._turns: dict[str, npcsdk.Turn] = {}
        threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        try:
            world = npcsdk.World(**self._options)
        except npcsdk.NpcError as error:
            self.happened.put(("failed", "", f"{error.message} {error.hint}"))
        else:
            self._world = world
            self.happened.put(("ready", "", world.name))

    def say(self, who: str, line: str, state: dict[str, Any]) -> None:
        """Say a line to somebody."""
        threading.Thread(target=self._listen, args=(who, line, state), daemon=True).start()

    def _listen(self, who: str, line: str, state: dict[str, Any]) -> None:
        try:
            if self._world is None:
                raise npcsdk.TurnError("Nobody is awake yet.")
            turn = self._turns[who] = self._world[who].say(line, state=state)
            for event in turn:
                match event:
                    case npcsdk.Text():
                        self.happened.put(("text", who, event.text))
                    case npcsdk.Action():
                        self.happened.put(("act", who, (event.name, dict(event.arguments))))
                        if event.returns == "result":
                            turn.result(event, "done")
                    case npcsdk.End():
                        self.happened.put(("end", who, event.reason))
                    case npcsdk.Failed():
                        self.happened.put(("failed", who, event.message))
        except npcsdk.NpcError as error:
            self.happened.put(("failed", who, error.message))

    def stop(self, who: str) -> None:
        """Stop somebody who speaks."""
        if turn := self._turns.get(who):
            turn.cancel()

    def close(self) -> None:
        """Let everybody go."""
        if self._world is not None:
            self._world.close()


@dataclass
class Guest:
    name: str
    colour: tuple[int, int, int]
    at: pygame.Vector2
    said: str = ""
    speaking: bool = False
    fades: float = 0.0  # seconds until what was said is gone
    follows: bool = False


@dataclass
class Tavern:
    """The room and who is in it; knows neither the window nor the model."""

    guests: dict[str, Guest] = field(
        default_factory=lambda: {
            "mara": Guest("Mara", (196, 120, 90), pygame.Vector2(210, 147)),
            "perrin": Guest("Perrin", (98, 140, 190), pygame.Vector2(716, 150)),
            "corven": Guest("Corven", (130, 130, 120), pygame.Vector2(575, 308)),
            "wren": Guest("Wren", (196, 170, 90), pygame.Vector2(300, 308)),
        }
    )
    player: pygame.Vector2 = field(default_factory=lambda: pygame.Vector2(440, 430))
    bag: dict[str, int] = field(default_factory=dict)
    notice: str = "The Lantern wakes up ..."
    song: str = ""
    sings: float = 0.0  # seconds that a song still lasts
    awake: bool = False

    def nearest(self) -> str | None:
        """Who is close enough to talk to."""
        near = [(self.player.distance_to(guest.at), who) for who, guest in self.guests.items()]
        distance, who = min(near)
        return who if distance < REACH else None

    def state(self, who: str) -> dict[str, Any]:
        """What is so, for somebody who is spoken to."""
        return {
            "place": "the Lantern",
            "nearby": ["hearth", "bar", *(guest.name for guest in self.guests.values())],
            "time": "night",
            "trust": 30,
        }

    def ask(self, who: str) -> None:
        """Somebody is being spoken to."""
        guest = self.guests[who]
        guest.said, guest.speaking = "", True

    def take(self, what: str, who: str, value: Any) -> None:
        """Something has happened in somebody's mind."""
        guest = self.guests.get(who)
        if what == "ready":
            self.awake, self.notice = True, f"Welcome to {value}. Walk to somebody and press E."
        elif what == "failed":
            self.notice = str(value)
        elif what == "text" and guest:
            guest.said += value
        elif what == "act" and guest:
            self._act(guest, *value)
        if what in ("end", "failed") and guest:
            guest.speaking, guest.fades = False, 6.0
            guest.said = guest.said.strip() or "..."

    def _act(self, guest: Guest, name: str, given: dict[str, Any]) -> None:
        if name in ("give_item", "sell_item"):
            thing = str(given.get("item", "something"))
            self.bag[thing] = self.bag.get(thing, 0) + min(int(given.get("count", 1)), 9)
            price = f" for {given['price']}" if "price" in given else ""
            self.notice = f"{guest.name} hands you {thing}{price}."
        elif name == "play_song":
            self.song, self.sings = str(given.get("song", "")), 8.0
            self.notice = f"{guest.name} plays {self.song}."
        elif name == "point_to":
            self.notice = f"{guest.name} points towards {given.get('place')}."
        elif name in ("follow_player", "stay_here"):
            guest.follows = name == "follow_player"
            self.notice = f"{guest.name} {'comes with you' if guest.follows else 'stays'}."
        elif name == "teach_move":
            self.notice = f"{guest.name} shows you the {given.get('move')}."
        else:
            self.notice = f"{guest.name}: {name} {given}"

    def move(self, way: pygame.Vector2, seconds: float) -> None:
        """Let time pass: the player walks, followers follow, words fade."""
        if way.length_squared():
            for axis in (0, 1):  # along a wall one slides
                step = pygame.Vector2(self.player)
                step[axis] += way.normalize()[axis] * SPEED * seconds
                if ROOM.inflate(-30, -30).collidepoint(step) and not any(
                    one.inflate(24, 24).collidepoint(step) for one in [*FURNITURE, BEHIND_THE_BAR, HEARTH]
                ):
                    self.player = step
        for guest in self.guests.values():
            gap = self.player - guest.at
            if guest.follows and gap.length() > 50:
                guest.at += gap.normalize() * SPEED * 0.8 * seconds
            if guest.said and not guest.speaking:
                guest.fades -= seconds
                if guest.fades <= 0:
                    guest.said = ""
        self.sings = max(self.sings - seconds, 0.0)


class Picture:
    """Draws a tavern."""

    def __init__(self) -> None:
        self.screen = pygame.display.set_mode((WIDTH, HEIGHT))
        pygame.display.set_caption("The Lantern")
        self.font = pygame.font.Font(None, 22)
        self.small = pygame.font.Font(None, 18)

    def draw(self, tavern: Tavern, typed: str | None, to: str | None, seconds: float) -> None:
        screen = self.screen
        screen.fill((22, 17, 15))
        pygame.draw.rect(screen, (92, 64, 44), ROOM)
        for row in range(ROOM.top, ROOM.bottom, 25):
            pygame.draw.line(screen, (80, 54, 37), (ROOM.left, row), (ROOM.right, row), 2)
            for plank in range(ROOM.left + (row % 50) * 3, ROOM.right, 160):
                pygame.draw.line(screen, (80, 54, 37), (plank, row), (plank, row + 25), 2)
        flicker = math.sin(seconds * 9) + math.sin(seconds * 5.3)
        glow = pygame.Surface((WIDTH, HEIGHT), pygame.SRCALPHA)
        for radius in range(300, 60, -12):
            share = (300 - radius) / 240
            pygame.draw.circle(
                glow, (255, 150, 60, int(50 * share)), HEARTH.center, radius + int(flicker * 4)
            )
        screen.blit(glow, ROOM, ROOM)
        pygame.draw.rect(screen, (60, 50, 48), HEARTH, border_radius=6)
        for number in range(3):
            height = 26 + 8 * math.sin(seconds * 8 + number * 2)
            base = (HEARTH.centerx - 14 + number * 14, HEARTH.bottom - 16)
            flame = [(base[0] - 9, base[1]), (base[0] + 9, base[1]), (base[0], base[1] - height)]
            pygame.draw.polygon(screen, ((240, 170, 60), (230, 110, 40), (250, 200, 90))[number], flame)
        for one in FURNITURE:
            pygame.draw.rect(screen, (58, 38, 26), one.move(0, 6), border_radius=8)
            pygame.draw.rect(screen, (122, 84, 54), one, border_radius=8)
        pygame.draw.rect(screen, (40, 30, 26), ROOM, 8)
        for who, guest in sorted(tavern.guests.items(), key=lambda one: one[1].at.y):
            self._figure(guest.at, guest.colour, guest.name, who == to)
        self._figure(tavern.player, (226, 220, 200), "you", False)
        if tavern.sings:
            for number in range(4):
                rise = (seconds * 40 + number * 30) % 120
                at = tavern.guests["perrin"].at + pygame.Vector2(20 + math.sin(rise / 14) * 14, -30 - rise)
                pygame.draw.circle(screen, (250, 230, 160), at, 5)
                pygame.draw.rect(screen, (250, 230, 160), (at.x + 3, at.y - 16, 2, 16))
        for guest in tavern.guests.values():
            if guest.said or guest.speaking:
                self._bubble(guest.at, guest.said or "." * (1 + int(seconds * 3) % 3))
        self._text(tavern.notice, (40, 22), (240, 226, 190))
        held = ", ".join(f"{count} x {thing}" for thing, count in tavern.bag.items()) or "nothing yet"
        self._text(f"You carry: {held}", (40, 46), (180, 160, 130), self.small)
        if typed is not None and to is not None:
            pygame.draw.rect(screen, (44, 34, 30), (40, 486, 800, 46), border_radius=8)
            cursor = "|" if int(seconds * 2) % 2 else " "
            self._text(f"to {tavern.guests[to].name}:  {typed}{cursor}", (56, 500), (255, 244, 220))
        elif (near := tavern.nearest()) is not None and tavern.awake:
            self._text(f"E: talk to {tavern.guests[near].name}", (56, 500), (200, 180, 150))
        pygame.display.flip()

    def _figure(self, at: pygame.Vector2, colour: tuple[int, int, int], name: str, chosen: bool) -> None:
        pygame.draw.ellipse(self.screen, (50, 34, 24), (at.x - 16, at.y + 14, 32, 12))
        if chosen:
            pygame.draw.ellipse(self.screen, (250, 220, 120), (at.x - 20, at.y + 11, 40, 18), 2)
        pygame.draw.rect(self.screen, colour, (at.x - 12, at.y - 6, 24, 28), border_radius=9)
        pygame.draw.circle(self.screen, (232, 196, 164), (at.x, at.y - 14), 10)
        shown = self.small.render(name, True, (250, 240, 220))
        self.screen.blit(shown, (at.x - shown.get_width() / 2, at.y + 26))

    def _bubble(self, at: pygame.Vector2, said: str) -> None:
        lines = list(wrapped(said, self.small, 230))[-6:]
        width = max(self.small.size(line)[0] for line in lines) + 20
        box = pygame.Rect(0, 0, width, 18 * len(lines) + 12)
        box.midbottom = (int(at.x), int(at.y) - 32)
        box.clamp_ip(pygame.Rect(8, 64, WIDTH - 16, HEIGHT - 72))
        pygame.draw.rect(self.screen, (250, 244, 228), box, border_radius=8)
        for number, line in enumerate(lines):
            self._text(line, (box.x + 10, box.y + 8 + 18 * number), (40, 30, 24), self.small)

    def _text(
        self,
        text: str,
        at: tuple[int, int],
        colour: tuple[int, int, int],
        font: pygame.font.Font | None = None,
    ) -> None:
        self.screen.blit((font or self.font).render(text, True, colour), at)


def wrapped(text: str, font: pygame.font.Font, width: int) -> Iterator[str]:
    """The text in lines of at most that many pixels."""
    line = ""
    for word in text.split():
        if line and font.size(f"{line} {word}")[0] > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


class Player:
    """Keys become walking, typing and talking; a script presses them in a player's place."""

    def __init__(self, tavern: Tavern, minds: Minds) -> None:
        self.tavern, self.minds = tavern, minds
        self.typed: str | None = None
        self.to: str | None = None
        self.over = False

    def press(self, event: pygame.event.Event) -> None:
        """Take a key."""
        if event.type == pygame.QUIT:
            self.over = True
        elif event.type == pygame.TEXTINPUT and self.typed is not None:
            self.typed = (self.typed + event.text)[:200]
        elif event.type == pygame.KEYDOWN and self.typed is not None:
            if event.key == pygame.K_RETURN and self.typed.strip():
                self.say(self.typed)
                self.typed = ""
            elif event.key == pygame.K_BACKSPACE:
                self.typed = self.typed[:-1]
            elif event.key == pygame.K_ESCAPE:
                if self.to and self.tavern.guests[self.to].speaking:
                    self.minds.stop(self.to)
                self.typed = self.to = None
        elif event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE:
            self.over = True
        elif event.type == pygame.KEYDOWN and event.key == pygame.K_e and self.tavern.awake:
            self.to = self.tavern.nearest()
            self.typed = None if self.to is None else ""

    def say(self, line: str) -> None:
        """Say a line to whom one talks to; somebody who still speaks is not interrupted."""
        if self.to and not self.tavern.guests[self.to].speaking:
            self.tavern.ask(self.to)
            self.minds.say(self.to, line, self.tavern.state(self.to))

    def way(self) -> pygame.Vector2:
        """Where the held keys lead."""
        if self.typed is not None:
            return pygame.Vector2()
        held = pygame.key.get_pressed()
        right = held[pygame.K_RIGHT] or held[pygame.K_d]
        left = held[pygame.K_LEFT] or held[pygame.K_a]
        down = held[pygame.K_DOWN] or held[pygame.K_s]
        up = held[pygame.K_UP] or held[pygame.K_w]
        return pygame.Vector2(right - left, down - up)


def scripted(player: Player, lines: list[str]) -> Iterator[pygame.Vector2]:
    """Plays in somebody's place, a step a frame: go WHO, say LINE, hear, pause SECONDS, shot FILE."""
    tavern = player.tavern
    while not tavern.awake:
        yield pygame.Vector2()
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "go":
            guest = tavern.guests[rest].at
            for x, y in ((tavern.player.x, 240), (guest.x, 240), guest):  # by the free middle of the room
                while tavern.player.distance_to(guest) > REACH - 10 and tavern.player.distance_to((x, y)) > 5:
                    yield (x, y) - tavern.player
            player.typed = None
            player.press(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_e))
        elif word == "say":
            player.press(pygame.event.Event(pygame.TEXTINPUT, text=rest))
            yield pygame.Vector2()
            player.press(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_RETURN))
        elif word == "hear":
            while any(guest.speaking for guest in tavern.guests.values()):
                yield pygame.Vector2()
        elif word == "pause":
            for _ in range(int(float(rest) * FPS)):
                yield pygame.Vector2()
        elif word == "shot":
            yield pygame.Vector2()
            pygame.image.save(pygame.display.get_surface(), rest)
    player.over = True


def run(minds: Minds, lines: list[str] | None = None) -> Tavern:
    """Play until it is over; prints how it went when it was played by a script."""
    pygame.display.init()  # not the sound: nothing is heard here
    pygame.font.init()
    tavern, picture, clock = Tavern(), Picture(), pygame.time.Clock()
    player = Player(tavern, minds)
    script = None if lines is None else scripted(player, lines)
    seconds, frames, thinking, longest = 0.0, 0, 0, 0
    try:
        while not player.over:
            passed = min(clock.tick(FPS) / 1000, 0.1)
            began = pygame.time.get_ticks()
            seconds += passed
            for event in pygame.event.get():
                player.press(event)
            while True:
                try:
                    what, who, value = minds.happened.get_nowait()
                except Empty:
                    break
                tavern.take(what, who, value)
                if script is not None:
                    print(what, who, value)
            way = player.way() if script is None else next(script, pygame.Vector2())
            tavern.move(way, passed)
            picture.draw(tavern, player.typed, player.to, seconds)
            frames += 1
            thinking += any(guest.speaking for guest in tavern.guests.values())
            longest = max(longest, pygame.time.get_ticks() - began)
    finally:
        pygame.quit()
    if script is not None:
        print(f"frames {frames}, while somebody thought or spoke {thinking}, the longest took {longest} ms")
    return tavern


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="another model than the embedded one")
    parser.add_argument("--script", type=Path, help="play what this file says, without a window")
    given = parser.parse_args()
    if given.script:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    minds = Minds(model=given.model)
    try:
        run(minds, given.script.read_text(encoding="utf-8").splitlines() if given.script else None)
    finally:
        minds.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
