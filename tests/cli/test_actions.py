"""``npcsdk actions``: schemas, and code that compiles."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from npcsdk.actions.schema import ActionDefinition
from npcsdk.cli.stubs import cpp, csharp
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
    assert(made.class_ == "a" && made.name2 == "b" && made.times == 3 && made.share == 0.5);
    assert(made.gate == OpenGateNow::GateValue::IronGate2);
    assert(!made.loud.has_value() && !made.from2.has_value());
    assert(std::string(npcsdk::actions::OpenGateNow2::name) == "open_gate_now");
    arguments.values["gate"] = "moon";
    try { OpenGateNow::from(arguments); return 1; } catch (const std::invalid_argument&) { return 0; }
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_the_cpp_compiles_and_reads(tmp_path: Path) -> None:
    (tmp_path / "npc_actions.hpp").write_text(cpp("A */ \n world", NASTY), encoding="utf-8")
    (tmp_path / "main.cpp").write_text(PROGRAM, encoding="utf-8")
    compile_ = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "main.cpp", "-o", "main"]
    done = subprocess.run(compile_, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("mcs") is None, reason="no mcs (Mono's C# compiler) here")
def test_the_csharp_compiles(tmp_path: Path) -> None:
    (tmp_path / "NpcActions.cs").write_text(csharp("A */ \n world", NASTY), encoding="utf-8")
    compile_ = ["mcs", "-target:library", "-langversion:7", "-warnaserror-", "NpcActions.cs"]
    done = subprocess.run(compile_, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
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
        "public GateValue Gate;",
        "public double Share;",
        "public bool? Loud;",
        "public object Things;",
        'case "Grüner Weg": return GateValue.GrNerWeg;',
        "made.Times = Read.Integer(",
    ):
        assert piece in text, piece
    assert text.count("{") == text.count("}")


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
