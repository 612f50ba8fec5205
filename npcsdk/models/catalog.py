"""The models that npcsdk knows by name. Data only; `npcsdk.backends.registry` finds and loads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CATALOG", "EMBEDDED", "FAMILIES", "CatalogEntry"]

EMBEDDED = "embedded"
"""The name of the model that travels in the package."""

FAMILIES: dict[str, tuple[str, str]] = {
    "nemotron": ("nemotron", "nemotron"),
}
"""Model type, as a model's own config has it -> names of the prompt format and of the tool format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One known model.

    ``path`` is a folder inside the package, for a model that travels with it; ``repository`` says where the
    publisher keeps it otherwise. ``context_length`` counts tokens of prompt and reply together. ``memory`` is
    what the publisher advises, in words.
    """

    name: str
    summary: str
    backend: str
    family: str
    context_length: int
    licence: str
    licence_url: str = ""
    repository: str = ""
    memory: str = ""
    path: Path | None = None


_ENTRIES = (
    CatalogEntry(
        name=EMBEDDED,
        summary="A small Nemotron trained for npcsdk; runs anywhere, needs no download.",
        backend="onnx_genai",
        family="nemotron",
        context_length=4096,
        licence="Apache-2.0",
        memory="under 200 MB",
        path=Path(__file__).parent / "embedded",
    ),
    CatalogEntry(
        name="nemotron-mini-4b",
        summary="NVIDIA Nemotron Mini 4B Instruct, ONNX INT4 (AWQ), for DirectML on Windows.",
        backend="onnx_genai",
        family="nemotron",
        context_length=4096,
        licence="NVIDIA Open Model License",
        licence_url="https://developer.download.nvidia.com/licenses/nvidia-open-model-license-agreement-june-2024.pdf",
        repository="nvidia/Nemotron-Mini-4B-Instruct-ONNX-INT4",
        memory="6 GB of graphics memory or more",
    ),
    CatalogEntry(
        name="gemma-2b-it",
        summary="Google Gemma 2B Instruct, ONNX INT4, for DirectML on Windows.",
        backend="onnx_genai",
        family="gemma",
        context_length=8192,
        licence="Gemma Terms of Use",
        licence_url="https://ai.google.dev/gemma/terms",
        repository="nvidia/Gemma-2b-it-ONNX-INT4",
        memory="6 GB of graphics memory or more",
    ),
)

CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every entry by name."""
