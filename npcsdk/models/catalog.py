"""The models that npcsdk knows by name. Data only; `npcsdk.backends.registry` finds and loads them.

Facts are from the publishers' own pages. No publisher states checksums on them, so the rows have none and a download
is checked against what the hub itself says of each file (see `npcsdk.models.download`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CATALOG", "EMBEDDED", "FAMILIES", "LICENCES", "CatalogEntry", "Licence", "Size"]

EMBEDDED = "embedded"
"""The name of the model that travels in the package."""

FAMILIES: dict[str, tuple[str, str]] = {
    "nemotron": ("nemotron", "nemotron"),
    "gemma": ("completion", "gemma"),
    "gemma2": ("completion", "gemma"),
    "gemma3_text": ("completion", "gemma"),
}
"""Model type, as a model's own config has it -> prompt format and tool format of a model that brings no chat template.

A Gemma without one is a base model.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """Under what terms a model is had. ``obligations`` are our summary; the text at ``url`` is what counts."""

    name: str
    url: str = ""
    obligations: tuple[str, ...] = ()


_APACHE = Licence(name="Apache-2.0")
_NVIDIA = Licence(
    name="NVIDIA Open Model License",
    url="https://developer.download.nvidia.com/licenses/nvidia-open-model-license-agreement-june-2024.pdf",
    obligations=(
        "Give everybody to whom you pass the model (with your game, say) a copy of the licence.",
        "Keep the notice: Licensed by NVIDIA Corporation under the NVIDIA Open Model License.",
        "Do not take out the model's guardrails without putting something alike in their place.",
    ),
)
_GEMMA = Licence(
    name="Gemma Terms of Use",
    url="https://ai.google.dev/gemma/terms",
    obligations=(
        "Pass on the use restrictions (https://ai.google.dev/gemma/prohibited_use_policy) to your players.",
        "Give everybody to whom you pass the model a copy of the terms, and say which files you changed.",
        "Keep the notice: Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms.",
    ),
)
_NVIDIA_GEMMA = Licence(
    name="NVIDIA Open Model License and Gemma Terms of Use",
    url=f"{_NVIDIA.url} and {_GEMMA.url}",
    obligations=_NVIDIA.obligations + _GEMMA.obligations,
)
_OF_THE_SERVER = Licence(name="that of the model on the server")

