"""A model's own chat template, rendered so that no text can become control. The owner of `jinja2`.

A template comes with a model and is run in Jinja's sandbox: it can reach nothing but what it is given. What people
wrote is never given to it. It gets stand-ins, random words that it can place, strip or put into JSON; what it writes
around them is control, and in their place goes the text, as text. A template therefore cannot look into a text, and
nothing in a text can change what a template does.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from jinja2 import TemplateError, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from npcsdk.backends.base import Segment
from npcsdk.errors import ModelError
from npcsdk.prompt.templates.base import ChatMessage, stripped

__all__ = ["JinjaRenderer", "NotRendered"]

_SLOTS = "npcsdk_slots"
_MOST = 1 << 20
# Templates that write today's date get always the same, or no prompt would outlive midnight.
_DATE = datetime(2024, 7, 26)
# Training needs the tags that mark what a model itself said; here they mean nothing.
_GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
# Of a tool's schema, what a template may compare stays as it is: types, names of parameters, which are required.
_HIDDEN = {"name", "description", "title", "enum", "const", "default", "pattern"}


class NotRendered(Exception):
    """The template refuses this conversation, or fails on it; the message is the template's."""


class _Slots:
    """Stand-ins of one rendering and what they stand for."""

    def __init__(self) -> None:
        self._mark = "q" + secrets.token_hex(8)
        self._held: list[tuple[Segment, ...]] = []
        self._roles: list[str] = []
        self._pattern = re.compile(self._mark + r"(\d+)z")

    def hold(self, segments: Sequence[Segment], role: str = "") -> str:
        """A stand-in with the white space around it that the text has, so that a template can strip it."""
        text = "".join(segment.text for segment in segments)
        core = tuple(stripped(segments))
        if not core:
            return text
        self._held.append(core)
        self._roles.append(role)
        start = len(text) - len(text.lstrip())
        return f"{text[:start]}{self._mark}{len(self._held) - 1}z{text[len(text.rstrip()) :]}"

    def hold_schema(self, value: Any, hidden: bool = False) -> Any:
        """A tool's schema with stand-ins for the texts in it."""
        if isinstance(value, str):
            return self.hold((Segment(value),)) if hidden else value
        if isinstance(value, Mapping):
            fields = cast("Mapping[str, Any]", value)
            return {
                key: self.hold_schema(item, isinstance(item, str | list) and key in _HIDDEN)
                for key, item in fields.items()
            }
        if isinstance(value, list | tuple):
            return [self.hold_schema(item, hidden) for item in cast("Sequence[Any]", value)]
        return value

    def expand(self, value: Any) -> Any:
        """A value with the texts themselves, to be written as JSON."""
        if isinstance(value, str):
            return self._pattern.sub(lambda found: _text(self._held[int(found[1])]), value)
        if isinstance(value, Mapping):
            return {
                self.expand(key): self.expand(item) for key, item in cast("Mapping[Any, Any]", value).items()
            }
        if isinstance(value, list | tuple):
            return [self.expand(item) for item in cast("Sequence[Any]", value)]
        return value

    def split(self, rendered: str, openings: Mapping[str, str]) -> Iterator[Segment]:
        """What was rendered: the template's own words as control, texts as text.

        ``openings`` replaces what stands between a message of a role and the assistant's that follows it.
        """
        start, last = 0, ""
        for found in self._pattern.finditer(rendered):
            number = int(found[1])
            literal = rendered[start : found.start()]
            if self._roles[number] == "assistant":
                literal = openings.get(last, literal)
            if literal:
                yield Segment(literal, control=True)
            yield from self._held[number]
            start, last = found.end(), self._roles[number]
        if start < len(rendered):
            yield Segment(rendered[start:], control=True)


def _text(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without the two operators by which a short template makes a huge value."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or _size(left) * _size(right) > _MOST:
            raise TemplateError(f"it computes too much with {operator}")
        return super().call_binop(context, operator, left, right)


def _size(value: Any) -> int:
    if isinstance(value, int):
        return abs(value)
    return len(cast("Sequence[Any]", value)) if isinstance(value, str | list | tuple) else 1


@pass_context
def _tojson(
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # As the models' own libraries render it: no HTML escapes. It is text, even what the template itself made.
    slots = cast("_Slots", context[_SLOTS])
    text = json.dumps(
        slots.expand(value),
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=str,
    )
    return slots.hold((Segment(text),))


def _refuse(message: str) -> None:
    raise TemplateError(message)


class JinjaRenderer:
    """One chat template.

    Args:
        source: the template's text.
        tokens: special tokens by the names that templates use (``bos_token``, ``eos_token``, ...).

    Raises:
        ModelError: ``chat_template_broken``: it is no Jinja.
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        cast("dict[str, Any]", environment.filters)["tojson"] = _tojson  # pyright: ignore[reportUnknownMemberType]
        functions = cast("dict[str, Any]", environment.globals)  # pyright: ignore[reportUnknownMemberType]
        functions |= {"raise_exception": _refuse, "strftime_now": _DATE.strftime}
        self._tokens = {"bos_token": "", "eos_token": "", **tokens}
        try:
            self._template = environment.from_string(_GENERATION.sub(_no_generation, source))
        except (TemplateError, RecursionError) as error:
            raise ModelError(
                f"The model's chat template cannot be read: {error}.",
                code="chat_template_broken",
                hint="Name another prompt format for the model in its npcsdk.json, or repair its chat template.",
            ) from error

    def render(
        self,
        system: str,
        messages: Sequence[ChatMessage],
        tools: Sequence[Mapping[str, Any]],
        openings: Mapping[str, str] | None = None,
    ) -> list[Segment]:
        """The prompt of a conversation, ending where the model speaks.

        Args:
            openings: by the role that spoke last, what opened the assistant's messages when they were sampled, to
                stand before them instead of what the template writes there afterwards.

        Raises:
            NotRendered: the template does not take it.
        """
        slots = _Slots()
        given = [{"role": "system", "content": slots.hold((Segment(system),))}] if system.strip() else []
        given += [
            {"role": message.role, "content": slots.hold(message.segments, message.role)}
            for message in messages
        ]
        wrapped = [{"type": "function", "function": slots.hold_schema(tool)} for tool in tools]
        try:
            rendered = self._template.render(
                {
                    **self._tokens,
                    "messages": given,
                    "tools": wrapped or None,
                    "add_generation_prompt": True,
                    "enable_thinking": False,  # a character answers at once
                    _SLOTS: slots,
                }
            )
        except Exception as error:  # a template is a program: it may fail in any way
            raise NotRendered(str(error) or type(error).__name__) from error
        return list(slots.split(rendered, openings or {}))


def _no_generation(found: re.Match[str]) -> str:
    return f"{{%{found[1]} {'endif' if found[2] else 'if true'} {found[3]}%}}"
