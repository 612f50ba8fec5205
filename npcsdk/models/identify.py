"""What a model argument means: a name of the catalogue, a folder, a ``.gguf`` file, a server's URL; and why.

Nothing is loaded. A folder or file is known by what lies in it, never by its name. How it is spoken to is decided
in this order: an ``npcsdk.json`` beside the model, the chat template in its own files, its family.

An ``npcsdk.json`` may name ``prompt_format``, ``tool_format`` and ``context_length``, for a model whose files say
nothing, or the wrong thing.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from npcsdk.errors import ModelError
from npcsdk.models.catalog import CATALOG, EMBEDDED, FAMILIES, CatalogEntry
from npcsdk.models.gguf import read_gguf
from npcsdk.models.layout import GENAI, inside, weights_in
from npcsdk.models.places import models_folder

__all__ = ["Found", "formats_of", "identify", "identify_path"]

_OURS = "npcsdk.json"
_AGAIN = "Copy or build the model folder again."
_URL = re.compile(r"https?://", re.IGNORECASE)
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
# A sign in a chat template -> the tool dialect of the family that it belongs to.
_DIALECTS = (
    ("<toolcall>", "nemotron"),
    ("<tool_call>", "hermes"),
    ("<|python_tag|>", "llama3"),
    ("ipython", "llama3"),
    ("[ARGS]", "mistral_args"),
    ("[TOOL_CALLS]", "mistral"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model that was found, and what it was taken for.

    ``why`` names the evidence in words; ``entry`` is its row of the catalogue, if it has one. ``backend`` may be one
    that is not installed here.
    """

    name: str
    kind: str
    backend: str
    path: str
    architecture: str
    context_length: int
    prompt_format: str
    tool_format: str
    why: str
    chat_template: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])
    entry: CatalogEntry | None = None


def identify(model: str | None) -> Found:
    """Say what ``model`` is.

    Args:
        model: None for the embedded model; a name of the catalogue, a folder, a ``.gguf`` file or a server's URL.

    Raises:
        ModelError: ``model_unknown``, ``model_not_found`` (it, or a file of it), ``model_broken``, or
            ``model_unsupported``: npcsdk does not know how it is spoken to.
    """
    if model is None:
        return _known(CATALOG[EMBEDDED], "no model was named, so the embedded one is used")
    if _URL.match(model):
        return _server(model)
    # A name is a name even when a folder of that name happens to lie here; write ./NAME for the folder.
    if model in CATALOG:
        return _known(CATALOG[model], f"{model!r} is in the catalogue")
    path = Path(model).expanduser()
    if path.exists():
        return identify_path(path)
    for entry in CATALOG.values():
        if entry.repository and entry.repository.lower() == model.lower():
            return _known(entry, f"{model!r} is the repository of {entry.name!r} in the catalogue")
    if path.is_absolute() or "/" in model or "\\" in model or model.startswith(".") or path.suffix == ".gguf":
        raise ModelError(
            f"There is no model at {path}.",
            code="model_not_found",
            hint="Check the path. A model is a folder or a .gguf file."
            + (
                " If it is a repository of a hub, download it and name its folder."
                if _HUB.match(model)
                else ""
            ),
        )
    close = difflib.get_close_matches(model, CATALOG, n=1)
    raise ModelError(
        f"No model is called {model!r}, and no folder of that name is here.",
        code="model_unknown",
        hint=(f"Did you mean {close[0]!r}? " if close else "") + f"Known models: {', '.join(CATALOG)}.",
    )


