"""What a finished turn leaves in memory, and when a line needs the one before it to be understood."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npcsdk.memory.recall import Experience, Told
from npcsdk.prompt.templates import ChatMessage
from npcsdk.prompt.untrusted import scrubbed

__all__ = ["HEARD", "Said", "as_records", "place_in", "refers_back", "told_of"]

_PLACE = 200  # characters; what is longer is no name of a place

HEARD = "#heard"
"""Behind a turn's id: what is remembered of it after it was cut short."""

_BACK = re.compile(
    r"\b(it|that|this|those|these|they|them|he|she|him|her|there|ones?|others?|another|else|more|and"
    r"|why|how|when|where|who|what)\b",
    re.IGNORECASE,
)


def refers_back(line: str) -> bool:
    """Whether a short line ("and the other one?") may only make sense after the one before it."""
    return len(line.split()) <= 8 and _BACK.search(line) is not None


def place_in(state: Mapping[str, Any]) -> str:
    """Where a turn happens, as the game's state has it; "" where it does not say, or not in a word or two."""
    place = state.get("place")
    return scrubbed(place).strip() if isinstance(place, str) and len(place) <= _PLACE else ""


def as_records(messages: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """Messages as the journal keeps them."""
    return [{"role": message.role, "text": message.text} for message in messages]


def told_of(record: Mapping[str, Any], turn: str) -> list[Told]:
    """What a turn of the journal says, by who said it: only what the game told is so."""
    event, line, text = (str(record.get(name) or "").strip() for name in ("event", "line", "text"))
    found = [Told(origin="game", text=event, turn=turn)] if event else []
    if line and not event:  # an event stands there with words of ours in the place of a player's
        found.append(Told(origin="player", text=line, turn=turn))
    if text:
        found.append(Told(origin="npc", text=text, turn=turn))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One turn that is over: the player's line or the game's event, and what was said to it."""

    npc: str
    player: str
    turn: str
    line: str
    happening: str
    text: str
    reason: str

    def record(self, sent: Sequence[ChatMessage]) -> dict[str, Any]:
        """The turn for the journal: enough to go on with the conversation after a restart.

        ``sent`` are its messages as the model saw and sampled them, the user's first.
        """
        return {
            "npc": self.npc,
            "player": self.player,
            "turn": self.turn,
            "line": self.line,
            "event": self.happening,
            "text": self.text,
            "reason": self.reason,
            "messages": as_records(sent),
        }

    def experiences(self, name: str, conversation: str, at: float, place: str = "") -> list[Experience]:
        """What the character called ``name`` remembers of it, as sentences that stand by themselves.

        ``at`` is when it was, see `npcsdk.dialogue.gametime`, and ``place`` where.
        """

        def lived(kind: Any, origin: Any, text: str) -> Experience:
            return Experience(
                npc=self.npc,
                interlocutor=self.player,
                kind=kind,
                text=text,
                origin=origin,
                turn=self.turn,
                conversation=conversation,
                at=at,
                place=place,
            )

        if self.happening:
            made = [lived("event", "game", self.happening)]
        else:
            made = [lived("turn", "player", f"{self.player} said: {self.line.strip()}")]
        if self.text:
            made.append(lived("turn", "npc", f"{name} said: {self.text}"))
        return made
