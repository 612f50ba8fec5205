"""Chat templates, one file each; a model's row in the catalogue names its own.

Each file has a function ``template(source, tool_format) -> Template``.
"""

from __future__ import annotations

from importlib import import_module

from npcsdk.actions.formats import ToolFormat, load_format
from npcsdk.backends.base import ModelSource
from npcsdk.errors import ActionError, MissingExtra, ModelError
from npcsdk.prompt.templates.base import ChatMessage, Template
from npcsdk.prompt.untrusted import neutralise

__all__ = ["ChatMessage", "Template", "load_template", "template_for"]

_TEMPLATES = {
    "chat": "npcsdk.prompt.templates.chat",
    "completion": "npcsdk.prompt.templates.completion",
    "gemma": "npcsdk.prompt.templates.gemma",
    "jinja": "npcsdk.prompt.templates.jinja_chat",
    "nemotron": "npcsdk.prompt.templates.nemotron",
}


def load_template(name: str) -> Template:
    """The template called ``name``, with the tool dialect that it usually goes with.

    Raises:
        ModelError: there is none; the hint lists those that exist.
    """
    tool_format = "nemotron" if name == "nemotron" else "gemma"
    return template_for(
        ModelSource(name=name, backend="", path="", prompt_format=name, tool_format=tool_format)
    )


def template_for(source: ModelSource, tool_format: ToolFormat | None = None) -> Template:
    """The template of a model, spelling tools in the model's dialect.

    Args:
        tool_format: instead of the one that ``source`` names.

    Raises:
        ModelError: ``unknown_prompt_format``; ``chat_template_missing`` or ``chat_template_broken`` for a model that
            is spoken to by its own template.
        ActionError: the tool dialect is unknown, or anybody's words could open a call in it.
        MissingExtra: a model's own template needs the extra ``jinja``.
    """
    home = _TEMPLATES.get(source.prompt_format)
    if home is None:
        raise ModelError(
            f"There is no prompt format {source.prompt_format!r}.",
            hint=f"Known formats: {', '.join(sorted(_TEMPLATES))}.",
            code="unknown_prompt_format",
        )
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("npcsdk"):
            raise
        raise MissingExtra(
            f"The model {source.name!r} is spoken to by its own chat template, and that needs the package "
            f"{error.name!r}, which is not installed.",
            hint='Install the extra: pip install "npcsdk[jinja]"',
        ) from error
    dialect = tool_format or load_format(source.tool_format)
    if neutralise(dialect.opening) == dialect.opening:  # nor would a call be speech that a model repeats
        raise ActionError(
            f"Calls in the format {dialect.name!r} open with {dialect.opening!r}, which a player could type.",
            hint="Open calls with a tag, <like_this>, or with [CAPITALS]: those are defused in what others wrote.",
            code="bad_tool_format",
        )
    return module.template(source, dialect)
