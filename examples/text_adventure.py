"""An evening in Harrowmere: a small text adventure whose people think for themselves.

    python examples/text_adventure.py
    python examples/text_adventure.py --script lines.txt       # one line of input each, for tests

What is typed is a command (``help`` lists them), or is said to whoever is here. What people do with it reaches the
game as actions: they open the gate, sell and give things, point the way, play, follow. The game keeps the rules: the
purse, the lock, the hour. It can be won by talking, and by a way that needs nobody's goodwill.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import npcsdk

NIGHT = 40  # moves until the gate closes for good


@dataclass
class Place:
    about: str
    exits: dict[str, str]
    things: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)


def places() -> dict[str, Place]:
    return {
        "the town square": Place(
            "Wet cobbles, a dry well, crows. The Lantern's windows are lit.",
            {"north": "the smithy", "east": "the Lantern", "south": "the iron gate", "west": "the chapel"},
            ["handbill"],
        ),
        "the Lantern": Place(
            "A low room full of smoke and the smell of stew. Somebody tunes a lute.",
            {"west": "the town square"},
            people=["mara", "perrin"],
        ),
        "the smithy": Place(
            "A red forge. Nails, hinges and lanterns hang from the beams.",
            {"south": "the town square"},
            people=["torva"],
        ),
        "the chapel": Place(
            "Cold candles before Saint Ebba. A sealed letter lies forgotten in the hymn book.",
            {"east": "the town square"},
            ["sealed letter"],
            ["olwin"],
        ),
        "the iron gate": Place(
            "The gate of Harrowmere, barred. A guard warms his hands at a brazier. Beyond: the road home.",
            {"north": "the town square", "out": "the road"},
            people=["bram"],
        ),
    }


class Game:
    """The rules; knows nothing of models. ``tell`` takes each line that the player is to read."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.places = places()
        self.here = "the town square"
        self.bag: dict[str, int] = {}
        self.pennies = 30
        self.moves = 0
        self.gate_open = False
        self.trust: dict[str, int] = {}
        self.follower: str | None = None
        self.met: set[str] = set()
        self.outcome = ""  # won or lost

    @property
    def hour(self) -> str:
        return "day" if self.moves < NIGHT // 2 else "dusk" if self.moves < NIGHT else "night"

    @property
    def goals(self) -> dict[str, bool]:
        """What there is to do, and whether it is done."""
        return {
            "speak with three people of the town": len(self.met) >= 3,
            "carry something that you did not have before": bool(self.bag),
            "leave by the iron gate before night": self.outcome == "won",
        }

    @property
    def people(self) -> list[str]:
        """Who is here, the follower last."""
        present = [one for one in self.places[self.here].people if one != self.follower]
        return [*present, self.follower] if self.follower else present

    def state(self, npc: str) -> dict[str, object]:
        """What is so now, for whoever is spoken to."""
        place = self.places[self.here]
        gate = ["iron gate"] if self.here == "the iron gate" else []
        return {
            "place": self.here,
            "nearby": [*gate, *place.things],
            "time": self.hour,
            "trust": self.trust.get(npc, 20),
            "player.pennies": self.pennies,
        }

    # What the player types

    def command(self, line: str) -> bool:
        """Carry out a command; False when the line is none, and is to be said."""
        word, _, rest = line.strip().partition(" ")
        word = {"n": "north", "s": "south", "e": "east", "w": "west", "l": "look", "i": "bag"}.get(word, word)
        if word in ("north", "south", "east", "west", "out"):
            word, rest = "go", word
        actions: dict[str, Callable[[str], None]] = {
            "go": self._go,
            "look": lambda _: self.look(),
            "take": self._take,
            "drop": self._drop,
            "show": self._show,
            "bag": lambda _: self._list(),
            "goals": lambda _: self._goals(),
            "wait": lambda _: self.tell("Time passes."),
            "help": lambda _: self.tell(
                "go DIRECTION, look, take THING, drop THING, show THING, bag, goals, wait, quit. "
                "NAME: TEXT speaks to somebody; anything else is said to whoever is here."
            ),
        }
        if word not in actions or (rest and word in ("look", "wait", "help", "goals", "bag")):
            return False
        actions[word](rest.strip())
        self.pass_time()
        return True

    def pass_time(self) -> None:
        """Each thing that the player does takes a while."""
        before = self.hour
        self.moves += 1
        if self.hour != before and not self.outcome:
            self.tell(
                {"dusk": "The light goes. A horn sounds from the wall.", "night": "Night. Bars fall."}[
                    self.hour
                ]
            )
            if self.hour == "night":
                self.outcome = "lost"
                self.tell("The gate is shut until dawn, and your ship sails without you.")

    def look(self) -> None:
        place = self.places[self.here]
        self.tell(f"-- {self.here}, {self.hour} --")
        self.tell(place.about)
        if place.things:
            self.tell(f"Here lies: {', '.join(place.things)}.")
        if self.people:
            self.tell(f"Here is: {', '.join(self.people)}.")
        self.tell(f"Ways: {', '.join(place.exits)}.")

    def _go(self, where: str) -> None:
        target = self.places[self.here].exits.get(where)
        if target is None:
            self.tell("There is no way there.")
        elif target == "the road":
            self._leave()
        else:
            self.here = target
            if self.follower:
                self.tell(f"{self.follower} comes along.")
            self.look()

    def _leave(self) -> None:
        missing = [goal for goal, done in list(self.goals.items())[:2] if not done]
        if not self.gate_open:
            self.tell("The gate is barred. Ask the guard, or show him something that he must obey.")
        elif missing:
            self.tell(f"You cannot leave yet: {'; '.join(missing)}.")
        else:
            self.outcome = "won"
            self.tell("You walk out under the arch. Behind you the bell of Harrowmere strikes. You have won.")

    def _take(self, thing: str) -> None:
        things = self.places[self.here].things
        if thing in things:
            things.remove(thing)
            self.gain(thing)
        else:
            self.tell(f"There is no {thing or 'such thing'} here.")

    def _drop(self, thing: str) -> None:
        if self.bag.pop(thing, 0):
            self.places[self.here].things.append(thing)
            self.tell(f"You put down the {thing}.")
        else:
            self.tell("You do not have that.")

    def _show(self, thing: str) -> None:
        if thing not in self.bag:
            self.tell("You do not have that.")
        elif thing == "sealed letter" and "bram" in self.people:
            self.tell("The guard sees the heron on the seal, straightens, and lifts the bar.")
            self.gate_open = True
        else:
            self.tell(f"Nobody makes anything of the {thing}.")

    def _list(self) -> None:
        held = ", ".join(f"{count} x {thing}" for thing, count in self.bag.items()) or "nothing"
        self.tell(f"You carry {held}, and {self.pennies} pennies.")

    def _goals(self) -> None:
        for goal, done in self.goals.items():
            self.tell(f"[{'x' if done else ' '}] {goal}")

    def gain(self, thing: str, count: int = 1) -> None:
        self.bag[thing] = self.bag.get(thing, 0) + count
        self.tell(f"You have {count} x {thing} more.")

    # What people do. The game's answer is what the character is told came of it.

    def actions(self) -> dict[str, Callable[..., str | None]]:
        """What happens when somebody acts. The world's own file says what there is to do and with what."""

        def open_gate(gate: str) -> str:
            """Open a gate or door for the player."""
            if self.here != "the iron gate":
                return "There is no such gate here."
            self.gate_open = True
            self.tell(f"(The {gate} is open.)")
            return "It is open."

        def give_item(item: str, count: int = 1) -> None:
            """Give the player something for free."""
            self.gain(item, min(count, 5))

        def sell_item(item: str, price: str) -> str:
            """Sell something to the player."""
            found = re.search(r"\d+", price)
            cost = int(found[0]) * (12 if "silver" in price else 1) if found else 1
            if cost > self.pennies:
                self.tell(f"({item} for {cost} pennies: you have {self.pennies}.)")
                return f"The player has only {self.pennies} pennies."
            self.pennies -= cost
            self.tell(f"(You pay {cost} pennies.)")
            self.gain(item)
            return "Sold."

        def point_to(place: str) -> None:
            """Point out where a place is."""
            self.tell(f"(A hand points towards {place}.)")

        def play_song(song: str) -> None:
            """Play a song for everybody to hear."""
            self.tell(f"(Music: {song}.)")

        acts = (open_gate, give_item, sell_item, point_to, play_song)
        return {act.__name__: act for act in acts}

    def spoken_with(self, npc: str) -> None:
        """A talk was had: it takes a while, and they know each other a little better."""
        self.met.add(npc)
        self.trust[npc] = min(self.trust.get(npc, 20) + 4, 100)
        self.pass_time()


