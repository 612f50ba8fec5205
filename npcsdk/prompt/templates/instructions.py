"""What a template without a place for tools says about them in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npcsdk.actions.formats import ToolFormat
from npcsdk.actions.formats.base import compact_json

__all__ = ["preamble", "tool_instructions"]

_TOLD = """\
You can act in the world. To act, write a line like this, with an action of this list and its arguments:
{example}
{tools}
Without an action, only speak."""


def tool_instructions(tool_format: ToolFormat, tools: Sequence[Mapping[str, Any]]) -> str:
    """How to call ``tools``: in the dialect's own words, or in ours where a dialect leaves it to a template."""
    if not tools:
        return ""
    listed = "\n".join(compact_json(dict(tool)) for tool in tools)
    example = tool_format.render_call("ACTION", {})
    return tool_format.instructions(tools) or _TOLD.format(example=example, tools=listed)


def preamble(
    tool_format: ToolFormat, system: str, tools: Sequence[Mapping[str, Any]], contexts: Sequence[str]
) -> str:
    """System text, tools and passages as one text, a blank line between them."""
    parts = [system.strip(), tool_instructions(tool_format, tools), "\n".join(contexts)]
    return "\n\n".join(part for part in parts if part)
