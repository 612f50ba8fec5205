"""Ways to run a model, in order of preference, with the hardware that each is for. Data only; see `advice`.

A rule is a claim about speed that was not measured on the machine it is read for, so its ``why`` says where it comes
from, and a measurement overrules it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["AS_SHIPPED", "RULES", "Rule"]

AS_SHIPPED = "as shipped"
"""The precision of files that are taken as they are, whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to run a model, where its hardware is there. The order of the table is the order of preference.

    Attributes:
        on: kind of device: "cpu", or one of `Device.kind`.
        bits: of one weight, as the precision keeps it with its scales.
        options: for the backend.
        many: for several characters at once; None says that it makes no difference.
        large: for models of a billion parameters and more; None as above.
        needs: features that the processor has to have; ``lacks`` those that it must not have.
        install: what brings the backend.
    """

    backend: str
    file_format: str
    precision: str
    bits: float
    on: str
    why: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    systems: tuple[str, ...] = ()
    many: bool | None = None
    large: bool | None = None
    needs: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    install: str = ""


_LLAMA = 'pip install "npcsdk[llama]"'
_LLAMA_BUILT = (
    'CMAKE_ARGS="-D{}=on" pip install --force-reinstall --no-binary llama-cpp-python "npcsdk[llama]"'
)
_TORCH = 'pip install "npcsdk[transformers]"'
_VINO = 'pip install "npcsdk[openvino]"'
_ORT = "pip install onnxruntime-genai"
_BANDWIDTH = "decoding is bound by how fast the weights are read, so fewer bits are faster"

RULES: tuple[Rule, ...] = (
    Rule(
        backend="onnx_genai",
        file_format="onnx-genai",
        precision=AS_SHIPPED,
        bits=8,
        on="cpu",
        large=False,
        why="a model this small is fast on any processor, and its ONNX files need nothing more to be installed",
        install=_ORT,
    ),
    # NVIDIA.
    Rule(
        backend="llama_cpp",
        file_format="gguf",
        precision="Q8_0",
        bits=8.5,
        on="cuda",
        many=True,
        options={"device": "gpu"},
        why="llama.cpp batches the characters' tokens on the GPU and shares their common prefix",
        install=_LLAMA_BUILT.format("GGML_CUDA"),
    ),
    Rule(
        backend="onnx_genai",
        file_format="onnx-genai",
        precision="int4",
        bits=8.6,  # NVIDIA's files keep the embedding and the output in 16 bits: 4.5 GB for 4.19 billion
        on="cuda",
        options={"device": "cuda"},
        why="NVIDIA publishes and measures these files for its GPUs",
        install="pip uninstall -y onnxruntime-genai && pip install onnxruntime-genai-cuda",
    ),
    Rule(
        backend="transformers",
        file_format="safetensors",
        precision="bf16",
        bits=16,
        on="cuda",
        options={"device": "cuda", "dtype": "bf16"},
        why="the weights as they were published fit into the GPU's memory",
        install=_TORCH,
    ),
    Rule(
        backend="transformers",
        file_format="safetensors",
        precision="8bit",
        bits=8.5,
        on="cuda",
        options={"device": "cuda", "quantization": "8bit"},
        why="in 16 bits it does not fit into the GPU's memory; bitsandbytes keeps 8",
        install='pip install "npcsdk[bitsandbytes]"',
    ),
    Rule(
        backend="transformers",
        file_format="safetensors",
        precision="4bit",
        bits=5,
        on="cuda",
        options={"device": "cuda", "quantization": "4bit"},
        why="in 8 bits it does not fit into the GPU's memory; bitsandbytes keeps 4",
        install='pip install "npcsdk[bitsandbytes]"',
    ),
    Rule(
        backend="llama_cpp",
        file_format="gguf",
        precision="Q4_K_M",
        bits=4.9,
        on="cuda",
        options={"device": "gpu"},
        why="GGUF in about five bits fits into small GPUs",
        install=_LLAMA_BUILT.format("GGML_CUDA"),
    ),
    # Other GPUs.
    Rule(
        backend="onnx_genai",
        file_format="onnx-genai",
        precision="int4",
        bits=8.6,
        on="dml",
        systems=("Windows",),
        options={"device": "dml"},
        why="DirectML runs on every GPU with DirectX 12, and NVIDIA's files were made for it",
        install="pip uninstall -y onnxruntime-genai && pip install onnxruntime-genai-directml",
    ),
    *(
        Rule(
            backend="llama_cpp",
            file_format="gguf",
            precision=precision,
            bits=bits,
            on=on,
            options={"device": "gpu"},
            why=f"llama.cpp built for {title} keeps the whole model on the GPU",
            install=_LLAMA_BUILT.format(flag),
        )
        for on, title, flag in (
            ("metal", "Metal", "GGML_METAL"),
            ("vulkan", "Vulkan", "GGML_VULKAN"),
            ("rocm", "ROCm", "GGML_HIP"),
        )
        for precision, bits in (("Q8_0", 8.5), ("Q4_K_M", 4.9))
    ),
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int8",
        bits=8.5,
        on="gpu",
        options={"device": "GPU"},
        why="OpenVINO is the runtime that uses Intel's GPUs best, and it batches characters",
        install=_VINO,
    ),
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int4",
        bits=5,
        on="gpu",
        options={"device": "GPU"},
        why="OpenVINO is the runtime that uses Intel's GPUs best; 8 bits do not fit",
        install=_VINO,
    ),
    # Processors.
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int8",
        bits=8.5,
        on="cpu",
        needs=frozenset({"amx"}),
        many=True,
        why="with AMX, OpenVINO decoded eight characters at 2.8 times llama.cpp's speed and read prompts three to five "
        "times as fast (100M parameters, two cores)",
        install=_VINO,
    ),
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int8",
        bits=8.5,
        on="cpu",
        needs=frozenset({"avx512_bf16"}),
        lacks=frozenset({"amx"}),
        many=True,
        why="with AVX-512 and bfloat16, OpenVINO decoded eight characters at 2.1 times llama.cpp's speed (100M "
        "parameters, two cores)",
        install=_VINO,
    ),
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int8",
        bits=8.5,
        on="cpu",
        needs=frozenset({"amx"}),
        many=False,
        large=True,
        why="with AMX, OpenVINO read a new prompt three times as fast as the others, which is what a player waits for",
        install=_VINO,
    ),
    Rule(
        backend="llama_cpp",
        file_format="gguf",
        precision="Q4_K_M",
        bits=4.9,
        on="cpu",
        large=True,
        why=f"llama.cpp decodes one character fastest on most processors, and {_BANDWIDTH}",
        install=_LLAMA,
    ),
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int4",
        bits=5,
        on="cpu",
        large=True,
        why=f"OpenVINO batches characters on every processor; {_BANDWIDTH}",
        install=_VINO,
    ),
    Rule(
        backend="onnx_genai",
        file_format="onnx-genai",
        precision="int4",
        bits=8.6,
        on="cpu",
        large=True,
        why="onnxruntime-genai runs on every processor, one character at a time; published files for DirectML may not",
        install=_ORT,
    ),
    Rule(
        backend="llama_cpp",
        file_format="gguf",
        precision="Q8_0",
        bits=8.5,
        on="cpu",
        large=False,
        why="in 8 bits a small model loses nothing that can be heard, and llama.cpp batches characters",
        install=_LLAMA,
    ),
    Rule(
        backend="openvino_genai",
        file_format="openvino",
        precision="int8",
        bits=8.5,
        on="cpu",
        large=False,
        why="in 8 bits a small model loses nothing that can be heard, and OpenVINO batches characters",
        install=_VINO,
    ),
    Rule(
        backend="transformers",
        file_format="safetensors",
        precision="bf16",
        bits=16,
        on="cpu",
        needs=frozenset({"avx512_bf16"}),
        options={"device": "cpu", "dtype": "bf16"},
        why="this processor computes in bfloat16; slower than the other runtimes, but it takes the files as they are",
        install=_TORCH,
    ),
    Rule(
        backend="transformers",
        file_format="safetensors",
        precision="fp32",
        bits=32,
        on="cpu",
        options={"device": "cpu", "dtype": "fp32"},
        why="without bfloat16 in the processor, 32 bits are faster than 16; the slowest choice, for trying out",
        install=_TORCH,
    ),
    Rule(
        backend="openai_compat",
        file_format="server",
        precision="the server's",
        bits=0,
        on="cpu",
        why="the model runs on the server",
        install='pip install "npcsdk[openai]"',
    ),
)
"""In order of preference."""
