"""A Hugging Face folder to ONNX, as onnxruntime-genai runs it, by the builder that comes with that package.

The builder runs in a process of its own, offline: it prints a lot, sets the process's locale and defaults, and a model
that it cannot build must not take this one down.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import cast

from npcsdk.errors import MissingExtra, ModelError
from npcsdk.models.convert.checkpoint import Checkpoint
from npcsdk.models.convert.plan import Report, copy_side_files

__all__ = ["PRECISIONS", "write"]

PRECISIONS = ("int4", "int8", "fp32")
_NEEDED = ("onnxruntime_genai", "torch", "transformers", "onnx_ir")
_MADE = ("model.onnx", "model.onnx.data", "genai_config.json")
_LAYER = re.compile(r"reading (?:decoder )?layer (\d+)", re.IGNORECASE)  # 0.14 has the word


def write(checkpoint: Checkpoint, out: Path, precision: str, report: Report) -> None:
    """Build a folder for onnxruntime-genai on the CPU.

    Raises:
        ModelError: code ``conversion_failed``, with the builder's last words.
        MissingExtra: a package that the builder needs is not installed.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        packages = " ".join(name.replace("_", "-") for name in missing)
        raise MissingExtra(
            f"The ONNX builder needs what is not installed: {packages}.",
            hint='Install what converting needs: pip install "npcsdk[convert]"',
        )
    network = checkpoint.network
    if network.vocabulary in (
        network.inner,
        network.heads * network.head_size,
        network.kv_heads * network.head_size,
    ):
        raise ModelError(
            f"The ONNX builder would take a layer of this model for its last: both are {network.vocabulary} high.",
            code="conversion_failed",
            hint="Add a few unused tokens to the vocabulary, or convert to another format.",
        )
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        source, built = Path(scratch) / "source", Path(scratch) / "built"
        _linked(checkpoint, source)
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(source), "-o", str(built), "-p", precision, "-e", "cpu"]
        # Scores of the last position alone: a runtime needs no others, and a prefill is a tenth faster.
        command += [
            "-c",
            str(Path(scratch) / "cache"),
            "--extra_options",
            "hf_token=false",
            "prune_lm_head=true",
        ]
        said = _run(command, checkpoint.network.layers, report)
        if said is not None:
            raise ModelError(
                f"The ONNX builder failed: {said}",
                code="conversion_failed",
                hint="It was tried with onnxruntime-genai 0.18 and transformers 5; see what it said.",
            )
        for name in _MADE:
            if (built / name).is_file():
                shutil.move(built / name, out / name)
    _end_as_the_model_does(checkpoint, out / "genai_config.json")
    # The builder would write the tokenizer anew, through transformers. The files as they are are the model's own.
    copy_side_files(checkpoint, out, without=("config.json", "generation_config.json"))


def _end_as_the_model_does(checkpoint: Checkpoint, path: Path) -> None:
    """Write which ids end a reply. The builder takes the first from a tokenizer that transformers makes of the folder,
    and where that has no name for it, transformers adds one beyond the model's ids."""
    content = json.loads(path.read_text(encoding="utf-8"))
    named = content["model"]["eos_token_id"]
    listed = cast("list[int]", named if isinstance(named, list) else [named])
    there = [number for number in listed if number < checkpoint.network.vocabulary]
    content["model"]["eos_token_id"] = list(dict.fromkeys([*checkpoint.network.ends, *there]))
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def _linked(checkpoint: Checkpoint, source: Path) -> None:
    """The folder again, with the one setting that the builder looks for under another name."""
    source.mkdir()
    for path in checkpoint.folder.iterdir():
        if path.is_file() and path.name != "config.json":
            try:
                (source / path.name).symlink_to(path.resolve())
            except OSError:  # Windows without the right to
                try:
                    os.link(path, source / path.name)
                except OSError:
                    shutil.copy(path, source / path.name)
    config = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
    config["rms_norm_eps"] = checkpoint.network.epsilon
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _run(command: list[str], layers: int, report: Report) -> str | None:
    """Run the builder, telling how far it is; what it said last when it failed."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    last: deque[str] = deque(maxlen=3)
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                last.append(line.strip()[:300])
            found = _LAYER.search(line)
            if found is not None:
                report(f"layer {int(found[1]) + 1} of {layers}", 0.8 * int(found[1]) / max(layers, 1))
            elif line.startswith("Saving"):
                report("quantising and saving", 0.85)
    return None if process.returncode == 0 else " | ".join(last) or f"exit code {process.returncode}"
