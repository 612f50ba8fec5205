"""What a server says of itself: which program it is, which models it has, how much they read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from npcsdk.backends.base import ModelSource
from npcsdk.backends.http_stream import HttpStreams, endpoint, parts_of
from npcsdk.errors import ModelError, NpcError

__all__ = ["describe"]

_RENAMED = [0, 12]
"""vLLM's release in which ``guided_grammar`` became ``structured_outputs``."""


def describe(source: ModelSource) -> ModelSource:
    """``source``, whose path is a server's address (``http://HOST:PORT/v1#MODEL``), with what the server says.

    Fills in the model's name, the window, the options ``server``, ``bos`` and ``grammar`` and, of llama-server, the
    model's chat template.

    Raises:
        BackendError: ``server_unreachable``, ``bad_key``, ``reply_malformed``, ...
        ModelError: ``model_unknown``: the server does not have that model, or has several and none is named.
    """
    address, _, wanted = source.path.partition("#")
    address = address.rstrip("/").removesuffix("/chat/completions").removesuffix("/completions")
    if not parts_of(address).path.strip("/"):
        address = address.rstrip("/") + "/v1"
    streams = HttpStreams(address, key=os.environ.get("NPCSDK_API_KEY", ""))
    try:
        rows = _rows(streams.ask("GET", f"{address}/models"))
        row = _chosen(rows, wanted, address)
        server = _kind(row)
        try:
            props = (
                streams.ask("GET", endpoint(address, "/props")) if server in ("llama_cpp", "other") else {}
            )
        except NpcError:
            props = {}
        if "default_generation_settings" in props:
            server = "llama_cpp"
        bos = _own_bos(streams, address, props) if server == "llama_cpp" else ""
        grammar = _grammar(streams, address, server, row)
    finally:
        streams.close()
    length = _window(row, props)
    said = "says nothing of what it is" if server == "other" else f"says that it is {server}"
    return replace(
        source,
        name=str(row.get("id") or wanted),
        path=address,
        context_length=length or source.context_length,
        chat_template=str(props.get("chat_template") or ""),
        why=f"{source.why}; it {said}",
        options={**source.options, "server": server, "bos": bos, "grammar": grammar},
    )


def _rows(listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    data = listed.get("data")
    rows = cast("list[Any]", data) if isinstance(data, list) else []
    return [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict) and row.get("id")]  # pyright: ignore


def _chosen(rows: list[dict[str, Any]], wanted: str, address: str) -> dict[str, Any]:
    names = [str(row["id"]) for row in rows]
    if wanted:
        if not rows:  # It does not list what it has.
            return {"id": wanted}
        if wanted in names:
            return rows[names.index(wanted)]
    elif len(rows) == 1:
        return rows[0]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    problem = f"does not have the model {wanted!r}" if wanted else f"has {len(names)} models"
    raise ModelError(
        f"The server at {address} {problem}.",
        code="model_unknown",
        hint=f"Name one of them, as {address}#MODEL: {shown or 'it lists none'}.",
    )


def _kind(row: Mapping[str, Any]) -> str:
    return {"vllm": "vllm", "llamacpp": "llama_cpp"}.get(str(row.get("owned_by", "")).lower(), "other")


def _window(row: Mapping[str, Any], props: Mapping[str, Any]) -> int:
    settings = props.get("default_generation_settings")
    inner = cast("dict[str, Any]", settings) if isinstance(settings, dict) else {}
    for value in (inner.get("n_ctx"), row.get("max_model_len")):
        if isinstance(value, int) and value > 0:
            return value
    return 0


def _grammar(streams: HttpStreams, address: str, server: str, row: Mapping[str, Any]) -> str:
    """The field of a request in which the server takes a grammar, "" where it is not known to take one."""
    try:
        if server == "vllm":
            version = str(streams.ask("GET", endpoint(address, "/version")).get("version", ""))
            numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
            return "structured_outputs" if numbers >= _RENAMED else "guided_grammar" if numbers else ""
        if server == "other" and row.get("owned_by") == "me":
            about = _object(streams.ask("GET", endpoint(address, "/openapi.json")).get("info"))
            return "grammar" if "llama.cpp" in str(about.get("title")) else ""  # llama-cpp-python's server
    except NpcError:
        return ""
    return "grammar" if server == "llama_cpp" else ""


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _own_bos(streams: HttpStreams, address: str, props: Mapping[str, Any]) -> str:
    """The beginning-of-text token, where llama-server puts it before a prompt by itself."""
    body = {"content": "", "add_special": True}
    try:
        added = streams.ask("POST", endpoint(address, "/tokenize"), body).get("tokens")
    except NpcError:
        return ""
    return str(props.get("bos_token") or "") if added else ""
