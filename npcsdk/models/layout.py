"""Where in a folder its model lies: repositories are published with one, or with one for each kind of hardware, in
sub-folders."""

from __future__ import annotations

import re
from pathlib import Path

from npcsdk.errors import ModelError

__all__ = ["GENAI", "inside", "weights_in"]

GENAI = "genai_config.json"
"""The file that makes a folder one of onnxruntime-genai's."""

_SIGNS = (GENAI, "openvino_model.xml", "config.json")
_DEPTH = 3
_MOST_FOLDERS = 2000


def weights_in(folder: Path) -> list[Path]:
    """The weights of a folder in Hugging Face's form."""
    return sorted({*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")})


def inside(folder: Path) -> tuple[Path | None, str]:
    """The model in a folder's sub-folders, and why that one: a repository may hold one for each kind of hardware.

    Raises:
        ModelError: there are several, and nothing says which.
    """
    pinned = _pinned(folder)
    if pinned is not None:
        return pinned, f"the hub's cache has it at revision {pinned.name[:12]}"
    found = _models_in(folder)
    if len(found) < 2:
        return (found[0], "it is the only model there") if found else (None, "")
    names = [path.relative_to(folder).as_posix() for path in found]
    plain = [
        path for path, name in zip(found, names, strict=True) if re.search(r"(^|[/_-])cpu([/_-]|$)", name)
    ]
    if len(plain) == 1:
        others = ", ".join(name for path, name in zip(found, names, strict=True) if path != plain[0])
        return plain[0], f"of {len(found)} models there it is the one for the CPU (the others: {others})"
    raise ModelError(
        f"The folder {folder} holds {len(found)} models: {', '.join(names[:8])}.",
        code="model_not_found",
        hint="Name the folder of one of them.",
    )


def _pinned(folder: Path) -> Path | None:
    """The snapshot that the hub client's own cache means by the branch main."""
    try:
        commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    path = folder / "snapshots" / commit
    return path if re.fullmatch(r"[0-9a-f]{7,64}", commit) and path.is_dir() else None


def _models_in(folder: Path) -> list[Path]:
    """Folders below that hold a model, the nearest of each branch."""
    found: list[Path] = []
    level, seen = [folder], 0
    for _ in range(_DEPTH):
        below: list[Path] = []
        for path in level:
            try:
                inner = sorted(
                    each for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")
                )
            except OSError:
                continue
            seen += len(inner)
            if seen > _MOST_FOLDERS:  # somebody's home, not a model's
                return []
            for each in inner:
                if _holds_one(each):
                    found.append(each)
                else:
                    below.append(each)
        level = below
    return sorted(found)


def _holds_one(folder: Path) -> bool:
    signs = [(folder / name).is_file() for name in _SIGNS]
    return any(signs[:2]) or any(folder.glob("*.gguf")) or (signs[2] and bool(weights_in(folder)))
