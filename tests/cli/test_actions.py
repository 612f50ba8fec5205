"""``npcsdk actions``: schemas, and code that compiles."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from npcsdk.actions.schema import ActionDefinition
from npcsdk.cli.stubs import cpp, csharp
from tests.bindings.cpp_build import CPP, WARNINGS, needs_compiler
from tests.bindings.csharp_build import CSHARP, needs_mono
from tests.cli.conftest import Run

NASTY = [
    ActionDefinition(
        name="open-gate.now",
        description='Opens */ it; "quoted" \\ <b> & more\nlines',
        parameters={
            "type": "object",
            "properties": {
                "class": {"type": "string", "description": "a reserved word"},
                "name": {"type": "string"},
                "from": {"type": "integer"},
                "gate": {"enum": ["Grüner Weg", "旅人", "iron gate", "iron-gate", '"q"', "a\\b", "class"]},
                "times": {"type": "integer", "minimum": 1},
                "share": {"type": "number", "default": 0.5},
                "loud": {"type": "boolean"},
                "things": {"type": "array", "items": {"type": "string"}},
                "größe": {"type": "string"},
                "openGateNow": {"type": "string"},
                "value": {"enum": ["a", "b"]},
                "gate_value": {"type": "integer"},
                "read_gate": {"type": "integer"},
                "read": {"type": "boolean"},
                "text": {"type": "string"},
            },
            "required": ["class", "name", "gate", "times"],
        },
    ),
    ActionDefinition(name="open_gate_now"),
    ActionDefinition(name="read"),
    ActionDefinition(name="string"),
]


def test_prints_the_schemas(npcsdk: Run) -> None:
    done = npcsdk("actions")
    assert done.returncode == 0, done.stderr
    known = [ActionDefinition.from_dict(one) for one in json.loads(done.stdout)]
    assert "open_gate" in [one.name for one in known]
    done = npcsdk("actions", "--openai")
    again = [ActionDefinition.from_openai(one) for one in json.loads(done.stdout)]
    assert [(one.name, one.parameters) for one in again] == [(one.name, one.parameters) for one in known]


def test_writes_stubs(npcsdk: Run, tmp_path: Path) -> None:
    for language, name in (("csharp", "NpcActions.cs"), ("cpp", "npc_actions.hpp")):
        done = npcsdk("actions", "--stubs", language, "made/here")
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "made" / "here" / name).read_text(encoding="utf-8")
        assert "OpenGate" in text
        assert '"open_gate"' in text


@pytest.mark.parametrize("arguments", [["--stubs", "csharp"], ["folder"], ["--stubs", "cobol", "folder"]])
def test_half_a_command_is_refused(npcsdk: Run, arguments: list[str]) -> None:
    done = npcsdk("actions", *arguments)
    assert done.returncode == 2
    assert not done.stdout


PROGRAM = r"""
#include <cassert>
#include <map>
#include "npc_actions.hpp"

struct Arguments {
    std::map<std::string, std::string> values;
    bool has(const char* name) const { return values.count(name) > 0; }
    std::string text(const char* name) const { return values.at(name); }
    std::int64_t integer(const char* name) const { return std::stoll(values.at(name)); }
    double number(const char* name) const { return std::stod(values.at(name)); }
    bool flag(const char* name) const { return values.at(name) == "true"; }
};

int main() {
    using npcsdk::actions::OpenGateNow;
    Arguments arguments{{{"class", "a"}, {"name", "b"}, {"gate", "iron-gate"}, {"times", "3"}, {"share", "0.5"}}};
    auto made = OpenGateNow::from(arguments);
    assert(std::string(OpenGateNow::name) == "open-gate.now");
    assert(made && made->class_ == "a" && made->name2 == "b" && made->times == 3 && made->share == 0.5);
    assert(made->gate == OpenGateNow::GateValue::IronGate2);
    assert(!made->loud.has_value() && !made->from2.has_value() && !made->value.has_value());
    assert(std::string(npcsdk::actions::OpenGateNow2::name) == "open_gate_now");
    assert(npcsdk::actions::OpenGateNow2::from(arguments));
    arguments.values["value"] = "b";
    assert(OpenGateNow::from(arguments)->value == OpenGateNow::ValueValue::B);
    for (const char* name : {"gate", "value"}) {  // not in its list: a header older than the world
        auto other = arguments;
        other.values[name] = "moon";
        assert(!OpenGateNow::from(other));
    }
    arguments.values.erase("times");
    assert(!OpenGateNow::from(arguments));
    return 0;
}
"""


CLIENT_PROGRAM = r"""
#include <cassert>
#include <npcsdk/json.hpp>
#include <npcsdk/value.hpp>
#include "npc_actions.hpp"

