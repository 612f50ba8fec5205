"""Convert several folders to ONNX in one process, as `npcsdk models convert` does each in one of its own.

    python onnx_all.py FOLDER OUT [FOLDER OUT ...]

Importing PyTorch takes the builder longer than building a small model.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from npcsdk.models.convert import convert, to_onnx


def build(command: list[str], layers: int, report: Any) -> None:
    sys.argv = command[2:]
    runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")


if __name__ == "__main__":
    to_onnx._run = build
    places = sys.argv[1:]
    for folder, out in zip(places[::2], places[1::2], strict=True):
        convert(folder, "onnx", Path(out), precision="fp32")
