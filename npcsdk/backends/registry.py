"""Which backend loads which model.

`resolve` finds a model and says why it was chosen; `load` brings in the one adapter that it needs. Adapters
are named as strings, so nothing heavy is imported before it is used. Third parties join with an entry point
in the group ``npcsdk.backends``: its name is the backend's name, its object a function ``load(source) ->
Backend``.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from npcsdk.backends.base import Backend, ModelSource
from npcsdk.errors import BackendError, MissingExtra, ModelError
from npcsdk.models.catalog import CATALOG, EMBEDDED, FAMILIES, CatalogEntry

__all__ = ["BACKENDS", "ENTRY_POINT_GROUP", "backend_names", "load", "models_folder", "resolve"]

ENTRY_POINT_GROUP = "npcsdk.backends"
BACKENDS: dict[str, str] = {
    "onnx_genai": "npcsdk.backends.onnx_genai:load",
    "scripted": "npcsdk.backends.scripted:load",
}
"""Built-in backends: name -> ``module:function``."""

_CONFIG = "genai_config.json"


def models_folder() -> Path:
    """Where downloaded models lie: ``$NPCSDK_MODELS``, or the platform's place for such data."""
    named = os.environ.get("NPCSDK_MODELS")
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "npcsdk" / "models"


def backend_names() -> list[str]:
    """Names of all backends, built in and installed."""
    return sorted({*BACKENDS, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def resolve(model: str | None) -> ModelSource:
    """Find a model.

    Args:
        model: None for the embedded model, a name of the catalogue, a folder, or ``scripted:FILE`` (see
            `npcsdk.backends.scripted`).

    Raises:
        ModelError: code ``model_unknown``, ``model_not_found``, ``model_broken`` or ``model_unsupported``.
    """
    if model is None:
        return _known(CATALOG[EMBEDDED], "no model was named, so the embedded one is used")
    if model.startswith("scripted:"):
        path = model.removeprefix("scripted:")
        return ModelSource(name=Path(path).name, backend="scripted", path=path, why="a script was named")
    # A name is a name even when a folder of that name happens to lie here; write ./NAME for the folder.
    if model in CATALOG:
        return _known(CATALOG[model], f"{model!r} is in the catalogue")
    path = Path(model).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        if path.name == _CONFIG:
            return _folder(path.parent)
        raise ModelError(
            f"{path} is a file; a model is a folder.",
            code="model_not_found",
            hint=f"Name the folder that holds {_CONFIG}.",
        )
    if path.is_absolute() or "/" in model or "\\" in model or model.startswith("."):
        raise ModelError(
            f"There is no model folder at {path}.",
            code="model_not_found",
            hint=f"Check the path; the folder must hold {_CONFIG}.",
        )
    close = difflib.get_close_matches(model, CATALOG, n=1)
    raise ModelError(
        f"No model is called {model!r}, and no folder of that name is here.",
        code="model_unknown",
        hint=(f"Did you mean {close[0]!r}? " if close else "") + f"Known models: {', '.join(CATALOG)}.",
    )


def load(source: ModelSource) -> Backend:
    """Load a model; takes as long as that takes.

    Raises:
        ModelError: the model cannot be loaded; a later attempt starts afresh.
        MissingExtra: a package that the backend needs is not installed.
        BackendError: code ``backend_unknown`` or ``runtime_unusable`` (installed, but its native part does not load).
    """
    target = BACKENDS.get(source.backend)
    if target is not None:
        module_name, _, function = target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"The backend {source.backend!r} needs the package {error.name!r}, which is not installed.",
                hint=f"Install it: pip install {(error.name or '').replace('_', '-')}",
            ) from error
        except ImportError as error:
            raise BackendError(
                f"What the backend {source.backend!r} needs is installed but does not load: {error}.",
                code="runtime_unusable",
                hint="Install it again; on Windows it needs the Visual C++ redistributable.",
            ) from error
        loader = cast("Callable[[ModelSource], Backend]", getattr(module, function))
        return loader(source)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == source.backend:
            return cast("Callable[[ModelSource], Backend]", point.load())(source)
    raise BackendError(
        f"No backend is called {source.backend!r}.",
        code="backend_unknown",
        hint=f"Backends here: {', '.join(backend_names())}.",
    )


def _known(entry: CatalogEntry, why: str) -> ModelSource:
    path = entry.path or models_folder() / entry.name
    if not (path / _CONFIG).is_file():
        if entry.path is not None:
            hint = "Install npcsdk again: its package data is incomplete."
        else:
            hint = f"Put the files of {entry.repository} there ({entry.licence}), or name another folder."
        raise ModelError(
            f"The model {entry.name!r} is not at {path}: {_CONFIG} is missing.",
            code="model_not_found",
            hint=hint,
        )
    prompt_format, tool_format = _formats(entry.family, f"The model {entry.name!r}")
    return ModelSource(
        name=entry.name,
        backend=entry.backend,
        path=str(path),
        prompt_format=prompt_format,
        tool_format=tool_format,
        context_length=entry.context_length,
        why=why,
    )


def _folder(path: Path) -> ModelSource:
    config = path / _CONFIG
    if not config.is_file():
        raise ModelError(
            f"The folder {path} holds no model that npcsdk can load: {_CONFIG} is missing.",
            code="model_not_found",
            hint="An ONNX folder for onnxruntime-genai has genai_config.json, model.onnx and tokenizer.json.",
        )
    try:
        model: Any = json.loads(config.read_text(encoding="utf-8"))["model"]
        family, context_length = str(model["type"]), int(model["context_length"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{config} cannot be read: {type(error).__name__}: {error}.",
            code="model_broken",
            hint="Copy or build the model folder again.",
        ) from error
    prompt_format, tool_format = _formats(family, f"The model in {path}")
    return ModelSource(
        name=path.resolve().name,
        backend="onnx_genai",
        path=str(path),
        prompt_format=prompt_format,
        tool_format=tool_format,
        context_length=context_length,
        why=f"{path} is a folder with {_CONFIG}, family {family}",
    )


def _formats(family: str, what: str) -> tuple[str, str]:
    if family not in FAMILIES:
        raise ModelError(
            f"{what} is of the family {family!r}, whose prompts npcsdk cannot write yet.",
            code="model_unsupported",
            hint=f"Families that it can: {', '.join(FAMILIES)}.",
        )
    return FAMILIES[family]
