"""``npcsdk bindings``: an engine's package in a game's project, and what somebody changed in it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from npcsdk.cli import bindings as command
from npcsdk.cli.main import app
from npcsdk.cli.placing import MANIFEST, carry_out, make_plan, read_manifest

ROOT = Path(__file__).resolve().parents[2]
Install = Callable[..., Result]


@pytest.fixture
def unity(tmp_path: Path) -> Path:
    (tmp_path / "Game" / "Assets").mkdir(parents=True)
    return tmp_path / "Game"


@pytest.fixture
def install() -> Install:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["bindings", *map(str, arguments)], env={"COLUMNS": "200"})

    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_unity_gets_its_package(unity: Path, install: Install) -> None:
    done = install("unity", unity)
    assert done.exit_code == 0, done.output
    package = unity / "Packages" / "org.npcsdk.unity"
    assert json.loads((package / "package.json").read_text(encoding="utf-8"))["name"] == package.name
    assert (package / "Runtime" / "NpcClient.cs.meta").is_file()
    assert "Npc Bridge" in (package / "Documentation~" / "index.md").read_text(encoding="utf-8")
    assert tree(package) == command.package_files("unity")


def test_unreal_gets_its_plugin_with_the_headers_inside(tmp_path: Path, install: Install) -> None:
    (tmp_path / "Game.uproject").write_text("{}", encoding="utf-8")
    done = install("unreal", tmp_path)
    assert done.exit_code == 0, done.output
    plugin = tmp_path / "Plugins" / "NpcSdk"
    assert (plugin / "NpcSdk.uplugin").is_file()
    rules = (plugin / "Source" / "NpcSdk" / "NpcSdk.Build.cs").read_text(encoding="utf-8")
    headers = plugin / "Source" / "ThirdParty" / "npcsdk" / "include"
    assert '"..", "ThirdParty", "npcsdk", "include"' in rules
    assert (headers / "npcsdk" / "npcsdk.hpp").is_file()
    for path in headers.rglob("*.hpp"):  # none is missing
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith('#include "'):
                assert (path.parent / line.split('"')[1]).is_file(), line


def test_once_more_changes_nothing(unity: Path, install: Install) -> None:
    install("unity", unity)
    package = unity / "Packages" / "org.npcsdk.unity"
    times = {path: path.stat().st_mtime_ns for path in package.rglob("*.cs")}
    done = install("unity", unity)
    assert done.exit_code == 0
    assert "0 new, 0 updated, 0 removed" in done.output
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_what_somebody_changed_is_left_alone_and_named(unity: Path, install: Install) -> None:
    install("unity", unity)
    package = unity / "Packages" / "org.npcsdk.unity"
    theirs = package / "Runtime" / "Unity" / "NpcBridge.cs"
    theirs.write_text("// mine", encoding="utf-8")
    (package / "Own.cs").write_text("// mine too", encoding="utf-8")
    _age(package, "Runtime/NpcClient.cs")
    done = install("unity", unity)
    assert done.exit_code == 2
    assert "Runtime/Unity/NpcBridge.cs" in done.output
    assert "changed_files" in done.output
    assert "1 updated" in done.output  # the rest goes on
    assert theirs.read_text(encoding="utf-8") == "// mine"
    done = install("unity", unity, "--force")
    assert done.exit_code == 0, done.output
    assert theirs.read_text(encoding="utf-8") != "// mine"
    assert (package / "Own.cs").read_text(encoding="utf-8") == "// mine too"


def test_a_folder_that_we_did_not_make_is_somebody_elses(unity: Path, install: Install) -> None:
    package = unity / "Packages" / "org.npcsdk.unity"
    package.mkdir(parents=True)
    (package / "package.json").write_text("{}", encoding="utf-8")
    done = install("unity", unity)
    assert done.exit_code == 2
    assert "package.json" in done.output
    assert (package / "package.json").read_text(encoding="utf-8") == "{}"


def test_a_file_of_an_older_version_goes_unless_it_was_changed(unity: Path, install: Install) -> None:
    install("unity", unity)
    package = unity / "Packages" / "org.npcsdk.unity"
    for name in ("Old/Gone.cs", "Old/Kept.cs"):
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("// ours", encoding="utf-8")
        _age(package, name)
    (package / "Old" / "Kept.cs").write_text("// mine", encoding="utf-8")
    done = install("unity", unity)
    assert done.exit_code == 2
    assert "Old/Kept.cs" in done.output
    assert [path.name for path in (package / "Old").iterdir()] == ["Kept.cs"]
    install("unity", unity, "--force")
    assert not (package / "Old").exists()


def test_line_endings_do_not_count(unity: Path, install: Install) -> None:
    install("unity", unity)
    path = unity / "Packages" / "org.npcsdk.unity" / "Runtime" / "Turn.cs"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert install("unity", unity).exit_code == 0


@pytest.mark.parametrize("engine", ["unity", "unreal"])
def test_a_folder_that_is_no_project(engine: str, tmp_path: Path, install: Install) -> None:
    done = install(engine, tmp_path)
    assert done.exit_code == 2
    assert "no_project" in done.output
    assert not list(tmp_path.iterdir())
    assert install(engine, tmp_path, "--force").exit_code == 0


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{}", '{"files": {"../../precious": "0"}}', '{"files": {"/precious": "0"}}', '{"files": 3}'],
)
def test_a_manifest_that_lies_deletes_nothing(manifest: str, unity: Path, install: Install) -> None:
    precious = unity / "precious"
    precious.write_text("x", encoding="utf-8")
    package = unity / "Packages" / "org.npcsdk.unity"
    package.mkdir(parents=True)
    (package / MANIFEST).write_text(manifest, encoding="utf-8")
    done = install("unity", unity)
    assert done.exit_code == 2
    assert "bad_manifest" in done.output
    assert install("unity", unity, "--force").exit_code == 0
    assert precious.exists()


def test_a_wheel_finds_the_packages_inside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's table names every source that the command reads, under the name where it looks for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    expected = {engine: command.package_files(engine) for engine in ("unity", "unreal")}
    package = tmp_path / "npcsdk"
    for source, target in included.items():
        if target.startswith("npcsdk/_bindings"):
            place = tmp_path / target
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(ROOT / source)
    monkeypatch.setattr(command, "_PACKAGE", package)
    assert {engine: command.package_files(engine) for engine in ("unity", "unreal")} == expected


NAMES = st.sampled_from(["a", "b", "c/d", "c/e"])
FILES = st.dictionaries(NAMES, st.sampled_from([b"1", b"2", b"3"]))


@given(first=FILES, changes=st.dictionaries(NAMES, st.none() | st.just(b"mine")), second=FILES)
def test_no_change_is_ever_lost(
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[str, bytes],
    changes: dict[str, bytes | None],
    second: dict[str, bytes],
) -> None:
    """Whatever the versions and whatever was changed: it is there afterwards, and all else is the new version."""
    folder = tmp_path_factory.mktemp("game")
    carry_out(folder, first, make_plan(first, {}, {}, force=False), {})
    for name, content in changes.items():
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    manifest, there = read_manifest(folder), tree(folder)
    plan = make_plan(second, there, manifest, force=False)
    carry_out(folder, second, plan, manifest)
    theirs = {name: content for name, content in changes.items() if content is not None}
    assert tree(folder) == {**second, **theirs}
    assert set(plan.changed) == {name for name in theirs if name in second or name in first}
    again = make_plan(second, tree(folder), read_manifest(folder), force=False)
    assert [*again.new, *again.updated, *again.removed] == []


def _age(package: Path, name: str) -> None:
    """As if we had put this content there in an older version."""
    path = package / name
    path.write_text("// an older version", encoding="utf-8")
    older = make_plan({name: path.read_bytes()}, {}, {}, force=False)
    manifest = read_manifest(package)
    scratch = package.parent / "scratch"
    carry_out(scratch, {name: path.read_bytes()}, older, {})
    manifest |= read_manifest(scratch)
    text = json.dumps({"format": 1, "files": manifest})
    (package / MANIFEST).write_text(text, encoding="utf-8")
