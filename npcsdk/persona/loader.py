"""From a folder to a world, with every mistake in one run.

    personas/
      world.yaml      what all share: `WorldFile`
      mara.yaml       a persona for each other *.yaml file: `Persona`
      lore/*.md       what characters may know, by tag: `LoreHeader` and text

`load_world` is for those who need a world, `check_paths` for those who need to know what is wrong with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from npcsdk.conditions import Condition, ConditionError, compile_condition
from npcsdk.errors import WorldError, WorldInvalid
from npcsdk.persona.checks import validate
from npcsdk.persona.diagnostics import Diagnostic, diagnose, did_you_mean
from npcsdk.persona.lore import Lore, read_lore
from npcsdk.persona.schema import COMMON_TAG, Persona, WorldDefinition, WorldFile
from npcsdk.persona.society import check_society
from npcsdk.persona.source import Path as KeyPath
from npcsdk.persona.source import Source, Span, decode
from npcsdk.persona.yaml_source import read_yaml

__all__ = ["check_paths", "load_world", "read_world"]

WORLD_FILE: Final = "world.yaml"
LORE_FOLDER: Final = "lore"
ROOMY_PERSONA: Final = 600
"""Tokens of persona text above which a designer is warned."""


def load_world(folder: Path | str) -> WorldDefinition:
    """Load the world in ``folder``.

    Raises WorldInvalid with every mistake in the message, or WorldError when there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WorldError(
            f"There is no world folder `{folder}`.",
            hint="`npcsdk init DIR` makes a world to start from.",
            code="world_missing",
        )
    try:
        world, diagnostics = read_world(folder)
    except OSError as error:
        world, diagnostics = None, [_unreadable(folder, error)]
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    if world is None or errors:
        count = "a mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        raise WorldInvalid(
            "\n\n".join([f"The world in `{folder}` has {count}.", *(error.render() for error in errors)]),
            hint=f"`npcsdk check {folder}` shows this again, with warnings.",
        )
    return world


def check_paths(paths: Iterable[Path | str]) -> list[Diagnostic]:
    """Every mistake in world folders and single files.

    A file inside a world is checked with the whole world at hand, and only its own mistakes are given. Raises
    nothing: a path that cannot be read is a mistake too.
    """
    found: dict[Diagnostic, None] = {}
    for path in map(Path, paths):
        try:
            found.update(dict.fromkeys(_check(path)))
        except OSError as error:
            found[_unreadable(path, error)] = None
    return list(found)


def _check(path: Path) -> list[Diagnostic]:
    if path.is_dir():
        return read_world(path)[1]
    file = path.as_posix()
    if not path.exists():
        return [diagnose("NPC023", file, problem="there is no such file or folder")]
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".md"):
        return [diagnose("NPC024", file)]
    for folder in path.parents:
        if (folder / WORLD_FILE).is_file():
            own = [diagnostic for diagnostic in read_world(folder)[1] if diagnostic.file == file]
            if own or path in _world_files(folder):
                return own
            break
    source = _open(path)
    if suffix == ".md":
        read_lore(source, path.name)
    else:
        read_yaml(source)
        if path.name == WORLD_FILE:
            validate(WorldFile, source)
        else:
            validate(Persona, source, id=_stem(path))
    return source.diagnostics


def _world_files(folder: Path) -> set[Path]:
    return {folder / WORLD_FILE, *_persona_files(folder), *_lore_files(folder)}


def _visible(path: Path, folder: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _persona_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in (".yaml", ".yml") and path.name != WORLD_FILE and _visible(path, folder)
    )


def _lore_files(folder: Path) -> list[Path]:
    lore = folder / LORE_FOLDER
    return sorted(path for path in lore.rglob("*") if path.suffix.lower() == ".md" and _visible(path, folder))


def _open(path: Path) -> Source:
    try:
        return decode(path.as_posix(), path.read_bytes())
    except OSError as error:
        source = Source(path.as_posix(), "")
        source.diagnostics.append(_unreadable(path, error))
        return source


def _unreadable(path: Path, error: OSError) -> Diagnostic:
    return diagnose("NPC023", path.as_posix(), problem=(error.strerror or str(error)).lower())


def _stem(path: Path) -> str:
    # macOS gives names in decomposed form; a persona is called the same everywhere.
    return unicodedata.normalize("NFC", path.stem)


