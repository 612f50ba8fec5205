"""The history of a conversation: what its prompt repeats, restored from memory, and cut to what was heard."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.actions.stream import CallPart, Speech
from npcsdk.dialogue.gametime import GameTime
from npcsdk.dialogue.notebook import Notebook
from npcsdk.dialogue.npc import Npc
from npcsdk.dialogue.remembering import HEARD, Said, as_records, place_in, refers_back, told_of
from npcsdk.dialogue.running import Running, defect
from npcsdk.dialogue.summaries import Work, summed_up
from npcsdk.errors import NpcError, WorldError
from npcsdk.events import Recalled
from npcsdk.memory.recall import Memory, Passage, Summary, Told
from npcsdk.prompt.compose import Composed, Composer, Past
from npcsdk.prompt.templates import ChatMessage

__all__ = ["History", "heard_messages"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Turn:
    """One turn that is over. ``past`` is None where there was no answer, or where it is beyond what a prompt holds."""

    id: str
    record: Mapping[str, Any]
    past: Past | None


class History:
    """The finished turns of one conversation, oldest first, but for those that its summary stands for.

    Args:
        memory: where the turns are kept.
        notebook: where it is kept which of them were heard in part.
        time: the game's.
        id: the conversation's.
        npc, player: between whom it is.
    """

    def __init__(
        self, memory: Memory, notebook: Notebook, time: GameTime, *, id: str, npc: Npc, player: str
    ) -> None:
        self._memory = memory
        self._notebook = notebook
        self._time = time
        self._id = id
        self._npc = npc
        self._player = player
        self._turns: list[_Turn] = []
        self._writing = threading.Lock()
        self.summary: Summary | None = None
        """What stands for the turns that are not here."""
        self.last_line = ""
        self.last_number = 0
        """The greatest number of those that the SDK itself gave to turns of this conversation."""

    @property
    def past(self) -> list[Past]:
        """What a prompt may repeat."""
        return [turn.past for turn in self._turns if turn.past is not None]

    @property
    def ids(self) -> list[str]:
        """The turns' ids, one for each in ``past``."""
        return [turn.id for turn in self._turns if turn.past is not None]

    @property
    def earlier(self) -> str:
        """What the prompt says of the turns that are not here, or ""."""
        return self.summary.text(self._player) if self.summary is not None else ""

    def recalled(self, composed: Composed, passages: Sequence[Passage]) -> tuple[Recalled, ...]:
        """What stands in a prompt besides the turns themselves, and why: for people who look into a turn."""
        found = [
            Recalled(source=item.source, text=item.text, score=item.score, reason=item.reason)
            for item in (passages[index] for index in composed.kept_passages)
        ]
        if composed.earlier and self.summary is not None:
            reason = f"stands for the first {self.summary.turns} turns"
            found.insert(0, Recalled(source="memory/summary", text=self.earlier, score=1.0, reason=reason))
        return tuple(found)

    def recall(
        self,
        query: str,
        composer: Composer,
        *,
        limit: int,
        sentences: int,
        known: Sequence[str],
        now: float | None,
        without: Collection[str],
    ) -> list[Passage]:
        """What comes to mind at a line, beside what the prompt holds anyway and the turns ``without``.

        ``now`` is game time; ``limit`` passages, or of them and of what is ``known`` all along so many
        ``sentences`` (0: passages whole).
        """
        if sentences and (own := self._npc.introduction(query)):
            return [own]
        in_prompt = self.ids[composer.start :]

        def found(line: str) -> list[Passage]:
            return self._memory.recall(
                line,
                npc=self._npc.id,
                interlocutor=self._player,
                tags=self._npc.persona.knows,
                limit=limit,
                sentences=sentences,
                known=known,
                now=now,
                without_turns={*in_prompt, *(f"{turn}{HEARD}" for turn in in_prompt), *without},
            )

        passages = found(query)
        if not passages and self.last_line and refers_back(query):
            return found(f"{self.last_line} {query}")
        return passages

    def restore(self, composer: Composer, room: int) -> None:
        """Take up what memory has of the conversation: as many tokens as a prompt may hold.

        Raises:
            WorldError: the conversation is between others (``conversation_taken``).
        """
        self._turns, self.last_line = [], ""
        self.summary, records = self._uncovered(self._memory.summary(self._id))
        for turn in reversed(records):
            who = str(turn.get("npc", self._npc.id)), str(turn.get("player", self._player))
            if who != (self._npc.id, self._player):
                raise WorldError(
                    f"The conversation {self._id!r} is between {who[0]!r} and {who[1]!r}.",
                    hint="Use another conversation id.",
                    code="conversation_taken",
                )
            if not self.last_line and not turn.get("event"):
                self.last_line = str(turn.get("line", ""))
            past = None
            if room > 0 and turn.get("messages"):
                messages = tuple(ChatMessage.of(item["role"], str(item["text"])) for item in turn["messages"])
                past = Past(messages, composer.tokens(messages))
                room -= past.tokens
            self._turns.insert(0, _Turn(str(turn.get("turn", "")), turn, past))
        if self.summary is not None and composer.context_tokens(self.earlier) > composer.summary_tokens:
            self.summary = summed_up(self._work(composer, self.summary, (), self.summary.upto, 0))

    def keep(self, turn: Running, composer: Composer, tool_format: ToolFormat) -> NpcError | None:
        """Put a turn that is over into history and memory; the error if memory could not take it."""
        try:
            self._keep(turn, composer, tool_format)
        except NpcError as error:
            return error
        except Exception as error:  # a defect of ours or of a store's: the game must go on
            logger.exception("turn %s cannot be remembered", turn.id)
            return defect("The turn was not remembered", error)
        return None

    def _keep(self, turn: Running, composer: Composer, tool_format: ToolFormat) -> None:
        machine, composed = turn.machine, turn.composed
        answered: tuple[ChatMessage, ...] = ()
        if machine is not None and composed is not None:
            if machine.generating:
                machine.round_over(cancelled=True)
            answered = tuple(message for message in machine.messages if message.text)
            if turn.heard is not None and turn.heard < len(turn.spoken):
                answered = heard_messages(answered, turn.heard, tool_format)
            while answered and answered[-1].role == "tool":
                answered = answered[:-1]
        said = turn.said(self._npc.id, self._player)
        sent = (composed.user, *answered) if composed is not None and answered else ()
        record = said.record(sent)
        with self._writing:
            if turn.disowned:
                return
            self._turns.append(_Turn(turn.id, record, Past(sent, composer.tokens(sent)) if sent else None))
            self._memory.append_turn(
                self._id,
                self._npc.id,
                self._player,
                record,
                experiences=said.experiences(
                    self._npc.name, self._id, self._time.at(turn.state), place_in(turn.state)
                ),
                timeline=turn.timeline,
            )

    def disown(self, turn: Running) -> None:
        """Keep nothing of a turn that runs. When this returns, none of it will be written any more."""
        with self._writing:
            turn.disowned = True

    # What stands for the oldest turns.

    def due(self, composer: Composer) -> Work | None:
        """The turns that are not in the prompt any more, or soon will not be; None while there are none."""
        going = composer.crowded(self.past)
        end = waiting = 0  # turns at the beginning, and how many of them no prompt has room for
        for number, turn in enumerate(self._turns, 1):
            if turn.past is not None:
                if not going:
                    break
                going -= 1
            if turn.past is not None or turn.record.get("messages"):
                end, waiting = number, waiting + 1
        if not waiting:
            return None
        gone = self._turns[:end]
        told = tuple(line for turn in gone for line in told_of(turn.record, turn.id))
        return self._work(composer, self.summary, told, gone[-1].id, end)

    def write(self, summary: Summary, timeline: int) -> None:
        """Write what stands for the oldest turns from now on; `take` it when no turn runs.

        Raises:
            MemoryStoreError: it cannot be written; the turns stay.
        """
        self._memory.append_summary(
            self._id, self._npc.id, self._player, summary, at=self._time.at(), timeline=timeline
        )

    def take(self, summary: Summary, composer: Composer) -> None:
        """Let ``summary`` stand for the turns that it sums up."""
        covered = summary.turns - (self.summary.turns if self.summary is not None else 0)
        gone, self._turns = self._turns[:covered], self._turns[covered:]
        composer.forget_first(sum(turn.past is not None for turn in gone))
        self.summary = summary

    def _uncovered(self, summary: Summary | None) -> tuple[Summary | None, list[Mapping[str, Any]]]:
        """The summary, and the turns that it does not stand for; all of them where its own are not here."""
        records = _amended(self._memory.history(self._id))
        numbers = (str(record.get("turn", "")).removeprefix(f"{self._id}:") for record in records)
        self.last_number = max((int(number) for number in numbers if number.isdecimal()), default=0)
        if summary is not None:
            for place in range(min(summary.turns, len(records)) - 1, -1, -1):
                if str(records[place].get("turn", "")) == summary.upto:
                    return replace(summary, turns=place + 1), records[place + 1 :]
        return None, records

    def _work(
        self, composer: Composer, previous: Summary | None, told: tuple[Told, ...], upto: str, turns: int
    ) -> Work:
        return Work(
            name=self._npc.name,
            player=self._player,
            told=told,
            previous=previous,
            upto=upto,
            turns=turns + (previous.turns if previous is not None else 0),
            tokens=composer.context_tokens,
            budget=composer.summary_tokens,
        )

    def _sum_up_again(self, composer: Composer) -> None:
        """What the summary stands for was amended."""
        assert self.summary is not None
        upto, turns = self.summary.upto, self.summary.turns
        records = _amended(self._memory.history(self._id))[:turns]
        told = tuple(line for record in records for line in told_of(record, str(record.get("turn", ""))))
        self.summary = summed_up(self._work(composer, None, told, upto, turns))
        self._memory.append_summary(self._id, self._npc.id, self._player, self.summary, at=self._time.at())

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
        here = [each for each in self._turns if each.id == turn]
        if here:
            here[-1].record = {**here[-1].record, "text": said}
            if here[-1].past is not None:
                here[-1].past = Past(kept, composer.tokens(kept))
        heard = Said(
            npc=self._npc.id,
            player=self._player,
            turn=f"{turn}{HEARD}",
            line=str(record.get("line", "")),
            happening=str(record.get("event", "")),
            text=said,
            reason=str(record.get("reason", "")),
        )
        lived = heard.experiences(self._npc.name, self._id, self._time.at(state), place_in(state))
        self._notebook.cut(turn, lived)
        if not here and self.summary is not None:
            self._sum_up_again(composer)
        return True

    def _record_of(self, turn: str) -> Mapping[str, Any] | None:
        """A finished turn as memory has it now, or None."""
        for record in reversed(_amended(self._memory.history(self._id))):
            if record.get("turn") == turn:
                return record
        return None


def _amended(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The turns as they were heard: an amendment takes the place of what it amends."""
    turns: list[Mapping[str, Any]] = []
    places: dict[str, int] = {}  # an id that was given twice is the newer turn's
    for record in records:
        amends = record.get("amends")
        if amends is None:
            if record.get("turn"):
                places[str(record["turn"])] = len(turns)
            turns.append(record)
        elif str(amends) in places:
            kept = {key: record[key] for key in ("text", "messages", "reason") if key in record}
            place = places[str(amends)]
            turns[place] = {**turns[place], **kept, "cut": True}
    return turns


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
    stream = tool_format.stream()
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
