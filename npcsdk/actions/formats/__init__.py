"""Tool-call dialects, one file each; a model's row in the catalogue names the one it speaks."""

from __future__ import annotations

from importlib import import_module

from npcsdk.actions.formats.base import Call, MalformedCall, ToolFormat
from npcsdk.errors import ActionError

__all__ = ["Call", "MalformedCall", "ToolFormat", "load_format"]

_FORMATS = {
    name: f"npcsdk.actions.formats.{name}"
    for name in ("gemma", "hermes", "llama3", "mistral", "mistral_args", "nemotron")
}


def load_format(name: str) -> ToolFormat:
    """The dialect called ``name``.

    Raises:
        ActionError: there is none; the hint lists those that exist.
    """
    home = _FORMATS.get(name)
    if home is None:
        raise ActionError(
            f"There is no tool-call format {name!r}.",
            hint=f"Known formats: {', '.join(sorted(_FORMATS))}.",
            code="unknown_tool_format",
        )
    return import_module(home).FORMAT
