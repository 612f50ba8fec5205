# SPDX-License-Identifier: Apache-2.0
"""From a training checkpoint to what runtimes load: a transformers folder and ONNX INT4 for onnxruntime-genai."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
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


def write_onnx(hf: Path, out: Path, precision: str = "int4", **options: str) -> None:
    """Run onnxruntime-genai's builder, offline, on the folder of `write_hf`.

    The tokenizer is trained for this model, so its files are copied as they are: the builder would rewrite them through
    transformers.
    """
    with tempfile.TemporaryDirectory() as tmp:
        built = Path(tmp) / "built"
        # Scores of the last position alone: a runtime needs no others, and a prefill is a tenth faster.
        extra = ["hf_token=false", "prune_lm_head=true", *(f"{k}={v}" for k, v in options.items())]
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(hf), "-o", str(built)]
        command += ["-p", precision, "-e", "cpu", "-c", str(Path(tmp) / "cache"), "--extra_options", *extra]
        env = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the ONNX builder failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        out.mkdir(parents=True, exist_ok=True)
        for name in ("model.onnx", "model.onnx.data", "genai_config.json"):
            shutil.copy(built / name, out / name)
        for name in TOKENIZER_FILES:
            shutil.copy(hf / name, out / name)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument(
        "source", type=Path, help="a folder with config.json, model.safetensors and the tokenizer"
    )
    ap.add_argument("out", type=Path)
    ap.add_argument("--format", choices=["onnx", "hf"], default="onnx")
    ap.add_argument("--precision", default="int4", help="of the ONNX model: int4, int8 or fp32")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        full = a.out if a.format == "hf" else Path(tmp) / "hf"
        write_hf(read_hf(a.source), a.source, full)
        if a.format == "onnx":
            write_onnx(full, a.out, a.precision)


if __name__ == "__main__":
    main()
