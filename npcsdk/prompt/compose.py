"""Fill a model's window: measure the parts of a prompt in real tokens, and decide what stays.

A `Composer` belongs to one conversation. It remembers what it has measured and where history begins, so that a
turn costs the measuring of what is new, and the stable part of the prompt stays the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from npcsdk.backends.base import Prompt, Segment
from npcsdk.errors import PromptTooLong, TurnError
from npcsdk.events import Dropped
from npcsdk.prompt.budget import Shares, first_turn, fit
from npcsdk.prompt.build import Section, assemble, system_text, user_message
from npcsdk.prompt.templates import ChatMessage, Template
from npcsdk.prompt.templates.base import merged
from npcsdk.prompt.untrusted import neutralise, one_line

__all__ = ["Composed", "Composer", "Past", "Stable"]

_CONTROL = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]")  # one token each, in control text


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
    """A turn's prompt, the user's message in it, the passages that fitted, and what did not fit.

    ``tokens`` is all of it, ``trimmed`` says whether history was cut for it, ``earlier`` whether what stands for the
    turns before it fitted.
    """

    stable: Stable
    user: ChatMessage
    history: tuple[Past, ...]
    system_contexts: tuple[str, ...]
    kept_passages: tuple[int, ...]
    trimmed: bool
    tokens: int
    dropped: tuple[Dropped, ...] = field(default=())
    earlier: bool = False

    def prompt(self, template: Template, added: Sequence[ChatMessage] = ()) -> Prompt:
        """The whole prompt, with the turn's own messages ``added`` after the user's (calls and their results)."""
        return assemble(
            template,
            system=self.stable.system,
            tools=self.stable.tools,
            messages=[*(message for past in self.history for message in past.messages), self.user, *added],
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
        self._room: int | None = None  # for history, as it was in the last prompt
        self._head: tuple[Stable, str, int] | None = None
        self._stable: tuple[tuple[Section, ...], tuple[Mapping[str, Any], ...], Stable] | None = None

    @property
    def start(self) -> int:
        """The first turn of the history that stands in the prompt."""
        return self._start

    @property
    def summary_tokens(self) -> int:
        """What may stand for the turns that history has lost."""
        return int(self._shares.prompt * self._shares.summary)

    def context_tokens(self, text: str) -> int:
        """What a passage takes in a prompt. Safe to call from any thread."""
        return self._count(self._template.context(one_line(text))) + 1

    def crowded(self, history: Sequence[Past]) -> int:
        """How many turns at the history's beginning are not in the prompt any more, or soon will not be."""
        if self._room is None or len(history) <= self._start:
            return self._start
        sizes = [past.tokens for past in history]
        high = self._shares.high_water
        going = first_turn(sizes, self._start, int(self._room * high), self._shares.low_water / high)
        return min(going, max(len(history) - 1, self._start))

    def forget_first(self, turns: int) -> None:
        """The history has lost its first ``turns``."""
        self._start = max(self._start - turns, 0)

    def tokens(self, messages: Iterable[ChatMessage]) -> int:
        """What messages take in a prompt, their own spelling included; sampled text is counted by its ids."""
        return sum(self._measure(self._template.message(message)) for message in messages)

    def _measure(self, segments: Sequence[Segment]) -> int:
        """Tokens of a part of a prompt that begins with a control token, or ends before one."""
        total = 0
        for segment in merged(segments):
            if segment.ids is not None:
                total += len(segment.ids)
            elif segment.control:
                rest = _CONTROL.sub("", segment.text)
                total += len(_CONTROL.findall(segment.text)) + (self._count(rest) if rest else 0)
            else:
                total += self._count(segment.text)
        return total

    def check_line(self, line: str) -> None:
        """Refuse a line that could never fit.

        Raises:
            TurnError: ``line_too_long``, with both numbers.
        """
        room = int(self._shares.prompt * (1 - self._shares.system))
        # Four bytes a token is more than any tokenizer reaches on text worth reading: no need to encode a novel.
        tokens = self._count(neutralise(line)) if len(line) <= room * 64 else len(line) // 4
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
        tool_tokens = self._measure(self._template.head("", tools, ()))
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
        system = system_text(chosen)
        tokens = self._measure(self._template.head(system, tools, ()))
        value = Stable(system, tuple(tools), tokens, dropped)
        self._stable = (*key, value)
        return value

    def compose(
        self,
        stable: Stable,
        history: Sequence[Past],
        passages: Sequence[tuple[str, str]],
        now: Sequence[str],
        line: str,
        *,
        earlier: str = "",
    ) -> Composed:
        """One turn's prompt.

        Args:
            earlier: what stands for the turns before ``history``; it stands before them, as a passage.
            passages: (source, text), the best first.
            now: what is so or has just happened in the game, as passages that are never dropped.
            line: the player's words.

        Raises:
            PromptTooLong: the line and the state do not fit beside the character's core text.
        """
        sizes = [self.context_tokens(text) for _, text in passages]
        reply = self._measure(self._template.reply())
        line_tokens = self.tokens([self._user(now, line)])
        before = (earlier,) if earlier else ()
        fixed = self._head_tokens(stable, before) + line_tokens + reply
        lost: tuple[Dropped, ...] = ()
        if before and fixed > self._shares.prompt:
            lost = (Dropped(what="summary", tokens=self.context_tokens(earlier)),)
            before, fixed = (), stable.tokens + line_tokens + reply
        room = min(int(self._shares.prompt * self._shares.passages), self._shares.prompt - fixed)
        if room < 0:
            raise PromptTooLong(
                f"The prompt takes {fixed} tokens without any memory, and {self._shares.prompt} of the window of "
                f"{self._shares.window} may be used.",
                hint="Send fewer targets in the state, shorten the line or the persona.",
            )
        chosen = [i for i, keep in enumerate(fit(sizes, room)) if keep]
        while True:  # a tokenizer may need a token more for texts side by side than for each alone
            texts = [passages[i][1] for i in chosen]
            system_contexts = (*before, *(texts if self._in_system else ()))
            user = self._user([*([] if self._in_system else texts), *now], line)
            fixed = self._head_tokens(stable, system_contexts) + self.tokens([user]) + reply
            if fixed <= self._shares.prompt or not chosen:
                break
            del chosen[-1]
        dropped = [
            *stable.dropped,
            *lost,
            *(
                Dropped(what=f"passage:{source}", tokens=sizes[i])
                for i, (source, _) in enumerate(passages)
                if i not in chosen
            ),
        ]
        composed = Composed(
            stable=stable,
            user=user,
            history=tuple(history[self._start :]),
            system_contexts=system_contexts,
            kept_passages=tuple(chosen),
            trimmed=False,
            tokens=fixed + sum(past.tokens for past in history[self._start :]),
            dropped=tuple(dropped),
            earlier=bool(before),
        )
        self._room = self._shares.prompt - fixed
        return self.with_room_for(composed, ())

    def _head_tokens(self, stable: Stable, contexts: Sequence[str]) -> int:
        """What stands before the history; the same as the last time is not measured again."""
        if not contexts:
            return stable.tokens
        told = "\n".join(contexts)
        if self._head is None or self._head[0] is not stable or self._head[1] != told:
            head = self._template.head(stable.system, stable.tools, [one_line(text) for text in contexts])
            self._head = stable, told, self._measure(head)
        return self._head[2]

    def with_room_for(self, composed: Composed, added: Sequence[ChatMessage]) -> Composed:
        """The same prompt, with history trimmed if it would not fit together with the turn's own messages."""
        sizes = [past.tokens for past in composed.history]
        room = self._shares.prompt - (composed.tokens - sum(sizes)) - self.tokens(added)
        lost = first_turn(sizes, 0, room, self._shares.low_water)
        if not lost:
            return composed
        self._start += lost
        tokens = sum(sizes[:lost])
        return replace(
            composed,
            history=composed.history[lost:],
            trimmed=True,
            tokens=composed.tokens - tokens,
            dropped=(*composed.dropped, Dropped(what=f"history:{lost} turns", tokens=tokens)),
        )

    def _user(self, contexts: Sequence[str], line: str) -> ChatMessage:
        return ChatMessage.of("user", user_message(self._template, contexts, line))