def identify_path(path: Path) -> Found:
    """Say what lies at ``path``: a folder, a ``.gguf`` file, or a folder's own configuration file.

    Raises:
        as `identify`.
    """
    if path.is_file():
        if path.name == GENAI:
            return _genai(path.parent)
        with path.open("rb") as file:
            magic = file.read(4)
        if path.suffix.lower() == ".gguf" or magic == b"GGUF":
            return _gguf(path, f"{path} is a GGUF file")
        raise ModelError(
            f"{path} is a file of no kind that npcsdk loads by itself.",
            code="model_not_found",
            hint=f"Name a .gguf file, or the folder that holds {GENAI}.",
        )
    if (path / GENAI).is_file():
        return _genai(path)
    if (path / "openvino_model.xml").is_file():
        return _openvino(path)
    files = sorted(path.glob("*.gguf"))
    if files:
        return _one_gguf(path, files)
    if (path / "config.json").is_file() and weights_in(path):
        return _transformers(path)
    inner, why = inside(path)
    if inner is not None:
        return _of_its_own(identify_path(inner), path, why)
    if (path / "config.json").is_file():
        return _transformers(path)  # says what is missing
    raise ModelError(
        f"The folder {path} holds no model that npcsdk knows, and none of its sub-folders does: {GENAI} is missing, "
        "and so are openvino_model.xml, a .gguf file and config.json.",
        code="model_not_found",
        hint="An ONNX folder for onnxruntime-genai has genai_config.json, model.onnx and tokenizer.json.",
    )


def _of_its_own(found: Found, folder: Path, why: str) -> Found:
    name = found.name if found.backend == "llama_cpp" else folder.resolve().name
    return replace(found, name=name, why=f"{folder} has its model in {found.path}: {why}; {found.why}")


# Kinds of model.


def _known(entry: CatalogEntry, why: str) -> Found:
    if entry.file_format == "server":
        raise ModelError(
            f"{entry.name!r} stands for any server.",
            code="model_not_found",
            hint="Name its URL: http://HOST:PORT/v1.",
        )
    folder = entry.path or models_folder() / entry.name
    home, inner = _home(entry, folder)
    if home is None:
        if entry.path is not None:
            hint = "Install npcsdk again: its package data is incomplete."
        else:
            hint = (
                f"Get it with `npcsdk models pull {entry.name}`, or put the files of {entry.repository} there "
                f"({entry.licence.name})."
            )
        raise ModelError(f"The model {entry.name!r} is not at {folder}.", code="model_not_found", hint=hint)
    found = identify_path(home) if entry.file_format == "gguf" else None
    return Found(
        name=entry.name,
        kind="catalogue",
        backend=entry.backend,
        path=found.path if found else str(home),
        architecture=entry.architecture,
        context_length=entry.context_length,
        prompt_format=entry.prompt_format,
        tool_format=entry.tool_format,
        why=f"{why}; its files are in {home}: {inner}" if inner else why,
        tokens=found.tokens if found else _tokens(home),
        entry=entry,
    )


def _home(entry: CatalogEntry, folder: Path) -> tuple[Path | None, str]:
    """Where below its folder the model's files are, and why there."""
    sign = {"onnx-genai": GENAI, "openvino": "openvino_model.xml", "safetensors": "config.json"}.get(
        entry.file_format
    )
    if not folder.is_dir():
        return None, ""
    if (folder / sign).is_file() if sign else any(folder.glob("*.gguf")):
        return folder, ""
    return inside(folder)


