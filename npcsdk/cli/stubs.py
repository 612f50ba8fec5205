"""Typed code for a world's actions, in the languages of engines: pure, from definitions to text.

For every action a type with its arguments as fields, enums for closed lists of words, and a function that builds it
from the arguments of an ``action`` event. The C# part (C# 7.3, as Unity has it) needs our client; the
C++ part needs nothing but C++17, without exceptions: engines switch them off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from npcsdk.actions.schema import ActionDefinition

__all__ = ["FILE_NAMES", "cpp", "csharp"]

FILE_NAMES: Final = {"csharp": "NpcActions.cs", "cpp": "npc_actions.hpp"}
_HEAD: Final = "Written by `npcsdk actions --stubs {language}` from the actions of {world}. Changes are lost."
_RESERVED_WORDS: Final = """
abstract alignas alignof and asm auto base bool break byte case catch char checked class concept const continue
decimal decltype default delegate delete do double dynamic else enum event explicit export extern false finally
fixed float for foreach friend goto if implicit in inline int interface internal is lock long mutable namespace new
noexcept not null nullptr object operator or out override params private protected public readonly ref register
requires return sbyte sealed short signed sizeof stackalloc static string struct switch template this throw true
try typedef typeid typename typeof uint ulong union unchecked unsafe unsigned ushort using virtual void volatile
wchar_t while xor
"""
_RESERVED: Final = frozenset(_RESERVED_WORDS.split())


def _pascal(name: str) -> str:
    made = "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name) if part)
    return made if made and not made[0].isdigit() else f"N{made}"


def _snake(name: str) -> str:
    made = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_").lower()
    made = made if made and not made[0].isdigit() else f"n_{made}"
    return f"{made}_" if made in _RESERVED else made


def _distinct(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The names, with a number behind those that would be the same."""
    used = set(taken)
    made: list[str] = []
    for name in names:
        chosen, number = name, 2
        while chosen in used:
            chosen, number = f"{name}{number}", number + 1
        used.add(chosen)
        made.append(chosen)
    return made


