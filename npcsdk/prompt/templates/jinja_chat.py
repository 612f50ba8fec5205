"""A model outside the catalogue, spoken to by the chat template in its own files.

Templates differ in what they take. When a model is loaded this one is tried on a short conversation, and what it
refuses or loses is put differently, by the rules that Gemma follows too: system text into the first user's message,
neighbours of one role merged, results of actions as user's messages, tools in words. Of the ways that it takes, one is
preferred in which a prompt begins with the prompt before it and the reply (see `Template.conversation`); if a template
only opens a reply differently once it is history (Qwen 3 with its thoughts switched off), history keeps what was sent.

If there is no such way, because a template rewrites what was said or moves it, the model is accepted all the same: its
answers are right, and every turn costs the computing of what moved. `stable` is false then, the log has a warning, and
``npcsdk models info`` tells it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from npcsdk.actions.formats import ToolFormat
from npcsdk.backends.base import Message, ModelSource, Segment
from npcsdk.errors import ModelError
from npcsdk.prompt.templates.base import ChatMessage, Template, alternating
from npcsdk.prompt.templates.instructions import preamble
from npcsdk.prompt.templates.jinja_render import JinjaRenderer, NotRendered

__all__ = ["JinjaTemplate", "template"]

logger = logging.getLogger(__name__)

_MARKER = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")
_TOOL: dict[str, Any] = {
    "name": "probetool",
    "description": "probe",
    "parameters": {"type": "object", "properties": {}},
}
_SYSTEM = "probesystem"
_Role = Literal["user", "assistant", "tool"]


def _probe(*roles: _Role) -> list[ChatMessage]:
    return [ChatMessage.of(role, f"probe{at}{role}") for at, role in enumerate(roles)]


_TURNS = _probe("user", "assistant", "user", "assistant", "user")
_ROUNDS = _probe(
    "user", "assistant", "tool", "assistant", "user", "assistant", "tool", "tool", "assistant", "user"
)


@dataclass(frozen=True, slots=True)
class _Way:
    """How this template is given what it does not know by itself."""

    system: bool  # it takes a system message
    tool_role: bool  # it takes the results of actions as such
    tools: bool  # it spells tools
    alternate: bool  # roles have to take turns
    openings: tuple[tuple[str, str], ...] = ()  # what opens replies, where history would have something else


class JinjaTemplate(Template):
    """A chat template in Jinja.

    Args:
        source: its text.
        tokens: the special tokens that it may write, by name.
        tool_format: the dialect of the model's calls.

    Raises:
        ModelError: ``chat_template_broken``: it is no Jinja, or loses or changes what people say.
    """

    name = "jinja"

    def __init__(self, source: str, tokens: Mapping[str, str], tool_format: ToolFormat) -> None:
        self._renderer = JinjaRenderer(source, tokens)
        self._tool_format = tool_format
        self._way, self.stable = self._study()
        gaps = self._gaps()
        self._before = {role: gaps.get(("assistant", role), "") for role in ("user", "tool")}
        self._before["assistant"] = gaps["user", "assistant"]
        self._reply = gaps["user", ""]
        found = _MARKER.search(gaps["assistant", "user"])
        end = found[0] if found else gaps["assistant", "user"].strip()
        self.stop = tuple(dict.fromkeys(text for text in (end, tokens.get("eos_token", "")) if text))

    def conversation(
        self,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        contexts: Sequence[str],
        messages: Sequence[ChatMessage],
    ) -> tuple[Segment, ...]:
        return tuple(self._rendered(self._way, system, tools, contexts, messages))

    def head(
        self, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
    ) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        for segment in self.conversation(system, tools, contexts, _probe("user")):
            if segment.text == "probe0user":
                break
            segments.append(segment)
        return tuple(segments)

    def message(self, message: ChatMessage) -> tuple[Segment, ...]:
        (turn,) = alternating("", [message], tools_speak=self._way.tool_role)[-1:]
        return (Segment(self._before[turn.role], control=True), *turn.segments)

    def reply(self) -> tuple[Segment, ...]:
        return (Segment(self._reply, control=True),)

    def context(self, text: str) -> str:
        return f"<context> {text.strip()} </context>"

    def chat(
        self, system: str, tools: Sequence[Mapping[str, Any]], messages: Sequence[ChatMessage]
    ) -> tuple[Message, ...]:
        system, turns, _ = self._arranged(self._way, system, tools, (), messages)
        first = (Message("system", system),) if system else ()
        return (*first, *(Message(turn.role, turn.text) for turn in turns))

    # How a conversation is given to the template.

    def _arranged(
        self,
        way: _Way,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        contexts: Sequence[str],
        messages: Sequence[ChatMessage],
    ) -> tuple[str, Sequence[ChatMessage], Sequence[Mapping[str, Any]]]:
        """The system message ("" for none), the other messages, and the tools that the template spells."""
        passages = [self.context(text) for text in contexts]
        text = preamble(self._tool_format, system, () if way.tools else tools, passages)
        if not way.system:
            messages, text = alternating(text, messages, tools_speak=way.tool_role), ""
        elif way.alternate or not way.tool_role:
            messages = alternating("", messages, tools_speak=way.tool_role)
        return text, messages, tools if way.tools else ()

    def _rendered(
        self,
        way: _Way,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        contexts: Sequence[str],
        messages: Sequence[ChatMessage],
    ) -> list[Segment]:
        try:
            return self._render(way, system, tools, contexts, messages)
        except NotRendered as error:
            raise ModelError(
                f"The model's chat template refuses a conversation: {error}.",
                code="chat_template_broken",
                hint="Name another prompt format for the model in its npcsdk.json.",
            ) from error

    def _render(
        self,
        way: _Way,
        system: str,
        tools: Sequence[Mapping[str, Any]],
        contexts: Sequence[str],
        messages: Sequence[ChatMessage],
    ) -> list[Segment]:
        arranged = self._arranged(way, system, tools, contexts, messages)
        return self._renderer.render(*arranged, dict(way.openings))

    # What is found out when the model is loaded.

    def _study(self) -> tuple[_Way, bool]:
        """The best way that the template takes, and whether prompts are stable in it."""
        fallback: _Way | None = None
        problem = ""
        for system, tool_role, tools, alternate in product(
            (True, False), (True, False), (True, False), (False, True)
        ):
            way = _Way(system, tool_role, tools, alternate)
            try:
                self._try(way)
            except NotRendered as error:
                problem = str(error)
                continue
            if self._is_stable(way):
                return way, True
            fallback = fallback or way
            as_sent = replace(way, openings=self._openings(way))
            if self._is_stable(as_sent):
                return as_sent, True
        if fallback is None:
            raise ModelError(
                f"The model's chat template cannot be used: {problem}.",
                code="chat_template_broken",
                hint="Name another prompt format for the model in its npcsdk.json, or repair its chat template.",
            )
        logger.warning("the model's chat template rewrites what was said before: every turn computes it anew")
        return fallback, False

    def _try(self, way: _Way) -> None:
        """Give it everything, and see that nothing is lost, doubled or changed.

        Raises:
            NotRendered: it refuses, or something is.
        """
        for messages in (_probe("user"), _probe("user", "user"), _TURNS, _ROUNDS):
            rendered = _joined(self._render(way, _SYSTEM, [_TOOL], (), messages))
            at = 0
            for text in [_SYSTEM, *(message.text for message in messages)]:
                if rendered.count(text) != 1 or rendered.index(text) < at:
                    raise NotRendered(f"it loses or moves a text: {text!r} in {rendered[:400]!r}")
                at = rendered.index(text)
            if str(_TOOL["name"]) not in rendered:
                raise NotRendered("it does not spell tools")

    def _is_stable(self, way: _Way) -> bool:
        for messages, tools in product((_TURNS, _ROUNDS), ([], [_TOOL])):
            whole = _joined(self._render(way, _SYSTEM, tools, (), messages))
            for at, message in enumerate(messages):
                if message.role == "assistant":
                    before = _joined(self._render(way, _SYSTEM, tools, (), messages[:at]))
                    if not whole.startswith(before + message.text):
                        return False
        return True

    def _openings(self, way: _Way) -> tuple[tuple[str, str], ...]:
        """What the template writes when a reply is asked for, by the role that spoke last."""
        openings: dict[str, str] = {}
        for messages in (_ROUNDS[:1], _ROUNDS[:3]):
            last = self._arranged(way, "", (), (), messages)[1][-1]
            rendered = _joined(self._render(way, "", (), (), messages))
            openings.setdefault(last.role, rendered[rendered.index(last.text) + len(last.text) :])
        return tuple(openings.items())

    def _gaps(self) -> dict[tuple[str, str], str]:
        """What the template writes between a message of one role and the next of another, and at the end."""
        gaps: dict[tuple[str, str], str] = {}
        for messages in (_TURNS, _ROUNDS):
            _, turns, _ = self._arranged(self._way, "", (), (), messages)
            rendered = _joined(self._rendered(self._way, "", (), (), messages))
            end, last = 0, ""
            for turn in turns:
                start = rendered.index(turn.text, end)
                gaps.setdefault((last, turn.role), rendered[end:start])
                end, last = start + len(turn.text), turn.role
            gaps.setdefault((last, ""), rendered[end:])
        return gaps


def _joined(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def template(source: ModelSource, tool_format: ToolFormat) -> JinjaTemplate:
    """The template in the model's own files.

    Raises:
        ModelError: ``chat_template_missing``, ``chat_template_broken``.
    """
    if not source.chat_template.strip():
        raise ModelError(
            f"The model {source.name!r} has no chat template in its files.",
            code="chat_template_missing",
            hint='Name a prompt format in its npcsdk.json: {"prompt_format": "completion"} suits a base model.',
        )
    return JinjaTemplate(source.chat_template, source.tokens, tool_format)