@dataclass(frozen=True, slots=True)
class _PersonaFile:
    source: Source
    stem: str
    persona: Persona | None

    @property
    def id(self) -> str:
        written = _get(self.source, "id")
        return written if isinstance(written, str) else self.stem

    @property
    def name(self) -> str | None:
        written = _get(self.source, "name")
        return " ".join(written.split()) if isinstance(written, str) else None


def read_world(folder: Path) -> tuple[WorldDefinition | None, list[Diagnostic]]:
    """Read what is in ``folder``: the world, or None if there are errors, and all mistakes and warnings."""
    whole: list[Diagnostic] = []
    world_source, world = _read_world_file(folder, whole)
    files = _read_persona_files(folder)
    if not files:
        whole.append(diagnose("NPC021", folder.as_posix()))
    lore = _read_lore_files(folder)

    _check_names(files)
    for file in files:
        _check_references(file, files, world_source)
    _check_state_names(world_source, files)
    check_society(world_source, [file.id for file in files])
    # What is missing because a file could not be read is not worth a word.
    if (
        files
        and all(isinstance(file.source.value, dict) for file in files)
        and all(entry for _, entry in lore)
    ):
        _check_tags(lore, files)

    diagnostics = [
        *whole,
        *(
            diagnostic
            for source in (world_source, *(file.source for file in files), *(source for source, _ in lore))
            for diagnostic in sorted(source.diagnostics, key=lambda each: (each.line, each.column))
        ),
    ]
    if world is None or any(diagnostic.severity == "error" for diagnostic in diagnostics):
        return None, diagnostics
    personas = {file.persona.id: file.persona for file in files if file.persona}
    loaded = WorldDefinition.model_construct(
        **{name: getattr(world, name) for name in WorldFile.model_fields},
        folder=folder,
        personas={id: _with_names(persona, personas) for id, persona in personas.items()},
        lore=tuple(passage for _, entry in lore if entry for passage in entry.passages),
    )
    return loaded, diagnostics


def _read_world_file(folder: Path, whole: list[Diagnostic]) -> tuple[Source, WorldFile | None]:
    path = folder / WORLD_FILE
    if not path.exists():
        near = next(
            (each.name for each in sorted(folder.glob("*")) if each.name.lower() == "world.yml"), None
        )
        hint = f"Rename `{near}` to `{WORLD_FILE}`." if near else None
        whole.append(diagnose("NPC020", folder.as_posix(), hint=hint))
        return Source(path.as_posix(), ""), None
    source = _open(path)
    read_yaml(source)
    return source, validate(WorldFile, source)


def _read_persona_files(folder: Path) -> list[_PersonaFile]:
    files: list[_PersonaFile] = []
    for path in _persona_files(folder):
        if path.name.lower() == "world.yml":
            continue
        source = _open(path)
        read_yaml(source)
        files.append(_PersonaFile(source, _stem(path), validate(Persona, source, id=_stem(path))))
    return files


def _read_lore_files(folder: Path) -> list[tuple[Source, Lore | None]]:
    lore: list[tuple[Source, Lore | None]] = []
    for path in _lore_files(folder):
        source = _open(path)
        lore.append((source, read_lore(source, path.relative_to(folder).as_posix())))
    return lore


# What follows reads the files' plain values, not the models, so that a mistake in one key of a file does not
# hide what is wrong with the others.


def _get(source: Source, *path: str | int) -> Any:
    value = source.value
    for part in path:
        if isinstance(value, dict) and part in value:
            value = cast("dict[str | int, Any]", value)[part]
        else:
            return None
    return value


def _strings(source: Source, *path: str | int) -> Iterator[tuple[KeyPath, str]]:
    value = _get(source, *path)
    if isinstance(value, list):
        for index, entry in enumerate(cast("list[Any]", value)):
            if isinstance(entry, str):
                yield (*path, index), entry


def _keys(source: Source, *path: str | int) -> list[str]:
    value = _get(source, *path)
    return list(cast("dict[str, Any]", value)) if isinstance(value, dict) else []


def _check_names(files: list[_PersonaFile]) -> None:
    ids: dict[str, _PersonaFile] = {}
    names: dict[str, _PersonaFile] = {}
    for file in files:
        source = file.source
        first = ids.setdefault(file.id.casefold(), file)
        if first is not file:
            where = source.value_at(("id",)) if ("id",) in source.values else Span(1, 1)
            source.report("NPC022", where, id=file.id, other=_place(first, "id"))
        if file.name is None:
            continue
        first = names.setdefault(file.name.casefold(), file)
        if first is not file:
            source.report("NPC055", source.value_at(("name",)), name=file.name, other=_place(first, "name"))