def converse(game: Game, world: npcsdk.World, line: str) -> None:
    """Say a line to somebody here, and print what comes of it as it comes."""
    named, colon, said = line.partition(":")
    npc = named.strip().lower() if colon else (game.people or [""])[0]
    if npc not in game.people:
        game.tell(f"{npc or 'Nobody'} is not here to answer.")
        return
    turn = world[npc].say(said.strip() if colon else line, state=game.state(npc), seed=game.moves)
    print(f"{world[npc].name}: ", end="", flush=True)
    for event in turn:
        match event:
            case npcsdk.Text():
                print(event.text, end="", flush=True)
            case npcsdk.ActionStarted():
                print()
            case npcsdk.Action(name="follow_player"):
                game.follower = npc
            case npcsdk.Action(name="stay_here"):
                game.follower = None
            case npcsdk.Failed():
                print(f"(says nothing: {event.message})", end="")
    print()
    game.spoken_with(npc)


def play(lines: Iterable[str], *, model: str | None = None, temperature: float = 0.2) -> Game:
    """Play with these lines of input; the game as it ended."""
    game = Game(print)
    options = {"sampling": {"temperature": temperature}}
    # `caller`: handlers run in this thread, so the game's rules need no lock.
    with npcsdk.World(model=model, actions=game.actions(), handlers="caller", options=options) as world:
        print(
            "The last ship sails in the morning, from beyond the gate. `help` lists the commands, `goals` the goals.\n"
        )
        game.look()
        for line in lines:
            if line.strip() == "quit":
                break
            if line.strip() and not game.command(line):
                converse(game, world, line)
            if game.outcome:
                break
    return game


def typed() -> Iterable[str]:
    """What somebody types."""
    while True:
        try:
            yield input("\n> ")
        except (EOFError, KeyboardInterrupt):
            return


def scripted(path: Path) -> Iterable[str]:
    """The lines of a file, echoed."""
    for line in path.read_text(encoding="utf-8").splitlines():
        print(f"\n> {line}")
        yield line


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", help="another model than the embedded one")
    parser.add_argument("--script", type=Path, help="take the input from this file")
    given = parser.parse_args()
    try:
        game = play(
            scripted(given.script) if given.script else typed(),
            model=given.model,
            temperature=0.0 if given.script else 0.2,
        )
    except npcsdk.NpcError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return 2
    return 1 if game.outcome == "lost" else 0


if __name__ == "__main__":
    sys.exit(main())