def _quoted(text: str) -> str:
    """A string literal that both languages read alike."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return " ".join(text.split()).replace("*/", "* /").replace("\\", "/")


class _Field:
    """One parameter: its own name, its kind in our words, and whether it may be left out."""

    def __init__(self, name: str, schema: Mapping[str, Any], required: bool) -> None:
        self.name = name
        self.description = str(schema.get("description", ""))
        values: Sequence[Any] = schema.get("enum", ())
        self.values = [value for value in values if isinstance(value, str)] if values else []
        closed = bool(self.values) and len(self.values) == len(values)
        self.kind = "enum" if closed else str(schema.get("type", ""))
        self.optional = not required and schema.get("default") is None


def _fields(definition: ActionDefinition) -> list[_Field]:
    properties = cast("Mapping[str, Mapping[str, Any]]", definition.parameters.get("properties", {}))
    required = cast("Sequence[str]", definition.parameters.get("required", ()))
    return [_Field(name, schema, name in required) for name, schema in properties.items()]


_CSHARP: Final = {"string": "string", "integer": "long", "number": "double", "boolean": "bool"}

# A target's id may be a number where its name is text.
_CSHARP_READ: Final = {
    "string": "Read.Text({})",
    "long": "{}.AsInteger",
    "double": "{}.AsNumber",
    "bool": "{}.AsBool",
}


def csharp(world: str, definitions: Sequence[ActionDefinition]) -> str:
    """A C# file: a class for each action, with ``From`` that reads an event's arguments.

    It throws the client's ``NpcException`` for arguments that are not the action's: a file older than the world.
    """
    lines = [
        f"// {_HEAD.format(language='csharp', world=_comment(world))}",
        "namespace Npcsdk.Actions",
        "{",
    ]
    types = _distinct((_pascal(one.name) for one in definitions), _OF_THE_CLIENT)
    for type_name, definition in zip(types, definitions, strict=True):
        lines += _csharp_class(type_name, definition)
    lines += [
        "    internal static class Read",
        "    {",
        "        public static string Text(Value value)",
        "        {",
        "            return value.IsNull ? null : value.ToString();",
        "        }",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


_OF_THE_CLIENT: Final = ("Read", "Value", "ValueMap", "NpcException")


def _csharp_class(type_name: str, definition: ActionDefinition) -> list[str]:
    fields = _fields(definition)
    taken = {
        type_name,
        "Name",
        "From",
        "Read",
        "Equals",
        "GetHashCode",
        "GetType",
        "ToString",
        "MemberwiseClone",
    }
    taken |= {"Finalize", "ReferenceEquals"}
    names = _distinct((_pascal(field.name) for field in fields), taken)
    taken.update(names)
    lines = [
        f"    /// <summary>{_xml(definition.description)}</summary>",
        f"    public sealed class {type_name}",
        "    {",
    ]
    lines.append(f"        public const string Name = {_quoted(definition.name)};")
    reading: list[str] = []
    for name, field in zip(names, fields, strict=True):
        kind = _CSHARP.get(field.kind, "Value")
        read = _CSHARP_READ.get(kind, "{}")
        if field.kind == "enum":
            kind, reader = _distinct((f"{name}Value", f"Read{name}"), taken)
            taken |= {kind, reader}
            members = _distinct(_pascal(value) for value in field.values)
            lines += ["", f"        public enum {kind} {{ {', '.join(members)} }}", ""]
            lines += [
                f"        private static {kind} {reader}(string text)",
                "        {",
                "            switch (text)",
                "            {",
            ]
            lines += [
                f"                case {_quoted(value)}: return {kind}.{member};"
                for value, member in zip(field.values, members, strict=True)
            ]
            lines += [
                "                default:",
                '                    throw new NpcException("wrong_value", '
                f"{_quoted(f'No value of {field.name}: ')} + text, "
                '"Write the stubs again.");',
                "            }",
                "        }",
            ]
            read = f"{reader}(Read.Text({{}}))"
        nullable = f"{kind}?" if field.optional and kind not in ("string", "Value") else kind
        if field.description:
            lines.append(f"        /// <summary>{_xml(field.description)}</summary>")
        lines.append(f"        public {nullable} {name};")
        value = f"arguments[{_quoted(field.name)}]"
        if field.optional:
            reading.append(f"            if (!{value}.IsNull) made.{name} = {read.format(value)};")
        else:
            reading.append(f"            made.{name} = {read.format(value)};")
    lines += [
        "",
        f"        public static {type_name} From(ValueMap arguments)",
        "        {",
        f"            var made = new {type_name}();",
        *reading,
        "            return made;",
        "        }",
        "    }",
        "",
    ]
    return lines


def _xml(text: str) -> str:
    return _comment(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_CPP: Final = {"string": "std::string", "integer": "std::int64_t", "number": "double", "boolean": "bool"}
_CPP_GET: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "flag"}


def cpp(world: str, definitions: Sequence[ActionDefinition]) -> str:
    """A C++17 header: a struct for each action, with ``from`` that reads an event's arguments.

    It gives nothing for arguments that are not the action's: a header older than the world. It throws nothing.
    ``Arguments`` is any type with ``has(name)``, ``text(name)``, ``integer(name)``, ``number(name)`` and
    ``flag(name)``. Lists and objects are left to the game: their fields are not in the struct.
    """
    lines = [
        f"// {_HEAD.format(language='cpp', world=_comment(world))}",
        "#pragma once",
        "",
        "#include <cstdint>",
        "#include <optional>",
        "#include <string>",
        "",
        "namespace npcsdk::actions {",
        "",
    ]
    types = _distinct(_pascal(one.name) for one in definitions)
    for type_name, definition in zip(types, definitions, strict=True):
        lines += _cpp_struct(type_name, definition)
    lines.append("}  // namespace npcsdk::actions")
    return "\n".join(lines) + "\n"


def _cpp_struct(type_name: str, definition: ActionDefinition) -> list[str]:
    fields = [field for field in _fields(definition) if field.kind == "enum" or field.kind in _CPP]
    names = _distinct((_snake(field.name) for field in fields), ("name", "from", "made", "arguments", "text"))
    taken = {"name", "from", "made", "arguments", type_name, *names}
    lines = [f"/// {_comment(definition.description)}", f"struct {type_name} {{"]
    lines.append(f"    static constexpr const char* name = {_quoted(definition.name)};")
    lines += [
        f"    // {_comment(field.name)}: no plain value; the game reads it from the arguments"
        for field in _fields(definition)
        if field.kind != "enum" and field.kind not in _CPP
    ]
    reading: list[str] = []
    local = _distinct(("value",), names)[0]
    for name, field in zip(names, fields, strict=True):
        kind, get = _CPP.get(field.kind, ""), _CPP_GET.get(field.kind, "text")
        read = f"arguments.{get}({_quoted(field.name)})"
        if field.kind == "enum":
            kind, reader = _distinct((f"{_pascal(name)}Value", f"read_{name}"), taken)
            taken |= {kind, reader}
            members = _distinct(_pascal(value) for value in field.values)
            lines += [f"    enum class {kind} {{ {', '.join(members)} }};"]
            lines += [f"    static std::optional<{kind}> {reader}(const std::string& text) {{"]
            lines += [
                f"        if (text == {_quoted(value)}) return {kind}::{member};"
                for value, member in zip(field.values, members, strict=True)
            ]
            lines += ["        return std::nullopt;", "    }"]
            read = f"{reader}({read})"
        if field.description:
            lines.append(f"    /// {_comment(field.description)}")
        if field.optional:
            lines.append(f"    std::optional<{kind}> {name};")
            reading.append(f"        if (arguments.has({_quoted(field.name)})) {{")
        else:
            lines.append(f"    {kind} {name}{{}};")
            reading.append(f"        if (!arguments.has({_quoted(field.name)})) return std::nullopt;")
            reading.append("        {")
        if field.kind == "enum":
            reading.append(f"            const auto {local} = {read};")
            reading.append(f"            if (!{local}) return std::nullopt;")
            read = f"*{local}"
        reading += [f"            made.{name} = {read};", "        }"]
    lines += [
        "",
        "    template <class Arguments>",
        f"    static std::optional<{type_name}> from([[maybe_unused]] const Arguments& arguments) {{",
        f"        {type_name} made;",
        *reading,
        "        return made;",
        "    }",
        "};",
        "",
    ]
    return lines