def _place(file: _PersonaFile, key: str) -> str:
    return f"{file.source.file}:{file.source.value_at((key,)).line}"


def _check_references(file: _PersonaFile, files: list[_PersonaFile], world: Source) -> None:
    source = file.source
    actions = _keys(world, "actions")
    if world.readable:
        for path, name in _strings(source, "actions"):
            if name not in actions:
                hint = did_you_mean(name, actions) or (
                    None if actions else "world.yaml has no `actions:` yet."
                )
                source.report("NPC040", source.value_at(path), name=name, known=", ".join(actions), hint=hint)
    people = {spelled for other in files for spelled in (other.id, other.name) if spelled}
    for name in _keys(source, "relations"):
        # People without a file are allowed; a name that is nearly a persona's is a slip.
        hint = None if name in people else did_you_mean(name, people)
        if hint:
            source.report("NPC051", source.key_at(("relations", name)), name=name, hint=hint)
    if file.persona is not None:
        tokens = _prompt_length(file.persona) // 4
        if tokens > ROOMY_PERSONA:
            source.report("NPC056", Span(1, 1), tokens=tokens, limit=ROOMY_PERSONA)


def _prompt_length(persona: Persona) -> int:
    texts = (persona.name, persona.role, persona.about, persona.manner, persona.style)
    lists = (persona.examples, persona.goals, persona.refuses, persona.knowledge)
    relations = sum(len(name) + len(text) + 4 for name, text in persona.relations.items())
    return sum(map(len, texts)) + sum(len(text) + 4 for each in lists for text in each) + relations


def _check_state_names(world: Source, files: list[_PersonaFile]) -> None:
    shared = set(_keys(world, "state"))
    everybody = shared.union(*(_keys(file.source, "state") for file in files))
    for action in _keys(world, "actions"):
        _check_when(world, ("actions", action, "when"), everybody)
        for parameter in _keys(world, "actions", action, "parameters"):
            path: KeyPath = ("actions", action, "parameters", parameter, "from")
            written = _get(world, *path)
            name = written.removeprefix("state.") if isinstance(written, str) else ""
            if name and re.fullmatch(r"\w[\w.-]*", name) and name != written and name not in everybody:
                _report_unset(world, world.inside(path, len("state."), len(name)), name, everybody)
    for file in files:
        known = shared.union(_keys(file.source, "state"))
        secrets = _get(file.source, "secrets")
        if isinstance(secrets, list):
            for index in range(len(cast("list[Any]", secrets))):
                _check_when(file.source, ("secrets", index, "when"), known)


def _check_when(source: Source, path: KeyPath, known: set[str]) -> None:
    condition = _condition(source, path)
    for mention in condition.mentions if condition else ():
        if mention.name not in known:
            where = source.inside(path, mention.offset, len(mention.name))
            _report_unset(source, where, mention.name, known)


def _report_unset(source: Source, where: Span, name: str, known: set[str]) -> None:
    source.report("NPC050", where, name=name, hint=did_you_mean(name, known))


def _condition(source: Source, path: KeyPath) -> Condition | None:
    written = source.scalars.get(path)
    try:
        return compile_condition(written.text) if written else None
    except ConditionError:
        return None  # reported where it was validated


def _check_tags(lore: list[tuple[Source, Lore | None]], files: list[_PersonaFile]) -> None:
    known = {COMMON_TAG, *(tag for _, entry in lore if entry for tag in entry.tags)}
    listed = ", ".join(sorted(known))
    for source, path, tag in (
        (file.source, *found) for file in files for found in _strings(file.source, "knows")
    ):
        if tag not in known:
            source.report(
                "NPC052", source.value_at(path), tag=tag, known=listed, hint=did_you_mean(tag, known)
            )
    wanted = {tag for file in files for _, tag in _strings(file.source, "knows")} | {COMMON_TAG}
    reported: set[str] = set()
    for source, entry in lore:
        for tag in sorted(entry.tags - wanted - reported) if entry else ():
            reported.add(tag)
            tags = cast("list[Any]", _get(source, "tags") or [])
            where = source.value_at(("tags", tags.index(tag) if tag in tags else 0))
            source.report("NPC053", where, tag=tag)


def _with_names(persona: Persona, personas: dict[str, Persona]) -> Persona:
    """The persona with its relations under people's names, where they were written under ids."""
    relations = {
        personas[who].name if who in personas else who: what for who, what in persona.relations.items()
    }
    return persona if relations == persona.relations else persona.model_copy(update={"relations": relations})
