"""What makes an action's definition unusable, told when it is defined and not in the middle of a game. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from npcsdk.errors import ActionError

__all__ = ["check_distinct", "name_problem", "schema_problem"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}\Z")
_CONTROL: Final = re.compile(
    r"(toolcalls?|tool_calls?|extra_id_\d+|python_tag|(start|end)_of_turn|(begin|end)_of_text|end_?of_?text"
    r"|(start|end)_header_id|e[om]t_id|eom_id|im_(start|end)|inst|bos|eos|pad|unk)\Z",
    re.IGNORECASE,
)
_REFERENCE: Final = re.compile(r'"\$(?:ref|dynamicRef)": "((?:[^"\\]|\\.)*)"')


def name_problem(name: Any) -> str | None:
    """Why an action cannot have this name; the text is a hint."""
    if not isinstance(name, str) or not _NAME.match(name):
        return "Use letters, digits, '_', '-' and '.', at most 64, beginning with a letter."
    if _CONTROL.match(name):
        return "A model's own control tokens are called so; take another name."
    return None


def check_distinct(names: Iterable[str]) -> None:
    """Refuse names that models and players cannot tell apart.

    Raises:
        ActionError: ``names_differ_in_case``, with both names.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ActionError(
                f"The actions {other!r} and {name!r} differ in case only.",
                hint="Rename one of them: a model mixes them up, and a misspelled call could mean either.",
                code="names_differ_in_case",
            )


def schema_problem(parameters: Any) -> str | None:
    """What makes ``parameters`` unusable as the schema of an action's arguments."""
    if not isinstance(parameters, Mapping):
        return "not an object"
    schema = cast("Mapping[str, Any]", parameters)
    if not schema.get("properties") and schema.keys() <= {"type", "properties", "required"}:
        fine = schema.get("type", "object") == "object" and schema.get("properties", {}) == {}
        if fine and not schema.get("required"):
            return None  # nothing to check: spares games without arguments the checker's import
    from jsonschema import Draft202012Validator, FormatChecker  # here: `import npcsdk` loads no dependency
    from jsonschema.exceptions import SchemaError

    try:
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        text.encode()  # half a surrogate pair: no tokenizer and no wire can take it
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(["regex"]))
    except SchemaError as error:
        return error.message[:200]
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)[:200]
    if schema.get("type", "object") != "object":
        return f"its type is {schema['type']!r}"
    defined = cast("Mapping[str, Any]", schema.get("$defs", {}))
    for reference in _REFERENCE.findall(
        text
    ):  # nothing is fetched, and nothing can be missing when a call comes
        if reference == "#" or reference.startswith("#/properties"):
            return f"it is recursive: it refers to {reference!r}"
        if reference.removeprefix("#/$defs/") not in defined:
            return f"{reference!r} is not in its $defs"
    circle = _circle(defined)
    return f"it is recursive: {' → '.join(circle)}" if circle else None


def _circle(defined: Mapping[str, Any]) -> list[str]:
    """Definitions that lead back to the first of them, if any do: a model could go round for ever."""
    leads = {
        name: [
            reference.removeprefix("#/$defs/")
            for reference in _REFERENCE.findall(json.dumps(one, ensure_ascii=False))
        ]
        for name, one in defined.items()
    }
    done: set[str] = set()
    for first in leads:
        path: list[str] = []
        left = [iter([first])]
        while left:
            name = next(left[-1], None)
            if name is None:
                left.pop()
                done.update(path[-1:])
                del path[-1:]
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name not in done:
                path.append(name)
                left.append(iter(leads.get(name, ())))
    return []
