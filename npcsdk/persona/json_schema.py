"""JSON Schemas of the files that designers write, for completion and checking in their editors.

They are generated from the models of `npcsdk.persona.schema`. A file names its schema in its first line:

    # yaml-language-server: $schema=.schema/persona.schema.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from npcsdk.persona.schema import Persona, WorldFile

__all__ = ["SCHEMA_FOLDER", "json_schemas", "write_schemas"]

SCHEMA_FOLDER: Final = ".schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """The schemas by file name: ``world.schema.json`` and ``persona.schema.json``."""
    world = WorldFile.model_json_schema()
    persona = Persona.model_json_schema()
    # The file's name stands in for a persona's id.
    persona["required"].remove("id")
    definitions = world["$defs"]
    reference = {"$ref": "#/$defs/ParameterEntry"}
    kinds = definitions["ParameterEntry"]["properties"]["type"]["enum"]
    short = {"enum": kinds, "description": "Short for `{type: ...}`."}
    parameters = definitions["ActionEntry"]["properties"]["parameters"]
    _replace(parameters, reference, {"anyOf": [short, reference]})
    return {
        "world.schema.json": _tidy("A world", world),
        "persona.schema.json": _tidy("A persona", persona),
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write the schemas into the folder ``.schema`` of the world in ``folder``. Gives the files."""
    target = folder / SCHEMA_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for name, schema in json_schemas().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        files.append(target / name)
        files[-1].write_text(text, encoding="utf-8", newline="\n")
    return files


def _replace(value: Any, old: Any, new: Any) -> None:
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        for key, inner in table.items():
            if inner == old:
                table[key] = new
            else:
                _replace(inner, old, new)


def _tidy(title: str, schema: dict[str, Any]) -> dict[str, Any]:
    tidied = cast("dict[str, Any]", _without_noise(schema))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tidied, "title": title}


def _without_noise(value: Any, *, names: bool = False) -> Any:
    """Without generated titles, and without null, which these files do not use.

    ``names`` tells that the keys of ``value`` are property names and not words of JSON Schema.
    """
    if isinstance(value, list):
        return [_without_noise(inner) for inner in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    table = cast("dict[str, Any]", value)
    if names:
        return {key: _without_noise(inner) for key, inner in table.items()}
    tidied: dict[str, Any] = {}
    for key, inner in table.items():
        if key == "title" or (key == "default" and inner is None):
            continue
        if key == "anyOf":
            choices = [choice for choice in inner if choice != {"type": "null"}]
            if len(choices) == 1:
                tidied = {**cast("dict[str, Any]", _without_noise(choices[0])), **tidied}
                continue
            inner = choices
        tidied[key] = _without_noise(inner, names=key in ("properties", "$defs", "patternProperties"))
    return tidied
