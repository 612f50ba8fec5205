"""The Unreal plugin: compiled and played against a stand-in of the engine, and its core with no engine at all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bindings.cpp_build import CHECKED, CPP, WARNINGS, made_of, needs_compiler
from tests.bindings.csharp_build import needs_mono
from tests.bindings.serving import ServerProcess, free_port

PLUGIN = CPP.parent / "unreal"
MODULE = PLUGIN / "Source" / "NpcSdk"
pytestmark = pytest.mark.timeout(600)  # a dozen files to compile
STUB = Path(__file__).resolve().parent / "unreal_stub"
# Headers of the engine that the plugin may include: the stand-in stands for these, and a new one has to be thought of.
ENGINE = (
    "Components/ActorComponent.h",
    "Containers/Ticker.h",
    "CoreMinimal.h",
    "Engine/DeveloperSettings.h",
    "Engine/GameInstance.h",
    "Engine/World.h",
    "HAL/PlatformProcess.h",
    "Kismet/BlueprintAsyncActionBase.h",
    "Modules/ModuleManager.h",
    "Subsystems/GameInstanceSubsystem.h",
)
# as the engine compiles
FLAGS = [*WARNINGS, "-std=c++17", "-Wundef", "-fno-exceptions", "-fno-rtti", "-Wno-unused-parameter"]
CLASS = re.compile(r"^(?:class|struct) NPCSDK_API (\w+)(?: : public (\w+))?$", re.MULTILINE)


def generated(header: Path) -> str:
    """What Unreal's header tool would write for a header, as far as the plugin needs it."""
    lines = header.read_text(encoding="utf-8").splitlines()
    out = [f"#undef CURRENT_FILE_ID\n#define CURRENT_FILE_ID {header.stem}"]
    for number, line in enumerate(lines, start=1):
        if line.strip() != "GENERATED_BODY()":
            continue
        name, base = CLASS.findall("\n".join(lines[:number]))[-1]
        body = f"public: using ThisClass = {name}; " + (f"using Super = {base}; private:" if base else "")
        out.append(f"#define {header.stem}_{number}_GENERATED_BODY {body}")
    return "\n".join(out) + "\n"


@pytest.fixture(scope="module")
def includes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders with the stand-in under the engine's names, and with what the header tool makes."""
    folder = tmp_path_factory.mktemp("engine")
    for name in ENGINE:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#include "UnrealStub.h"\n', encoding="utf-8")
    for header in (MODULE / "Public").glob("*.h"):
        (folder / f"{header.stem}.generated.h").write_text(generated(header), encoding="utf-8")
    paths = [folder, STUB, MODULE / "Public", MODULE / "Private", CPP / "include"]
    return [f"-I{path}" for path in paths]


@pytest.fixture(scope="module")
def play(includes: list[str]) -> Path:
    """The plugin, each file by itself, and a program that plays a level."""
    sources = [*sorted((MODULE / "Private").rglob("*.cpp")), STUB / "UnrealStub.cpp", STUB / "Play.cpp"]
    headers = [*sorted(MODULE.rglob("*.h")), STUB / "UnrealStub.h"]
    flags = [*FLAGS, "-DNPCSDK_API=", *CHECKED]
    program = made_of(STUB / "Play.cpp", Path(__file__), *sources, *headers, flags=flags)
    if program.exists():
        return program
    with tempfile.TemporaryDirectory() as folder:

        def compiled(source: Path) -> str:
            target = Path(folder) / f"{source.stem}.o"
            _do(["g++", *flags, *includes, "-c", str(source), "-o", str(target)])
            return str(target)

        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(compiled, sources))
        linked = Path(folder) / "play"
        _do(["g++", *CHECKED, *objects, "-o", str(linked)])
        shutil.move(linked, program)
    return program


@pytest.fixture
def server() -> Iterator[Callable[[], ServerProcess]]:
    running: list[ServerProcess] = []

    def start() -> ServerProcess:
        running.append(ServerProcess(free_port()))
        return running[-1]

    yield start
    for one in running:
        one.kill()


def _do(command: list[str], timeout: float = 500) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@needs_compiler
def test_a_level_is_played_three_times_in_one_process(
    play: Path, server: Callable[[], ServerProcess]
) -> None:
    assert _do([str(play), server().address]) == "played\n"


@needs_compiler
def test_the_local_server_lives_through_plays_and_ends_with_the_editor(play: Path, tmp_path: Path) -> None:
    program = tmp_path / "npc sdk"
    script = '#!/bin/sh\n{ printf "%s|" "$@"; echo; } > "$0.arguments"\nexec sleep 600\n'
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    _do([str(play), "tcp://127.0.0.1:5990", str(program)])


def test_the_core_needs_no_engine() -> None:
    for source in (MODULE / "Private" / "Core").iterdir():
        included = re.findall(r'#include [<"]([^>"]+)', source.read_text(encoding="utf-8"))
        assert not set(included) & set(ENGINE)
        assert all("/" not in one or one.startswith("npcsdk/") for one in included)


def test_sockets_and_the_engine_never_meet() -> None:
    """Windows' own headers and the engine's define the same names: one file includes the client, and nothing else."""
    users = [path.name for path in MODULE.rglob("*.*") if "npcsdk/" in "".join(_included(path))]
    assert users == ["NpcCore.cpp"]


def test_headers_keep_the_header_tools_rules() -> None:
    for path in [*MODULE.rglob("*.h"), *MODULE.rglob("*.cpp")]:
        included = _included(path)
        text = path.read_text(encoding="utf-8")
        reflected = re.search(r"^U(?:CLASS|STRUCT|ENUM)\(", text, re.MULTILINE)
        if path.suffix == ".h":
            assert "#pragma once" in text
        if reflected:
            assert included[-1] == f"{path.stem}.generated.h", "it has to be the last"
            assert path.parent.name == "Public"
            assert text.count("GENERATED_BODY()") == len(CLASS.findall(text))
        ours = {one.name for one in MODULE.rglob("*.h")} | {f"{path.stem}.generated.h", "Core/NpcCore.h"}
        from_elsewhere = {one for one in included if one not in ours and "." in one}
        assert from_elsewhere <= {*ENGINE, "npcsdk/npcsdk.hpp"}, path


def test_the_plugin_describes_itself() -> None:
    plugin = json.loads((PLUGIN / "NpcSdk.uplugin").read_text(encoding="utf-8"))
    (module,) = plugin["Modules"]
    assert (PLUGIN / "Source" / module["Name"] / f"{module['Name']}.Build.cs").is_file()
    package = json.loads((CPP.parent / "csharp" / "package.json").read_text(encoding="utf-8"))
    assert plugin["VersionName"] == package["version"]


@needs_mono
def test_the_build_rules_compile(tmp_path: Path) -> None:
    rules = [str(MODULE / "NpcSdk.Build.cs"), str(STUB / "UnrealBuildTool.cs")]
    assert shutil.which("mcs") is not None
    _do(["mcs", "-warnaserror", "-target:library", f"-out:{tmp_path / 'rules.dll'}", *rules])


def _included(path: Path) -> list[str]:
    return re.findall(r'^#include [<"]([^>"]+)[>"]', path.read_text(encoding="utf-8"), re.MULTILINE)
