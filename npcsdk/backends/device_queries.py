"""What llama.cpp and OpenVINO compute on, asked of their libraries; for `npcsdk.backends.survey`."""

from __future__ import annotations

import ctypes
import importlib
import sys
from typing import Any, cast

__all__ = ["llama_cpp", "openvino_genai"]

# A device's name in ggml begins so -> our kind.
_KINDS = (
    ("CUDA", "cuda"),
    ("ROCM", "rocm"),
    ("HIP", "rocm"),
    ("VULKAN", "vulkan"),
    ("METAL", "metal"),
    ("MTL", "metal"),
)
_PROCESSORS = (0, 3)
"""ggml's types of devices that are the processor or help it."""


def llama_cpp() -> list[dict[str, Any]]:
    """The GPUs that the installed build of llama.cpp can use."""
    library: Any = importlib.import_module("llama_cpp")
    library.llama_backend_init()
    ggml: Any = importlib.import_module("llama_cpp._ggml").libggml
    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p] * 3
    for text in (ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description):
        text.argtypes, text.restype = [ctypes.c_void_p], ctypes.c_char_p
    found: list[dict[str, Any]] = []
    for number in range(ggml.ggml_backend_dev_count()):
        device = ggml.ggml_backend_dev_get(number)
        if ggml.ggml_backend_dev_type(device) in _PROCESSORS:
            continue
        name = ggml.ggml_backend_dev_name(device).decode("utf-8", "replace").upper()
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        kind = next((kind for start, kind in _KINDS if name.startswith(start)), "gpu")
        title = ggml.ggml_backend_dev_description(device).decode("utf-8", "replace")
        found.append({"kind": kind, "name": title, "memory": total.value})
    return found


def openvino_genai() -> list[dict[str, Any]]:
    """Intel's GPUs and NPUs, as OpenVINO finds them."""
    sys.modules.setdefault("openvino_telemetry", cast("Any", None))  # see npcsdk.backends.openvino_genai
    core: Any = importlib.import_module("openvino").Core()
    found: list[dict[str, Any]] = []
    for name in core.available_devices:
        kind = str(name).partition(".")[0].lower()
        if kind in ("gpu", "npu"):
            title = str(core.get_property(name, "FULL_DEVICE_NAME"))
            memory = int(core.get_property(name, "GPU_DEVICE_TOTAL_MEM_SIZE")) if kind == "gpu" else 0
            found.append({"kind": kind, "name": title, "memory": memory})
    return found