int main() {
    const auto data = npcsdk::data_from_json(
        R"({"class": "a", "name": "b", "gate": "iron gate", "times": 3, "share": 0.5, "loud": true})");
    const npcsdk::Value arguments = npcsdk::Value::parse(data.span());
    const auto made = npcsdk::actions::OpenGateNow::from(arguments);
    assert(made && made->gate == npcsdk::actions::OpenGateNow::GateValue::IronGate && made->loud == true);
    return made->times == 3 ? 0 : 1;
}
"""


@needs_compiler
def test_the_cpp_compiles_and_reads(tmp_path: Path) -> None:
    (tmp_path / "npc_actions.hpp").write_text(cpp("A */ \n world", NASTY), encoding="utf-8")
    (tmp_path / "main.cpp").write_text(PROGRAM, encoding="utf-8")
    flags = [*WARNINGS, "-fno-exceptions", "-fno-rtti"]
    compile_ = ["g++", "-std=c++17", *flags, "main.cpp", "-o", "main"]
    done = subprocess.run(compile_, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


@needs_compiler
def test_the_cpp_reads_what_the_client_gives(tmp_path: Path) -> None:
    """The arguments of an event of our own C++ client, as they are."""
    (tmp_path / "npc_actions.hpp").write_text(cpp("World", NASTY), encoding="utf-8")
    (tmp_path / "main.cpp").write_text(CLIENT_PROGRAM, encoding="utf-8")
    flags = [*WARNINGS, "-fno-exceptions", "-fno-rtti", "-I", str(CPP / "include")]
    compile_ = ["g++", "-std=c++17", *flags, "main.cpp", "-o", "main"]
    done = subprocess.run(compile_, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


CSHARP_PROGRAM = r"""
using System;
using Npcsdk;
using Npcsdk.Actions;

static class Program
{
    static void Check(bool fine)
    {
        if (!fine) throw new Exception("it is not so");
    }

    static void Main()
    {
        var arguments = new ValueMap
        {
            { "class", "a" }, { "name", 7 }, { "gate", "iron-gate" }, { "times", 3 }, { "share", 0.5 },
            { "things", new ValueList { "x" } },
        };
        var made = OpenGateNow.From(arguments);
        Check(OpenGateNow.Name == "open-gate.now" && OpenGateNow2.Name == "open_gate_now");
        Check(made.Class == "a" && made.Name2 == "7" && made.Times == 3 && made.Share == 0.5);
        Check(made.Gate == OpenGateNow.GateValue2.IronGate2);
        Check(made.Loud == null && made.From2 == null && made.Value == null && made.Things.AsList.Count == 1);
        arguments["value"] = "b";
        Check(OpenGateNow.From(arguments).Value == OpenGateNow.ValueValue.B);
        arguments["value"] = "moon";
        try
        {
            OpenGateNow.From(arguments);
        }
        catch (NpcException)
        {
            return;
        }
        Check(false);
    }
}
"""


@needs_mono
def test_the_csharp_compiles_and_reads(tmp_path: Path) -> None:
    (tmp_path / "NpcActions.cs").write_text(csharp("A */ \n world", NASTY), encoding="utf-8")
    (tmp_path / "Program.cs").write_text(CSHARP_PROGRAM, encoding="utf-8")
    # 7.2 is the newest version that this compiler has a name for; 7.3 reads all of it.
    files = [*sorted(CSHARP.glob("Runtime/*.cs")), "NpcActions.cs", "Program.cs"]
    compile_ = ["mcs", "-langversion:7.2", "-warnaserror", "-out:made.exe", *map(str, files)]
    done = subprocess.run(compile_, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["mono", "made.exe"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_csharp_has_every_field() -> None:
    text = csharp("World", NASTY)
    for piece in (
        "public sealed class OpenGateNow\n",
        "public sealed class OpenGateNow2\n",
        "public sealed class Read2\n",
        'public const string Name = "open-gate.now";',
        "public string Class;",
        "public string Name2;",
        "public long? From2;",
        "public GateValue2 Gate;",
        "public double Share;",
        "public bool? Loud;",
        "public Value Things;",
        'case "Grüner Weg": return GateValue2.GrNerWeg;',
        'made.Times = arguments["times"].AsInteger;',
    ):
        assert piece in text, piece
    assert text.count("{") == text.count("}")


def test_the_cpp_names_what_it_leaves_to_the_game() -> None:
    assert "    // things: no plain value;" in cpp("World", NASTY)


def test_no_world_has_a_name_that_breaks_out_of_the_comment(tmp_path: Path) -> None:
    world: Any = "x\nint injected = 1; //"
    for text in (cpp(world, []), csharp(world, [])):
        assert text.splitlines()[0].count("injected") == 1


def test_a_dialect_for_a_model_that_nobody_knows(npcsdk: Run, script: Any) -> None:
    spoken = 'Stand back. [TOOL_CALLS]open_gate[ARGS]{"gate": "iron gate"}'
    given = ["--state", "nearby=iron gate,well", "--tool-format", "mistral_args", "--model"]
    done = npcsdk("say", "bram", "open the gate", *given[:2], *given[2:], script(spoken, "So."))
    assert done.stdout.splitlines() == ["Stand back.", '[open_gate(gate="iron gate")]', "So."], done.stderr
    lines = "/state nearby=iron gate,well\nopen the gate\n"
    done = npcsdk("play", "bram", *given[2:], script(spoken, "So."), stdin=lines)
    assert '[open_gate(gate="iron gate")]' in done.stdout, done.stderr


@pytest.mark.parametrize("command", [["say", "bram", "hello"], ["play", "bram"], ["serve"]])
def test_an_unknown_dialect_is_an_error_that_lists_the_known_ones(
    npcsdk: Run, script: Any, command: list[str]
) -> None:
    done = npcsdk(*command, "--tool-format", "klingon", "--model", script("x"))
    assert done.returncode == 2
    assert "klingon" in done.stderr
    assert "mistral_args" in done.stderr
    assert "Traceback" not in done.stderr
