"""Mistral, tokenizers v11 and later: ``[TOOL_CALLS]name[ARGS]{...}``, once for each call.

The arguments' own brace ends a call. In v11 ``[CALL_ID]`` and an id stand after the name; runtimes that leave control
tokens out of the text leave ``[ARGS]`` out too. Both are read, and so is the older spelling, which these models know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from npcsdk.actions.formats.base import ToolFormat, compact_json

__all__ = ["FORMAT"]

_NAME: Final = re.compile(
    r"\s*(?P<name>[^\s\[\]{}\"',]+)\s*(\[CALL_ID\]\s*[^\s\[\]{}]*\s*)?(\[ARGS\]\s*|(?=\{))"
)


class MistralArgsFormat(ToolFormat):
    """The dialect of Small 3.1 and later, Magistral, Devstral and Ministral 3."""

    name = "mistral_args"
    opening = "[TOOL_CALLS]"
    closing = ""
    after_name = ("[CALL_ID]", "[ARGS]")

    def render_call(self, name: str, arguments: Mapping[str, Any]) -> str:
        return f"{self.opening}{name}[ARGS]{compact_json(dict(arguments))}"

    def named(self, body: str) -> tuple[str, str]:
        found = _NAME.match(body)
        return (found["name"], body[found.end() :]) if found else ("", body)


FORMAT = MistralArgsFormat()
