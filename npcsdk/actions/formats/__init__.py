"""Tool-call dialects, one file each; a model's row in the catalogue names the one it speaks."""

from __future__ import annotations

from importlib import import_module

from npcsdk.actions.formats.base import Call, MalformedCall, ToolFormat
from npcsdk.errors import ActionError

__all__ = ["KNOWN", "Call", "MalformedCall", "ToolFormat", "load_format"]

KNOWN = ("gemma", "hermes", "llama3", "mistral", "mistral_args", "nemotron")
"""Names of dialects, each a module of this package."""


def load_format(name: str) -> ToolFormat:
    """The dialect called ``name``.

    Raises:
        ActionError: there is none; the hint lists those that exist.
    """
    if name not in KNOWN:
        raise ActionError(
            f"There is no tool-call format {name!r}.",
            hint=f"Known formats: {', '.join(KNOWN)}.",
            code="unknown_tool_format",
        )
    return import_module(f"npcsdk.actions.formats.{name}").FORMAT
