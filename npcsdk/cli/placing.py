"""Files of ours in a folder of somebody else's: new ones are written, ours brought up to date, theirs left alone.

A manifest in the folder says what was put there, by hash. What has another hash than the manifest says was changed by
somebody else. Line endings do not count: a version control system may turn them on its way.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from npcsdk.errors import WorldError

__all__ = ["MANIFEST", "Plan", "carry_out", "make_plan", "read_manifest"]

MANIFEST: Final = ".npcsdk-files.json"


@dataclass(slots=True)
class Plan:
    """What is to become of each file, by its path in the folder with forward slashes."""

    new: list[str] = field(default_factory=list[str])
    updated: list[str] = field(default_factory=list[str])
    same: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    """Ours, unchanged, and not part of this version any more."""
    changed: list[str] = field(default_factory=list[str])
    """Not as we left them: somebody else's, to be left alone."""


def make_plan(
    ours: Mapping[str, bytes], there: Mapping[str, bytes], manifest: Mapping[str, str], *, force: bool
) -> Plan:
    """Compare. Pure.

    Args:
        ours: the files of this version.
        there: what the folder holds of ours and of the manifest's files.
        manifest: hashes of what was put there the last time.
        force: take what was changed for ours.
    """
    plan = Plan()
    for path, content in ours.items():
        if path not in there:
            plan.new.append(path)
        elif _digest(there[path]) == _digest(content):
            plan.same.append(path)
        elif force or manifest.get(path) == _digest(there[path]):
            plan.updated.append(path)
        else:
            plan.changed.append(path)
    for path in manifest:
        if path not in ours and path in there:
            kept = not force and manifest[path] != _digest(there[path])
            (plan.changed if kept else plan.removed).append(path)
    return plan


def carry_out(folder: Path, ours: Mapping[str, bytes], plan: Plan, manifest: Mapping[str, str]) -> None:
    """Write, remove, and say in the manifest what there is of ours now.

    What was changed keeps the hash that it had as ours: once it is put back, the next version may replace it.
    """
    for path in (*plan.new, *plan.updated):
        _write(folder / path, ours[path])
    for path in plan.removed:
        (folder / path).unlink()
        for parent in PurePosixPath(path).parents:
            if parent == PurePosixPath(".") or any((folder / parent).iterdir()):
                break
            (folder / parent).rmdir()
    files = {path: _digest(content) for path, content in ours.items() if path not in plan.changed}
    files |= {path: manifest[path] for path in plan.changed if path in manifest}
    text = json.dumps({"format": 1, "files": dict(sorted(files.items()))}, indent=1)
    _write(folder / MANIFEST, (text + "\n").encode())


def read_manifest(folder: Path) -> dict[str, str]:
    """Hashes of what was put there; empty when nothing was.

    Raises:
        WorldError: ``bad_manifest``, it cannot be read. Its paths are deleted by: none of them leads out of the folder.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        read: Any = json.loads(path.read_text(encoding="utf-8"))
        files = cast("dict[Any, Any]", read["files"])
        known = {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad_manifest(path) from error
    if not all(_stays_inside(name) for name in known):
        raise _bad_manifest(path)
    return known


def _bad_manifest(path: Path) -> WorldError:
    return WorldError(
        f"{path} does not say what was put there.",
        hint="Remove it: files that differ from this version are then taken for your own (or use --force).",
        code="bad_manifest",
    )


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and not set(name) & set("\\:\0")
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """At once or not at all: an editor may be watching the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.npcsdk-new")
    beside.write_bytes(content)
    os.replace(beside, path)
