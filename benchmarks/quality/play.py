"""A case through the whole SDK: a world of one character, a conversation, one line, greedy.

Recall is the one part that is replaced: the case itself decides which passages the character recalls, because what is
measured is the model that reads them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from benchmarks.quality.cases import Case
from npcsdk.backends.base import Backend, Finish, ModelSource, Piece, Request
from npcsdk.dialogue.world import World
from npcsdk.events import Action, Event, Failed, Refused
from npcsdk.memory.embed import WordEmbedder
from npcsdk.memory.focus import nearest_sentences
from npcsdk.memory.recall import Memory, Passage
from npcsdk.persona.schema import SamplingEntry

__all__ = ["MAX_TOKENS", "Player", "Reply"]

MAX_TOKENS = 72
"""The longest reply. One that runs on is cut here, which counts against it."""
CALL_TOKENS = 160
"""The same where a call is wanted: the SDK's own default, so that a call is not cut off that a game would get."""

_EMBEDDER = WordEmbedder()
Placement = Literal["turn", "system"]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came out of a case: the spoken text, the actions that reached the game, the calls that were refused."""

    text: str
    reason: str
    actions: tuple[Action, ...] = ()
    refused: tuple[Refused, ...] = ()
    seconds: float = 0.0

    @property
    def calls(self) -> str:
        made = [f"{action.name}({_spelled(action.arguments)})" for action in self.actions]
        return " ".join(made + [f"REFUSED {call.code} {call.raw.strip()}" for call in self.refused])


class Player:
    """Plays cases on one loaded model, which stays the caller's to close."""

    def __init__(self, backend: Backend, source: ModelSource) -> None:
        self._backend = backend
        self._source = source
        self.folder = Path(source.path)
        self.generated = 0
        self.decode_s = 0.0

    def play(self, case: Case, *, grammar: bool = True, placement: Placement = "turn") -> Reply:
        """The answer to a case. ``grammar`` False: free decoding; what is not legal is refused after the fact."""
        persona = case.persona.model_copy(
            update={
                "actions": case.tools,
                "state": dict(case.now),
                "sampling": SamplingEntry(
                    temperature=0.0, max_tokens=CALL_TOKENS if case.tool else MAX_TOKENS
                ),
            }
        )
        definition = case.world.model_copy(update={"personas": {case.npc: persona}, "state": {}})
        source = replace(self._source, options={**self._source.options, "contexts": placement})
        memory = cast("Memory", _Given(case.contexts))
        world = World(definition, _Borrowed(self._backend, self, grammar), memory, source)
        # One session for all cases of a character with these tools: what is the same stays computed.
        session = f"{case.world.name}/{case.npc}/{','.join(case.tools)}"
        conversation = world.open(case.npc, conversation=session)
        started = time.perf_counter()
        actions: list[Action] = []
        refused: list[Refused] = []
        last: Event | None = None
        for last in conversation.say(case.line):
            if isinstance(last, Action):
                actions.append(last)
                if last.returns == "result":
                    conversation.result(last.id, "done", case.result)
            elif isinstance(last, Refused):
                refused.append(last)
        seconds = time.perf_counter() - started
        assert last is not None
        reason = f"failed: {last.message}" if isinstance(last, Failed) else cast("Any", last).reason
        return Reply(
            text=cast("Any", last).text.strip(),
            reason=reason,
            actions=tuple(actions),
            refused=tuple(refused),
            seconds=seconds,
        )


class _Borrowed(Backend):
    """The loaded model, counted, and free of the grammar where a case asks for that."""

    def __init__(self, inner: Backend, player: Player, grammar: bool) -> None:
        self._inner = inner
        self._player = player
        allowed = inner.capabilities.constraints and grammar
        self.capabilities = replace(inner.capabilities, constraints=allowed)

    def count(self, text: str) -> int:
        return self._inner.count(text)

    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        for item in self._inner.generate(request):
            if isinstance(item, Finish):
                self._player.generated += item.usage.generated_tokens
                self._player.decode_s += item.usage.decode_s
            yield item


class _Given:
    """Stands where `Memory` stands: recalls what the case says, and remembers nothing."""

    timeline = 0

    def __init__(self, contexts: Sequence[str]) -> None:
        self._passages = [
            Passage(id=str(number), text=text, source="lore", score=1.0, reason="given by the case")
            for number, text in enumerate(contexts)
        ]

    def recall(
        self, query: str, *, limit: int, sentences: int, known: Sequence[str], **_: Any
    ) -> list[Passage]:
        given = self._passages[:limit]
        return nearest_sentences(query, given, sentences, _EMBEDDER.embed, known) if sentences else given

    def history(self, conversation: str) -> list[dict[str, Any]]:
        return []

    def values(self, npc: str, interlocutor: str) -> dict[str, float]:
        return {}

    def summary(self, conversation: str) -> None:
        return None

    def append_summary(self, *_: Any, **__: Any) -> None:
        return None

    def append_turn(self, *_: Any, **__: Any) -> None:
        return None

    def warm(self, npc: str) -> None:
        return None

    def close(self) -> None:
        return None


def _spelled(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())
