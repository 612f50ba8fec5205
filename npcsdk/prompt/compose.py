"""Fill a model's window: measure the parts of a prompt in real tokens, and decide what stays.

A `Composer` belongs to one conversation. It remembers what it has measured and where history begins, so that a
turn costs the measuring of what is new, and the stable part of the prompt stays the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from npcsdk.backends.base import Prompt
from npcsdk.errors import PromptTooLong, TurnError
from npcsdk.events import Dropped
from npcsdk.prompt.budget import Shares, first_turn, fit
from npcsdk.prompt.build import Section, assemble, system_text, user_message
from npcsdk.prompt.templates import ChatMessage, Template

__all__ = ["Composed", "Composer", "Past", "Stable"]

_PER_MESSAGE = 4
"""Tokens allowed for a message's own spelling (role word, control token, line ends) on top of its text."""


@dataclass(slots=True)
class Past:
    """One finished turn of a history: its messages as they were sent and sampled, and their tokens."""

    messages: tuple[ChatMessage, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Stable:
    """The part of a prompt that changes seldom: system text and offered tools."""

    system: str
    tools: tuple[Mapping[str, Any], ...]
    tokens: int
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True, slots=True)
class Composed:
    """A turn's prompt, the user's message in it, the passages that fitted, and what did not fit."""

    stable: Stable
    user: ChatMessage
    past: tuple[ChatMessage, ...]
    system_contexts: tuple[str, ...]
    kept_passages: tuple[int, ...]
    trimmed: bool
    dropped: tuple[Dropped, ...] = field(default=())

    def prompt(self, template: Template, added: Sequence[ChatMessage] = ()) -> Prompt:
        """The whole prompt, with the turn's own messages ``added`` after the user's (calls and their results)."""
        return assemble(
            template,
            system=self.stable.system,
            tools=self.stable.tools,
            messages=[*self.past, self.user, *added],
            system_contexts=self.system_contexts,
        )


class Composer:
    """Measures and fills.

    Args:
        count: tokens of a text, from the backend that will see it.
        contexts_in_system: put passages at the template's published place instead of into the user's message.
    """

    def __init__(
        self,
        template: Template,
        count: Callable[[str], int],
        shares: Shares,
        *,
        contexts_in_system: bool = False,
    ) -> None:
        self._template = template
        self._count = count
        self._shares = shares
        self._in_system = contexts_in_system
        self._start = 0
        self._stable: tuple[tuple[Section, ...], tuple[Mapping[str, Any], ...], Stable] | None = None

    def tokens(self, messages: Sequence[ChatMessage]) -> int:
        """What messages take in a prompt; sampled text is counted by its ids."""
        return sum(
            _PER_MESSAGE
            + sum(
                len(segment.ids) if segment.ids is not None else self._count(segment.text)
                for segment in message.segments
            )
            for message in messages
        )

    def check_line(self, line: str) -> None:
        """Refuse a line that could never fit.

        Raises:
            TurnError: ``line_too_long``, with both numbers.
        """
        room = int(self._shares.prompt * (1 - self._shares.system))
        # Four bytes a token is more than any tokenizer reaches on text worth reading: no need to encode a novel.
        tokens = self._count(line) if len(line) <= room * 64 else len(line) // 4
        if tokens > room:
            raise TurnError(
                f"The line takes {tokens} tokens, and {room} are left for it in a window of {self._shares.window}.",
                hint="Shorten the line, or use a model with a larger window.",
                code="line_too_long",
            )

    def stable(self, sections: Sequence[Section], tools: Sequence[Mapping[str, Any]]) -> Stable:
        """System text and tools within their share; the same input gives the very same value.

        Raises:
            PromptTooLong: not even the parts that are never dropped fit.
        """
        key = (tuple(sections), tuple(tools))
        if self._stable is not None and self._stable[:2] == key:
            return self._stable[2]
        sizes = [self._count(section.text) + 1 for section in sections]
        tool_tokens = sum(self._count(str(tool)) + 8 for tool in tools)
        core = sum(size for size, section in zip(sizes, sections, strict=True) if section.rank == 0)
        room = int(self._shares.prompt * self._shares.system) - core - tool_tokens
        if core + tool_tokens > self._shares.prompt - self._shares.prompt // 8:
            raise PromptTooLong(
                f"The character's core text and {len(tools)} tools take {core + tool_tokens} tokens of a window of "
                f"{self._shares.window}.",
                hint="Shorten setting, identity and refusals, or give the character fewer actions.",
            )
        order = sorted(
            (i for i, section in enumerate(sections) if section.rank), key=lambda i: sections[i].rank
        )
        kept = dict(zip(order, fit([sizes[i] for i in order], room), strict=True))
        chosen = [section for i, section in enumerate(sections) if kept.get(i, True)]
        dropped = tuple(
            Dropped(what=f"persona:{sections[i].name}", tokens=sizes[i]) for i in order if not kept[i]
        )
        tokens = tool_tokens + sum(size for i, size in enumerate(sizes) if kept.get(i, True))
        value = Stable(system_text(chosen), tuple(tools), tokens, dropped)
        self._stable = (*key, value)
        return value

    def compose(
        self,
        stable: Stable,
        history: Sequence[Past],
        passages: Sequence[tuple[str, str]],
        now: Sequence[str],
        line: str,
    ) -> Composed:
        """One turn's prompt.

        Args:
            passages: (source, text), the best first.
            now: what is so or has just happened in the game, as passages that are never dropped.
            line: the player's words.

        Raises:
            PromptTooLong: the line and the state do not fit beside the character's core text.
        """
        sizes = [self._count(text) + 8 for _, text in passages]
        room = int(self._shares.prompt * self._shares.passages)
        fixed = (
            stable.tokens + self._count(line) + sum(self._count(text) + 8 for text in now) + 3 * _PER_MESSAGE
        )
        room = min(room, self._shares.prompt - fixed)
        if room < 0:
            raise PromptTooLong(
                f"The prompt takes {fixed} tokens without any memory, and {self._shares.prompt} of the window of "
                f"{self._shares.window} may be used.",
                hint="Send fewer targets in the state, shorten the line or the persona.",
            )
        kept = fit(sizes, room)
        chosen = tuple(i for i, keep in enumerate(kept) if keep)
        dropped = list(stable.dropped)
        dropped += [
            Dropped(what=f"passage:{passages[i][0]}", tokens=sizes[i])
            for i, keep in enumerate(kept)
            if not keep
        ]
        room = self._shares.prompt - fixed - sum(sizes[i] for i in chosen)
        start = first_turn([past.tokens for past in history], self._start, room, self._shares.low_water)
        trimmed = start != self._start
        if trimmed:
            lost = history[self._start : start]
            dropped.append(
                Dropped(what=f"history:{len(lost)} turns", tokens=sum(past.tokens for past in lost))
            )
        self._start = start
        texts = [passages[i][1] for i in chosen]
        in_turn = [*([] if self._in_system else texts), *now]
        return Composed(
            stable=stable,
            user=ChatMessage.of("user", user_message(self._template, in_turn, line)),
            past=tuple(message for past in history[start:] for message in past.messages),
            system_contexts=tuple(texts) if self._in_system else (),
            kept_passages=chosen,
            trimmed=trimmed,
            dropped=tuple(dropped),
        )
