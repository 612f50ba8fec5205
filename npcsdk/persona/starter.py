"""Worlds to begin with: the one that ``npcsdk init DIR`` makes, and the one that ships with npcsdk."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from npcsdk.errors import WorldError
from npcsdk.persona.json_schema import write_schemas

__all__ = ["create_world", "shipped_world"]

_STARTER: Final = "starter_world"
_PACKAGE: Final = Path(__file__).resolve().parent.parent


def create_world(directory: Path | str) -> list[Path]:
    """Make a small commented world in ``directory``, which must be new or empty. Gives the files written.

    Raises WorldError when there is something in the folder, or it cannot be written.
    """
    directory = Path(directory)
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise WorldError(
                f"`{directory}` is not an empty folder.",
                hint="Name a folder that does not exist yet; nothing was written.",
                code="folder_not_empty",
            )
        written = _copy(files("npcsdk.persona") / _STARTER, directory)
        return [*written, *write_schemas(directory)]
    except OSError as error:
        raise WorldError(
            f"The world cannot be written to `{directory}`: {error.strerror or error}.",
            hint="Choose a folder that you may write to.",
            code="folder_not_writable",
        ) from error


def _copy(source: Traversable, target: Path) -> list[Path]:
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        path = target / entry.name
        if entry.is_dir():
            written.extend(_copy(entry, path))
        else:
            path.write_bytes(entry.read_bytes())
            written.append(path)
    return written


def shipped_world() -> Path:
    """The folder of the personas that ship with npcsdk.

    A wheel carries them inside the package; in a checkout they stand next to it. Raises WorldError when
    an installation has lost them.
    """
    for folder in (_PACKAGE / "_personas", _PACKAGE.parent / "personas"):
        if (folder / "world.yaml").is_file():
            return folder
    raise WorldError(
        "The personas that ship with npcsdk are missing from this installation.",
        hint="Install npcsdk again, or name a world folder of your own with `--world DIR`.",
        code="world_missing",
    )
