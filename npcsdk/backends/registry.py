"""Which backend loads which model.

`resolve` finds a model and says why it was chosen; `load` brings in the one adapter that it needs. Adapters
are named as strings, so nothing heavy is imported before it is used. Third parties join with an entry point
in the group ``npcsdk.backends``: its name is the backend's name, its object a function ``load(source) ->
Backend``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from npcsdk.backends.base import Backend, ModelSource
from npcsdk.errors import BackendError, MissingExtra, ModelError
from npcsdk.models.catalog import CatalogEntry
from npcsdk.models.identify import formats_of, identify
from npcsdk.models.places import models_folder
from npcsdk.models.verify import verify_genai

__all__ = ["BACKENDS", "ENTRY_POINT_GROUP", "backend_names", "load", "models_folder", "resolve"]

ENTRY_POINT_GROUP = "npcsdk.backends"
BACKENDS: dict[str, str] = {
    "llama_cpp": "npcsdk.backends.llama_cpp:load",
    "onnx_genai": "npcsdk.backends.onnx_genai:load",
    "openai_compat": "npcsdk.backends.openai_compat:load",
    "openvino_genai": "npcsdk.backends.openvino_genai:load",
    "scripted": "npcsdk.backends.scripted:load",
    "transformers": "npcsdk.backends.transformers:load",
}
"""Built-in backends: name -> ``module:function``."""

_EXTRAS = {
    "llama_cpp": "llama",
    "openai_compat": "openai",
    "openvino_genai": "openvino",
    "transformers": "transformers",
}
# A server that names its model and shows no chat template -> the model's prompt and tool format.
_SERVED = (
    (re.compile(r"nemotron-mini", re.IGNORECASE), ("nemotron", "nemotron")),
    (re.compile(r"gemma.*-it\b", re.IGNORECASE), ("gemma", "gemma")),
)


def backend_names() -> list[str]:
    """Names of all backends, built in and installed."""
    return sorted({*BACKENDS, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def resolve(model: str | None) -> ModelSource:
    """Find a model.

    Args:
        model: None for the embedded model, a name of the catalogue, a folder, a ``.gguf`` file, a server's URL, or
            ``scripted:FILE`` (see `npcsdk.backends.scripted`).

    Raises:
        ModelError: code ``model_unknown``, ``model_not_found``, ``model_broken`` or ``model_unsupported`` (also when it
            was recognised, and its backend is not here).
    """
    if model is not None and model.startswith("scripted:"):
        path = model.removeprefix("scripted:")
        return ModelSource(name=Path(path).name, backend="scripted", path=path, why="a script was named")
    found = identify(model)
    if found.backend not in backend_names():
        raise ModelError(
            f"The model {found.name!r} was found ({found.why}); it needs the backend {found.backend!r}, which is not "
            "here.",
            code="model_unsupported",
            hint=f"Backends here: {', '.join(backend_names())}.",
        )
    source = ModelSource(
        name=found.name,
        backend=found.backend,
        path=found.path,
        prompt_format=found.prompt_format,
        tool_format=found.tool_format,
        context_length=found.context_length,
        why=found.why,
        chat_template=found.chat_template,
        tokens=found.tokens,
        options=_traits(found.entry),
    )
    return _served(source) if found.kind == "server" else source


def _traits(entry: CatalogEntry | None) -> dict[str, Any]:
    """Options of a whole world that a model of the catalogue brings along; the user's go before them."""
    if entry is None:
        return {}
    summaries = {"summaries": "model"} if entry.summaries else {}
    return summaries if entry.chooses else {**summaries, "limits": {"choose": "words", "sentences": 2}}


def _served(source: ModelSource) -> ModelSource:
    """A server's model, as the server describes it. It gets our own prompt where it takes one as it is and the model is
    spoken to in a format of ours; else it is told in messages."""
    describe = cast("Callable[[ModelSource], ModelSource]", _module(source.backend).describe)
    source = describe(source)
    prompt_format, tool_format, _ = formats_of("", source.chat_template)
    if not prompt_format:
        prompt_format, tool_format = next(
            (formats for name, formats in _SERVED if name.search(source.name)), ("", "")
        )
    if source.options.get("server") == "other" or prompt_format not in ("nemotron", "gemma"):
        return replace(source, chat_template="", why=f"{source.why}; it is told in messages")
    return replace(
        source,
        prompt_format=prompt_format,
        tool_format=tool_format,
        chat_template="",
        options={**source.options, "api": "completion"},
        why=f"{source.why}; its model is spoken to as {prompt_format}",
    )


def load(source: ModelSource) -> Backend:
    """Load a model; takes as long as that takes.

    Raises:
        ModelError: the model cannot be loaded; a later attempt starts afresh.
        MissingExtra: a package that the backend needs is not installed.
        BackendError: code ``backend_unknown`` or ``runtime_unusable`` (installed, but its native part does not load).
    """
    if source.backend == "onnx_genai":
        verify_genai(Path(source.path), source.prompt_format)
    if source.backend in BACKENDS:
        function = BACKENDS[source.backend].partition(":")[2]
        loader = cast("Callable[[ModelSource], Backend]", getattr(_module(source.backend), function))
        return loader(source)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == source.backend:
            return cast("Callable[[ModelSource], Backend]", point.load())(source)
    raise BackendError(
        f"No backend is called {source.backend!r}.",
        code="backend_unknown",
        hint=f"Backends here: {', '.join(backend_names())}.",
    )


def _module(backend: str) -> ModuleType:
    """The adapter of a built-in backend, brought in."""
    name = BACKENDS[backend].partition(":")[0]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").replace("_", "-")
        what = f'"npcsdk[{_EXTRAS[backend]}]"' if backend in _EXTRAS else package
        raise MissingExtra(
            f"The backend {backend!r} needs the package {error.name!r}, which is not installed.",
            hint=f"Install it: pip install {what}",
        ) from error
    except ImportError as error:
        raise BackendError(
            f"What the backend {backend!r} needs is installed but does not load: {error}.",
            code="runtime_unusable",
            hint="Install it again; on Windows it needs the Visual C++ redistributable.",
        ) from error
