"""Chat templates, one file each; a model's row in the catalogue names its own."""

from __future__ import annotations

from importlib import import_module

from npcsdk.errors import ModelError
from npcsdk.prompt.templates.base import ChatMessage, Template

__all__ = ["ChatMessage", "Template", "load_template"]

_TEMPLATES = {"nemotron": "npcsdk.prompt.templates.nemotron"}


def load_template(name: str) -> Template:
    """The template called ``name``.

    Raises:
        ModelError: there is none; the hint lists those that exist.
    """
    home = _TEMPLATES.get(name)
    if home is None:
        raise ModelError(
            f"There is no prompt format {name!r}.",
            hint=f"Known formats: {', '.join(sorted(_TEMPLATES))}.",
            code="unknown_prompt_format",
        )
    return import_module(home).TEMPLATE