def _genai(folder: Path) -> Found:
    path = folder / GENAI
    config = _json(path)
    try:
        model: Any = config["model"]
        family, length = str(model["type"]), int(model["context_length"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {type(error).__name__}: {error}.", code="model_broken", hint=_AGAIN
        ) from error
    found = Found(
        name=folder.resolve().name,
        kind="folder",
        backend="onnx_genai",
        path=str(folder),
        architecture=family,
        context_length=length,
        prompt_format="",
        tool_format="",
        why=f"{folder} is a folder with {GENAI}, family {family}",
        chat_template=_chat_template(folder),
        tokens=_tokens(folder),
    )
    return _spoken(found, family, folder)


def _openvino(folder: Path) -> Found:
    for name in ("openvino_model.bin", "openvino_tokenizer.xml", "openvino_detokenizer.xml"):
        if not (folder / name).is_file():
            raise ModelError(
                f"The model is incomplete: {folder / name} is missing.",
                code="model_not_found",
                hint="Copy the whole folder; tokenizer files are made by convert_tokenizer of openvino-tokenizers.",
            )
    return _configured(folder, "openvino_genai", "openvino_model.xml")


def _transformers(folder: Path) -> Found:
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter, not a whole model.",
            code="model_unsupported",
            hint="Merge it into its base model and save that.",
        )
    index = next(iter(sorted(folder.glob("*.index.json"))), None)
    weights = weights_in(folder)
    if index is not None:
        wanted = cast("Mapping[str, str]", _json(index).get("weight_map") or {})
        missing = sorted({name for name in wanted.values() if not (folder / name).is_file()})
        if missing:
            raise ModelError(
                f"The model is incomplete: {index.name} names {folder / missing[0]}, which is missing.",
                code="model_not_found",
                hint=f"{len(missing)} of its files are missing; download it again.",
            )
    if not weights:
        raise ModelError(
            f"The folder {folder} has config.json and no weights.",
            code="model_not_found",
            hint="Download the model's *.safetensors files too.",
        )
    for path in weights:
        _check_safetensors(path)
    return _configured(folder, "transformers", "config.json and weights")


def _configured(folder: Path, backend: str, sign: str) -> Found:
    """A folder with Hugging Face's ``config.json``."""
    config = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    inner = config.get("text_config")
    settings = cast("Mapping[str, Any]", inner) if isinstance(inner, dict) else config
    family = str(settings.get("model_type") or config.get("model_type") or "")
    named = config.get("architectures")
    architecture = str(cast("list[Any]", named)[0]) if isinstance(named, list) and named else family
    length = settings.get("max_position_embeddings")
    found = Found(
        name=folder.resolve().name,
        kind="folder",
        backend=backend,
        path=str(folder),
        architecture=architecture or "unknown",
        context_length=length if isinstance(length, int) and length > 0 else 4096,
        prompt_format="",
        tool_format="",
        why=f"{folder} is a folder with {sign}, architecture {architecture or 'unknown'}",
        chat_template=_chat_template(folder),
        tokens=_tokens(folder),
    )
    return _spoken(found, family, folder)


def _one_gguf(folder: Path, files: list[Path]) -> Found:
    first = [
        path
        for path in files
        if not re.search(r"-\d{5}-of-\d{5}\.gguf$", path.name) or "-00001-of-" in path.name
    ]
    if len(first) != 1:
        names = ", ".join(path.name for path in first or files)
        raise ModelError(
            f"The folder {folder} holds {len(first)} models: {names}.",
            code="model_not_found",
            hint="Name one of the files.",
        )
    return _gguf(first[0], f"{folder} is a folder with the GGUF file {first[0].name}")


def _gguf(path: Path, why: str) -> Found:
    head = read_gguf(path)
    adds = head.values.get("tokenizer.ggml.add_bos_token", True)
    found = Found(
        name=path.stem,
        kind="gguf",
        backend="llama_cpp",
        path=str(path),
        architecture=head.architecture,
        context_length=head.context_length,
        prompt_format="",
        tool_format="",
        why=f"{why}, architecture {head.architecture}",
        chat_template=head.chat_template,
        tokens={
            name: text
            for name, text in head.tokens.items()
            if adds or head.chat_template or name != "bos_token"
        },
    )
    return _spoken(found, head.architecture, path.parent)


def _server(url: str) -> Found:
    return Found(
        name=url,
        kind="server",
        backend="openai_compat",
        path=url,
        architecture="the server's",
        context_length=CATALOG["openai-server"].context_length,
        prompt_format="chat",
        tool_format="gemma",
        why=f"{url} is a URL, so it is taken for a server with OpenAI's interface",
    )


# How a model is spoken to.


