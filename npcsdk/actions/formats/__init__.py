"""Tool-call dialects, one file each; a model's row in the catalogue, or its ``npcsdk.json``, names the one it speaks.

A dialect of one's own, for a fine-tuned model, is one file more: a module whose ``FORMAT`` is a `ToolFormat`, named by
its package in the entry point group ``npcsdk.tool_formats`` (``klingon = "mygame.klingon:FORMAT"``).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from npcsdk.actions.formats.base import Call, MalformedCall, ToolFormat
from npcsdk.errors import ActionError

__all__ = ["ENTRY_POINT_GROUP", "KNOWN", "Call", "MalformedCall", "ToolFormat", "load_format"]

KNOWN = ("gemma", "hermes", "llama3", "mistral", "mistral_args", "nemotron")
"""Names of the dialects that come with the SDK, each a module of this package."""

ENTRY_POINT_GROUP = "npcsdk.tool_formats"


def load_format(name: str) -> ToolFormat:
    """The dialect called ``name``: one of ours, or one that an installed package brings.

    Raises:
        ActionError: ``unknown_tool_format``, and the hint lists those that exist; or ``bad_tool_format``: what a
            package calls so is none.
    """
    if name in KNOWN:
        return import_module(f"npcsdk.actions.formats.{name}").FORMAT
    others = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in others:
        raise ActionError(
            f"There is no tool-call format {name!r}.",
            hint=f"Known formats: {', '.join([*KNOWN, *sorted(others)])}.",
            code="unknown_tool_format",
        )
    try:
        found: Any = others[name].load()
        if isinstance(found, ToolFormat) and found.opening:
            return found
        problem = f"it is {found!r}"
    except Exception as error:  # whatever a package raises as it is imported
        problem = f"{type(error).__name__}: {error}"
    raise ActionError(
        f"The tool-call format {name!r} cannot be had from {others[name].value!r}: {problem}."[:300],
        hint="The entry point has to name an instance of ToolFormat, with an opening marker.",
        code="bad_tool_format",
    )
