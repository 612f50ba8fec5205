"""``npcsdk bindings unity|unreal DIR``: the client for a game engine, put into a game's project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from npcsdk.cli.output import errors, reports_errors
from npcsdk.cli.placing import carry_out, make_plan, read_manifest
from npcsdk.errors import WorldError

__all__ = ["bindings", "package_files"]

Engine = Literal["unity", "unreal"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where an engine wants what."""

    engine: str
    marks: tuple[str, ...]  # of a project's own folder
    target: str
    sources: tuple[tuple[str, str], ...]  # below `bindings`, and inside the target
    next_steps: str


_LAYOUTS: Final[dict[Engine, _Layout]] = {
    "unity": _Layout(
        engine="Unity",
        marks=("Assets", "ProjectSettings"),
        target="Packages/org.npcsdk.unity",
        sources=(("csharp", ""), ("unity/README.md", "Documentation~/index.md")),
        next_steps="Add an Npc Bridge and an Npc Character to a scene; see Documentation~/index.md.",
    ),
    "unreal": _Layout(
        engine="Unreal",
        marks=("*.uproject",),
        target="Plugins/NpcSdk",
        sources=(("unreal", ""), ("cpp/include/npcsdk", "Source/ThirdParty/npcsdk/include/npcsdk")),
        next_steps="Build the project and enable the plugin NpcSdk; see README.md in its folder.",
    ),
}
_PACKAGE = Path(__file__).resolve().parents[1]
_HIDDEN = {
    "__pycache__",
    "Binaries",
    "Intermediate",
    "Library",
    "obj",
    "bin",
}  # a checkout may have been built in


@reports_errors
def bindings(
    engine: Annotated[Engine, typer.Argument(metavar="unity|unreal", help="The engine of your game.")],
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The game's project: the folder with Assets, or the .uproject."),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite also what was changed, and take any folder for a project."),
    ] = False,
) -> None:
    """Put the client for a game engine into a game's project, or bring it up to date.

    Files that somebody has changed are left alone, and named.
    """
    layout = _LAYOUTS[engine]
    if not force and not any(any(directory.glob(mark)) for mark in layout.marks):
        raise WorldError(
            f"{directory} is no {layout.engine} project: it has no {' and no '.join(layout.marks)}.",
            hint="Name the project's own folder (--force takes any).",
            code="no_project",
        )
    target = directory / layout.target
    ours = package_files(engine)
    try:
        manifest = read_manifest(target)
    except WorldError:
        if not force:
            raise
        manifest = {}
    try:
        there = {
            path: (target / path).read_bytes() for path in {*ours, *manifest} if (target / path).is_file()
        }
        plan = make_plan(ours, there, manifest, force=force)
        carry_out(target, ours, plan, manifest)
    except OSError as error:
        raise WorldError(
            f"{error.filename or target} cannot be written: {error.strerror}.",
            hint="Close the editor if it holds the file, and check who may write there.",
            code="unwritable",
        ) from error
    sys.stdout.write(
        f"{target}: {len(plan.new)} new, {len(plan.updated)} updated, {len(plan.removed)} removed, "
        f"{len(plan.same)} as they were\n"
    )
    if plan.changed:
        listed = "\n".join(f"  {path}" for path in sorted(plan.changed))
        errors.print(listed, markup=False)
        raise WorldError(
            f"Changed by somebody else, and left alone: {len(plan.changed)} of the files.",
            hint="Move your changes out of the package, or overwrite them with --force.",
            code="changed_files",
        )
    sys.stdout.write(layout.next_steps + "\n")


def package_files(engine: Engine) -> dict[str, bytes]:
    """The files of an engine's package, by their paths inside it.

    Raises:
        WorldError: ``bindings_missing``, the installation has lost them.
    """
    root = _root()
    files: dict[str, bytes] = {}
    for source, inside in _LAYOUTS[engine].sources:
        for path, name in _walk(root / source, inside):
            files[name] = path.read_bytes()
    return files


def _walk(source: Path, inside: str) -> Iterator[tuple[Path, str]]:
    if source.is_file():
        yield source, inside
        return
    for path in sorted(source.rglob("*")):
        within = path.relative_to(source)
        if path.is_file() and not _HIDDEN.intersection(within.parts):
            yield path, f"{inside}/{within.as_posix()}".lstrip("/")


def _root() -> Path:
    """A wheel carries the bindings inside the package; in a checkout they stand next to it."""
    for folder in (_PACKAGE / "_bindings", _PACKAGE.parent / "bindings"):
        if (folder / "csharp" / "package.json").is_file():
            return folder
    raise WorldError(
        "The clients for game engines are missing from this installation.",
        hint="Install npcsdk again.",
        code="bindings_missing",
    )
