# SPDX-License-Identifier: Apache-2.0
"""From a training checkpoint to what runtimes load: a transformers folder, and by npcsdk's converters ONNX, GGUF and
OpenVINO IR."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from model import Config, Nemotron
from safetensors.torch import load_file, save_file

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def write_hf(model: Nemotron, tokenizer: Path, out: Path, dtype: torch.dtype = torch.float32) -> None:
    """A folder that `transformers.AutoModelForCausalLM` loads."""
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items()}
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    config = model.c.hf() | {"torch_dtype": str(dtype).removeprefix("torch.")}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer / name, out / name)


def read_hf(folder: Path) -> Nemotron:
    """The model of a folder that `write_hf` wrote, in float32."""
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Nemotron(Config(**{k: raw[k] for k in Config.__dataclass_fields__}))
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return model


def write(hf: Path, out: Path, target: str, precision: str = "") -> Path:
    """Convert the folder of `write_hf`, offline: target onnx, gguf or openvino; "" is the target's usual precision."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # npcsdk of this checkout
    from npcsdk.errors import NpcError
    from npcsdk.models.convert import convert

    try:
        return convert(str(hf), target, out, precision=precision)
    except NpcError as error:
        raise SystemExit(f"{target}: {error}") from error


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument(
        "source", type=Path, help="a folder with config.json, model.safetensors and the tokenizer"
    )
    ap.add_argument("out", type=Path)
    ap.add_argument("--format", choices=["onnx", "gguf", "openvino", "hf"], default="onnx")
    ap.add_argument(
        "--precision", default="", help="int4 (default for onnx), int8 (for the others), fp16 or fp32"
    )
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        full = a.out if a.format == "hf" else Path(tmp) / "hf"
        write_hf(read_hf(a.source), a.source, full)
        if a.format != "hf":
            print(write(full, a.out, a.format, a.precision))


if __name__ == "__main__":
    main()