LICENCES: dict[str, Licence] = {
    licence.name: licence for licence in (_APACHE, _NVIDIA, _GEMMA, _NVIDIA_GEMMA, _OF_THE_SERVER)
}
"""Every licence by name."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a model's memory follows from: its weights, and what one token of context keeps (keys and values)."""

    parameters: int
    layers: int
    kv_heads: int
    head_size: int

    def cache_bytes(self, tokens: int, element: int = 2) -> int:
        """Keys and values of ``tokens`` tokens, in numbers of ``element`` bytes."""
        return 2 * self.layers * self.kv_heads * self.head_size * element * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One known model.

    Attributes:
        architecture: the class name that the model's own config has.
        backend: the backend that loads it. Whether this installation has it, `backend_names` of the registry says.
        file_format: how its files are made: ``onnx-genai``, ``openvino``, ``safetensors``, ``gguf`` or ``server``.
        original: the repository of the weights that it was made from; rows with the same one are one model in several
            forms.
        size: how large the network is; None where that is not known.
        repository: where the publisher keeps it; "" for a model that need not be downloaded.
        files: patterns of the repository's files that it needs; empty means all.
        sha256: file -> checksum, where a publisher states one apart from the hub.
        stop: texts that end a reply.
        context_length: tokens of prompt and reply together.
        gated: the publisher's terms have to be accepted on its page before it can be downloaded.
        summaries: whether it can sum up long conversations; see `npcsdk.dialogue.summaries`.
        chooses: whether it can be left to choose among actions and passages; see `npcsdk.dialogue.mind.Limits`.
        download, memory: sizes in words.
        runtimes: hardware -> what to run it on there.
        path: a folder inside the package, for a model that travels with it.
    """

    name: str
    summary: str
    architecture: str
    backend: str
    file_format: str
    prompt_format: str
    tool_format: str
    stop: tuple[str, ...]
    context_length: int
    licence: Licence
    original: str = ""
    size: Size | None = None
    repository: str = ""
    revision: str = "main"
    files: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict[str, str])
    gated: bool = False
    download: str = ""
    memory: str = ""
    runtimes: Mapping[str, str] = field(default_factory=dict[str, str])
    path: Path | None = None
    summaries: bool = False
    chooses: bool = True


# From the published config.json of each.
_NEMOTRON_4B = Size(4_190_000_000, layers=32, kv_heads=8, head_size=128)
_GEMMA_2B = Size(2_510_000_000, layers=18, kv_heads=1, head_size=256)
_GEMMA_2_2B = Size(2_610_000_000, layers=26, kv_heads=4, head_size=256)
_GEMMA_2_9B = Size(9_240_000_000, layers=42, kv_heads=8, head_size=256)

_NEMOTRON_STOP = ("</s>", "<extra_id_1>")
_GEMMA_STOP = ("<eos>", "<end_of_turn>")
_SCRIPT_STOP = ("<eos>", "a blank line", "the next speaker's name")
_ONNX_RUNTIMES = {
    "Windows, any GPU with DirectX 12": "onnxruntime-genai-directml, as published",
    "NVIDIA GPU": "onnxruntime-genai-cuda",
    "CPU": "onnxruntime-genai; the files were made for DirectML, so try it first",
}
_GGUF_RUNTIMES = {
    "CPU": "llama.cpp; with AMX, OpenVINO is faster for many characters",
    "NVIDIA, AMD, Apple GPU": "llama.cpp built for CUDA, Vulkan or Metal",
}

_ENTRIES = (
    CatalogEntry(
        name=EMBEDDED,
        summary="A small Nemotron trained for npcsdk; runs anywhere, needs no download.",
        architecture="NemotronForCausalLM",
        backend="onnx_genai",
        file_format="onnx-genai",
        prompt_format="nemotron",
        tool_format="nemotron",
        stop=_NEMOTRON_STOP,
        context_length=4096,
        licence=_APACHE,
        size=Size(4_700_000, layers=5, kv_heads=4, head_size=64),
        memory="under 200 MB",
        runtimes={"CPU": "onnxruntime-genai"},
        path=Path(__file__).parent / "embedded",
        chooses=False,
    ),
    CatalogEntry(
        name="nemotron-mini-4b",
        summary="NVIDIA Nemotron Mini 4B Instruct, ONNX INT4 (AWQ): role-play, retrieval, function calls.",
        architecture="NemotronForCausalLM",
        backend="onnx_genai",
        file_format="onnx-genai",
        prompt_format="nemotron",
        tool_format="nemotron",
        stop=_NEMOTRON_STOP,
        context_length=4096,
        licence=_NVIDIA,
        original="nvidia/Nemotron-Mini-4B-Instruct",
        size=_NEMOTRON_4B,
        repository="nvidia/Nemotron-Mini-4B-Instruct-ONNX-INT4",
        download="4.5 GB",
        memory="6 GB of graphics memory or more (the publisher's advice)",
        runtimes=_ONNX_RUNTIMES,
        summaries=True,
    ),
    CatalogEntry(
        name="gemma-2b-it",
        summary="Google Gemma 2B Instruct, quantised by NVIDIA to ONNX INT4 (AWQ).",
        architecture="GemmaForCausalLM",
        backend="onnx_genai",
        file_format="onnx-genai",
        prompt_format="gemma",
        tool_format="gemma",
        stop=_GEMMA_STOP,
        context_length=8192,
        licence=_NVIDIA_GEMMA,
        original="google/gemma-2b-it",
        size=_GEMMA_2B,
        repository="nvidia/Gemma-2b-it-ONNX-INT4",
        memory="6 GB of graphics memory or more (the publisher's advice)",
        runtimes=_ONNX_RUNTIMES,
        summaries=True,
    ),
    CatalogEntry(
        name="gemma-2-9b-it-ov",
        summary="Google Gemma 2 9B Instruct as OpenVINO IR, int4.",
        architecture="Gemma2ForCausalLM",
        backend="openvino_genai",
        file_format="openvino",
        prompt_format="gemma",
        tool_format="gemma",
        stop=_GEMMA_STOP,
        context_length=8192,
        licence=_GEMMA,
        original="google/gemma-2-9b-it",
        size=_GEMMA_2_9B,
        repository="fakezeta/gemma-2-9b-it-ov-int4",
        memory="about 8 GB",
        runtimes={"Intel CPU, GPU or NPU": "OpenVINO GenAI"},
        summaries=True,
    ),
    CatalogEntry(
        name="gemma-2b",
        summary="Google Gemma 2B, the base model: no chat format, it goes on writing a script.",
        architecture="GemmaForCausalLM",
        backend="transformers",
        file_format="safetensors",
        prompt_format="completion",
        tool_format="gemma",
        stop=_SCRIPT_STOP,
        context_length=8192,
        licence=_GEMMA,
        original="google/gemma-2b",
        size=_GEMMA_2B,
        repository="google/gemma-2b",
        files=("*.json", "*.safetensors", "tokenizer.model", "README.md"),
        gated=True,
        memory="about 5 GB in bfloat16, 3 GB in 8 bits, 2 GB in 4 bits",
        runtimes={"NVIDIA GPU": "transformers, bf16 or bitsandbytes", "CPU": "transformers, bf16"},
    ),
    CatalogEntry(
        name="gemma-2-2b-gguf",
        summary="Google Gemma 2 2B, the base model, as GGUF: no chat format, it goes on writing a script.",
        architecture="Gemma2ForCausalLM",
        backend="llama_cpp",
        file_format="gguf",
        prompt_format="completion",
        tool_format="gemma",
        stop=_SCRIPT_STOP,
        context_length=8192,
        licence=_GEMMA,
        original="google/gemma-2-2b",
        size=_GEMMA_2_2B,
        repository="QuantFactory/gemma-2-2b-GGUF",
        files=("*.Q4_K_M.gguf", "README.md"),
        memory="about 3 GB with Q4_K_M",
        runtimes=_GGUF_RUNTIMES,
    ),
    CatalogEntry(
        name="nemotron-mini-4b-gguf",
        summary="NVIDIA Nemotron Mini 4B Instruct as GGUF, Q4_K_M.",
        architecture="NemotronForCausalLM",
        backend="llama_cpp",
        file_format="gguf",
        prompt_format="nemotron",
        tool_format="nemotron",
        stop=_NEMOTRON_STOP,
        context_length=4096,
        licence=_NVIDIA,
        original="nvidia/Nemotron-Mini-4B-Instruct",
        size=_NEMOTRON_4B,
        repository="bartowski/Nemotron-Mini-4B-Instruct-GGUF",
        files=("*-Q4_K_M.gguf", "README.md"),
        download="2.7 GB",
        memory="about 4 GB",
        runtimes=_GGUF_RUNTIMES,
        summaries=True,
    ),
    CatalogEntry(
        name="nemotron-mini-4b-hf",
        summary="NVIDIA Nemotron Mini 4B Instruct in Hugging Face's files: to run with transformers, or to convert.",
        architecture="NemotronForCausalLM",
        backend="transformers",
        file_format="safetensors",
        prompt_format="nemotron",
        tool_format="nemotron",
        stop=_NEMOTRON_STOP,
        context_length=4096,
        licence=_NVIDIA,
        original="nvidia/Nemotron-Mini-4B-Instruct",
        size=_NEMOTRON_4B,
        repository="nvidia/Nemotron-Mini-4B-Instruct",
        files=("*.json", "*.safetensors", "README.md"),
        memory="about 9 GB in bfloat16, 5 GB in 8 bits, 3 GB in 4 bits",
        runtimes={
            "NVIDIA GPU": "transformers, bf16 or bitsandbytes",
            "CPU with AVX-512": "OpenVINO GenAI, after `npcsdk models convert nemotron-mini-4b-hf --to openvino`",
        },
    ),
    CatalogEntry(
        name="gemma-2-2b-it-gguf",
        summary="Google Gemma 2 2B Instruct as GGUF, Q4_K_M.",
        architecture="Gemma2ForCausalLM",
        backend="llama_cpp",
        file_format="gguf",
        prompt_format="gemma",
        tool_format="gemma",
        stop=_GEMMA_STOP,
        context_length=8192,
        licence=_GEMMA,
        original="google/gemma-2-2b-it",
        size=_GEMMA_2_2B,
        repository="bartowski/gemma-2-2b-it-GGUF",
        files=("*-Q4_K_M.gguf", "README.md"),
        memory="about 3 GB",
        runtimes=_GGUF_RUNTIMES,
        summaries=True,
    ),
    CatalogEntry(
        name="openai-server",
        summary="Any server with OpenAI's interface (vLLM, NIM, llama-server, LM Studio, Ollama): name its URL.",
        architecture="any",
        backend="openai_compat",
        file_format="server",
        prompt_format="chat",
        tool_format="the server's",
        stop=(),
        context_length=4096,
        licence=_OF_THE_SERVER,
        memory="the server's",
        runtimes={"another machine": "--model http://HOST:PORT/v1"},
    ),
)

CATALOG: dict[str, CatalogEntry] = {entry.name: entry for entry in _ENTRIES}
"""Every entry by name."""
