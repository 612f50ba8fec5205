"""From a Hugging Face folder to what runtimes load: ONNX, GGUF, OpenVINO IR.

One module for each target, and each brings in the packages that it needs when it is used.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from npcsdk.errors import MissingExtra, ModelError
from npcsdk.models.catalog import CATALOG
from npcsdk.models.convert.checkpoint import Checkpoint, read_checkpoint
from npcsdk.models.convert.plan import Report
from npcsdk.models.places import models_folder

__all__ = ["TARGETS", "convert"]

TARGETS: dict[str, str] = {
    "onnx": "npcsdk.models.convert.to_onnx",
    "gguf": "npcsdk.models.convert.to_gguf",
    "openvino": "npcsdk.models.convert.to_openvino",
}
"""What a model can be brought into -> the module that does it."""

_SAME = {
    "gguf": {"int8": "q8_0", "int4": "q4_0", "fp16": "f16", "fp32": "f32"},
    "onnx": {"f32": "fp32"},
    "openvino": {"f16": "fp16", "f32": "fp32"},
}
_WEIGHTS = {"gguf": ".gguf"}


def convert(
    model: str, target: str, out: Path, *, precision: str = "", report: Report = lambda what, done: None
) -> Path:
    """Convert a model. What is at ``out`` afterwards is whole: a conversion that fails leaves nothing there.

    Args:
        model: a name of the catalogue that was pulled, or a folder as Hugging Face has it.
        target: one of `TARGETS`.
        out: a folder, which is made; for GGUF a file, or a folder that it is put into.
        precision: of the weights. Every target has int8, int4 and fp32 (GGUF calls them q8_0, q4_0, f32), gguf and
            openvino also fp16. "" means int4 for ONNX and int8 for others.
        report: told how far it is.

    Returns:
        the folder or file that ``--model`` takes.

    Raises:
        ModelError: ``target_unknown``, ``precision_unknown``, ``out_exists``, or what is wrong with the model.
        MissingExtra: a package that this conversion needs is not installed.
    """
    if target not in TARGETS:
        raise ModelError(
            f"npcsdk converts to {', '.join(TARGETS)}, not to {target!r}.",
            code="target_unknown",
            hint="openvino for Intel processors, gguf for llama.cpp, onnx for onnxruntime-genai.",
        )
    checkpoint = read_checkpoint(_folder(model))
    module = _module(target)
    known = cast("tuple[str, ...]", module.PRECISIONS)
    chosen = _SAME[target].get(precision.lower(), precision.lower()) or known[0]
    if chosen not in known:
        raise ModelError(
            f"{target} has no precision {precision!r}.",
            code="precision_unknown",
            hint=f"It has {', '.join(known)}.",
        )
    if target in _WEIGHTS and out.suffix.lower() != _WEIGHTS[target]:
        name = checkpoint.folder.resolve().name
        out = out / f"{name}-{chosen}{_WEIGHTS[target]}"
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise ModelError(
            f"{out} is there already.", code="out_exists", hint="Name another place, or remove it first."
        )
    _write(module.write, checkpoint, out, chosen, report, is_file=target in _WEIGHTS)
    return out


def _write(
    write: Callable[[Checkpoint, Path, str, Report], None],
    checkpoint: Checkpoint,
    out: Path,
    precision: str,
    report: Report,
    *,
    is_file: bool,
) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".npcsdk-convert-") as scratch:
            place = Path(scratch) / out.name
            if not is_file:
                place.mkdir()
            write(checkpoint, place, precision, report)
            if not is_file and out.is_dir():
                out.rmdir()
            place.replace(out)
            ours = checkpoint.folder / "npcsdk.json"
            if is_file and ours.is_file() and not (out.parent / ours.name).exists():
                shutil.copy(ours, out.parent / ours.name)
    except OSError as error:
        raise ModelError(
            f"The model cannot be written to {out}: {error}",
            code="conversion_failed",
            hint="Check that the folder can be written to, and that the disk has room.",
        ) from error
    report("done", 1.0)


def _folder(model: str) -> Path:
    entry = CATALOG.get(model)
    folder = models_folder() / model if entry is not None else Path(model).expanduser()
    if folder.is_dir():
        return folder
    if entry is None:
        raise ModelError(
            f"There is no folder {folder}.",
            code="model_not_found",
            hint="Name a Hugging Face folder, or a model of `npcsdk models list` that was pulled.",
        )
    raise ModelError(
        f"The model {model!r} is not at {folder}.",
        code="model_not_found",
        hint=f"Get it with `npcsdk models pull {model}`."
        if entry.file_format == "safetensors"
        else f"It is published as {entry.file_format}; conversion begins from a Hugging Face folder.",
    )


def _module(target: str) -> Any:
    try:
        return importlib.import_module(TARGETS[target])
    except ModuleNotFoundError as error:
        name = (error.name or target).replace("_", "-")
        raise MissingExtra(
            f"Converting to {target} needs the package {name!r}, which is not installed.",
            hint='Install what converting needs: pip install "npcsdk[convert]"',
        ) from error
