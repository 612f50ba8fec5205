"""The history of a conversation: what its prompt repeats, restored from memory, and cut to what was heard."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.actions.stream import CallPart, CallStream, Speech
from npcsdk.dialogue.notebook import Notebook
from npcsdk.dialogue.npc import Npc
from npcsdk.dialogue.remembering import HEARD, Said, as_records
from npcsdk.errors import WorldError
from npcsdk.memory.recall import Memory
from npcsdk.prompt.compose import Composer, Past
from npcsdk.prompt.templates import ChatMessage

__all__ = ["History", "heard_messages"]


class History:
    """The finished turns of one conversation, oldest first.

    Args:
        memory: where the turns are kept.
        notebook: where it is kept which of them were heard in part.
        id: the conversation's.
        npc, player: between whom it is.
    """

    def __init__(self, memory: Memory, notebook: Notebook, *, id: str, npc: Npc, player: str) -> None:
        self._memory = memory
        self._notebook = notebook
        self._id = id
        self._npc = npc
        self._player = player
        self.past: list[Past] = []
        self.ids: list[str] = []
        """The turns' ids, one for each in ``past``."""
        self.last_line = ""

    def restore(self, composer: Composer, room: int) -> None:
        """Take up what memory has of the conversation: as many tokens as a prompt may hold.

        Raises:
            WorldError: the conversation is between others (``conversation_taken``).
        """
        self.past, self.ids, self.last_line = [], [], ""
        for turn in reversed(_amended(self._memory.history(self._id))):
            who = str(turn.get("npc", self._npc)), str(turn.get("player", self._player))
            if who != (self._npc.id, self._player):
                raise WorldError(
                    f"The conversation {self._id!r} is between {who[0]!r} and {who[1]!r}.",
                    hint="Use another conversation id.",
                    code="conversation_taken",
                )
            if not self.last_line and not turn.get("event"):
                self.last_line = str(turn.get("line", ""))
            if room > 0 and turn.get("messages"):
                messages = tuple(ChatMessage.of(item["role"], str(item["text"])) for item in turn["messages"])
                past = Past(messages, composer.tokens(messages))
                self.past.insert(0, past)
                self.ids.insert(0, str(turn.get("turn", "")))
                room -= past.tokens

    def add(self, turn: str, messages: tuple[ChatMessage, ...], composer: Composer) -> None:
        """A turn is over; ``messages`` are the user's and what answered it."""
        self.past.append(Past(messages, composer.tokens(messages)))
        self.ids.append(turn)

    def cut(
        self, turn: str, offset: int, composer: Composer, tool_format: ToolFormat, state: Mapping[str, Any]
    ) -> bool:
        """Of a turn that is over, only the first ``offset`` code points were heard; False when there is no such turn.

        It is on disk when this returns. Told twice of one turn, the first counts.
        """
        record = self._record_of(turn)
        if record is None:
            return False
        text = str(record.get("text", ""))
        if offset >= len(text) or record.get("cut"):
            return True
        said = text[: max(offset, 0)]
        messages = [ChatMessage.of(item["role"], str(item["text"])) for item in record.get("messages", ())]
        kept = heard_messages(messages, len(said), tool_format)
        amendment = {"amends": turn, "text": said, "messages": as_records(kept)}
        self._memory.append_turn(self._id, self._npc.id, self._player, amendment)
        if turn in self.ids:
            self.past[self.ids.index(turn)] = Past(kept, composer.tokens(kept))
        heard = Said(
            npc=self._npc.id,
            player=self._player,
            turn=f"{turn}{HEARD}",
            line=str(record.get("line", "")),
            happening=str(record.get("event", "")),
            text=said,
            reason=str(record.get("reason", "")),
        )
        self._notebook.cut(turn, heard.experiences(self._npc.name, self._id, state))
        return True

    def _record_of(self, turn: str) -> Mapping[str, Any] | None:
        """A finished turn as memory has it now, or None."""
        for record in reversed(_amended(self._memory.history(self._id))):
            if record.get("turn") == turn:
                return record
        return None


def _amended(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The turns as they were heard: an amendment takes the place of what it amends."""
    turns: dict[str, Mapping[str, Any]] = {}
    unnamed = 0
    for record in records:
        amends = record.get("amends")
        if amends is None:
            unnamed += 1
            turns[str(record.get("turn") or f" {unnamed}")] = record
        elif amends in turns:
            kept = {key: record[key] for key in ("text", "messages", "reason") if key in record}
            turns[str(amends)] = {**turns[str(amends)], **kept, "cut": True}
    return list(turns.values())


def heard_messages(
    messages: Sequence[ChatMessage], heard: int, tool_format: ToolFormat
) -> tuple[ChatMessage, ...]:
    """A turn's messages without the speech after the first ``heard`` code points, and without calls made later.

    Calls between what was heard stay as they were written: the game has carried them out.
    """
    kept: list[ChatMessage] = []
    left = heard
    for message in messages:
        if message.role != "assistant":
            kept.append(message)
            continue
        whole, text = _cut(message.text, left, tool_format)
        left -= whole
        if left >= 0:
            kept.append(message)
            continue
        if text.strip():
            kept.append(ChatMessage.of("assistant", text.rstrip()))
        break
    while kept and kept[-1].role == "tool":
        kept.pop()
    return tuple(kept)


def _cut(raw: str, room: int, tool_format: ToolFormat) -> tuple[int, str]:
    """How much of an assistant's message is speech, and the message up to ``room`` code points of it."""
    stream = CallStream(tool_format.opening, tool_format.closing, bare=tool_format.bare)
    spoken = 0
    pieces: list[str] = []
    for part in [*stream.feed(raw), *stream.finish()]:
        if isinstance(part, Speech):
            left = max(room - spoken, 0)
            spoken += len(part.text)
            pieces.append(part.text[:left])
        elif isinstance(part, CallPart) and spoken <= room:
            closing = re.compile(rf"\s*{re.escape(tool_format.closing)}").match(raw, part.end)
            space = " " if pieces and not pieces[-1].endswith((" ", "\n")) else ""
            pieces.append(space + raw[part.start : closing.end() if closing else part.end])
    return spoken, "".join(pieces)