def _spoken(found: Found, family: str, folder: Path) -> Found:
    prompt_format, tool_format, why = formats_of(family, found.chat_template)
    ours = _ours(folder / _OURS)
    if ours:
        why = f"{_OURS} says {', '.join(f'{key} {value}' for key, value in ours.items())}"
    prompt_format = str(ours.get("prompt_format", prompt_format))
    if not prompt_format:
        raise ModelError(
            f"{found.path} is a model of the family {family!r}, whose prompts npcsdk cannot write, and it brings no "
            "chat template.",
            code="model_unsupported",
            hint=f"Families that it can: {', '.join(FAMILIES)}. For another, put its chat_template.jinja into the "
            f'folder, or an {_OURS} with {{"prompt_format": "completion"}} for a base model.',
        )
    return replace(
        found,
        prompt_format=prompt_format,
        tool_format=str(ours.get("tool_format", tool_format)),
        context_length=int(ours.get("context_length", found.context_length)),
        chat_template=found.chat_template if prompt_format == "jinja" else "",
        why=f"{found.why}; {why}",
    )


def formats_of(family: str, chat_template: str) -> tuple[str, str, str]:
    """How a model of a family, or with a chat template, is spoken to: prompt format ("" where nothing says), tool
    format, and the evidence."""
    if "<start_of_turn>" in chat_template:
        return "gemma", "gemma", "its chat template is Gemma's"
    if "<extra_id_0>" in chat_template and "<extra_id_1>" in chat_template:
        return "nemotron", "nemotron", "its chat template is Nemotron's"
    if chat_template.strip():
        shown = next((name for sign, name in _DIALECTS if sign in chat_template), "")
        dialect = shown or FAMILIES.get(family, ("", "gemma"))[1]
        calls = (
            f"whose tool calls look like {dialect}'s" if shown else f"and calls are told in {dialect}'s way"
        )
        return "jinja", dialect, f"it brings a chat template, {calls}"
    if family in FAMILIES:
        return *FAMILIES[family], f"it brings no chat template, and {family} without one is spoken to so"
    return "", "gemma", ""


def _ours(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    settings = _json(path)
    kinds: dict[str, type] = {"prompt_format": str, "tool_format": str, "context_length": int}
    for key, value in settings.items():
        if key not in kinds or not isinstance(value, kinds[key]):
            raise ModelError(
                f"{path} has {key!r}: {value!r}.",
                code="model_broken",
                hint="It may have prompt_format and tool_format (names) and context_length (a number).",
            )
    return settings


def _chat_template(folder: Path) -> str:
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".jinja":
            return path.read_text(encoding="utf-8", errors="replace")
        value = _json(path).get("chat_template")
        if isinstance(value, list):  # several by name
            named = {
                str(item.get("name")): item.get("template") for item in cast("list[dict[str, Any]]", value)
            }
            value = named.get("default") or next(iter(named.values()), "")
        if isinstance(value, str):
            return value
    return ""


def _tokens(folder: Path) -> dict[str, str]:
    """The special tokens that a tokenizer's files name; no ``bos_token`` where a tokenizer adds none by itself."""
    tokens: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        settings = _json(path) if path.is_file() else {}
        for key, value in settings.items():
            if key.endswith("_token"):
                text = cast("dict[str, Any]", value).get("content") if isinstance(value, dict) else value
                if isinstance(text, str):
                    tokens[key] = text
        if settings.get("add_bos_token") is False and not settings.get("chat_template"):
            tokens.pop("bos_token", None)
    return tokens


def _check_safetensors(path: Path) -> None:
    if path.suffix != ".safetensors":
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(length) if length < size else b""
    try:
        tensors = cast("dict[str, dict[str, Any]]", json.loads(head))
        ends = [int(item["data_offsets"][1]) for name, item in tensors.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        ends = [size]
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise ModelError(
            f"{path} is not whole: it has {size} bytes of {whole}.",
            code="model_broken",
            hint="The download was probably cut off. Download the file again.",
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read: {type(error).__name__}: {error}.", code="model_broken", hint=_AGAIN
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is no JSON object.", code="model_broken", hint=_AGAIN)
    return cast("dict[str, Any]", value)
