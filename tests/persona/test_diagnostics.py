"""Every mistake that a designer can make, and what it looks like.

A folder `invalid/<code>_<what>/` holds the files that differ from the world in `valid/`, `removed.txt` with the
names of files that it does not have, and `expected.txt`: what `npcsdk check` shows. To see a new one, run
this module as a script; it rewrites the expected texts, for reading in the diff.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from npcsdk.errors import WorldInvalid
from npcsdk.persona.diagnostics import CATALOGUE, Diagnostic, diagnose, did_you_mean
from npcsdk.persona.loader import check_paths, load_world

HERE = Path(__file__).parent
CASES = sorted(path for path in (HERE / "invalid").iterdir() if path.is_dir())
ELSEWHERE = {"NPC009", "NPC023", "NPC024"}
"""Codes that no small folder shows; they are tested below."""


def build(case: Path, parent: Path) -> Path:
    world = parent / "world"
    shutil.copytree(HERE / "valid", world)
    shutil.copytree(case, world, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.txt"))
    removed = case / "removed.txt"
    for name in removed.read_text(encoding="utf-8").split() if removed.exists() else ():
        (world / name).unlink()
    return world


def rendered(diagnostics: list[Diagnostic]) -> str:
    return "\n".join(diagnostic.render() for diagnostic in diagnostics) + "\n"


def test_the_valid_world_checks_clean(tmp_path: Path) -> None:
    shutil.copytree(HERE / "valid", tmp_path / "world")
    assert check_paths([tmp_path / "world"]) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mistake_is_shown_as_expected(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    diagnostics = check_paths(["world"])
    expected = (case / "expected.txt").read_bytes().decode("utf-8")
    assert rendered(diagnostics) == expected
    if case.name.startswith("NPC"):
        assert {diagnostic.code for diagnostic in diagnostics} == {case.name[:6]}


def test_every_code_has_a_case() -> None:
    shown = {case.name[:6] for case in CASES}
    assert set(CATALOGUE) - shown == ELSEWHERE


def test_file_that_is_too_large(tmp_path: Path) -> None:
    world = build(CASES[0], tmp_path)
    (world / "mara.yaml").write_text("name: " + "a" * 300_000, encoding="utf-8")
    assert [each.code for each in check_paths([world])] == ["NPC009"]


def test_lore_that_is_not_utf8(tmp_path: Path) -> None:
    world = build(CASES[0], tmp_path)
    shutil.copy(HERE / "valid" / "mara.yaml", world)
    (world / "lore" / "inn.md").write_bytes(
        "---\ntags: [inn]\n---\nThe café opens at dawn.\n".encode("latin-1")
    )
    (found,) = check_paths([world])
    assert (found.code, found.line, found.column) == ("NPC003", 4, 8)
    with pytest.raises(WorldInvalid, match="not UTF-8"):
        load_world(world)


def test_paths_that_are_no_world(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    missing, strange = check_paths([tmp_path / "nowhere", tmp_path / "notes.txt"])
    assert (missing.code, strange.code) == ("NPC023", "NPC024")
    assert "no such file" in missing.message
    assert missing.render().startswith((tmp_path / "nowhere").as_posix() + " NPC023 ")


def test_file_that_cannot_be_read_is_reported_with_the_rest(tmp_path: Path) -> None:
    world = build(HERE / "invalid" / "NPC030_unknown_key", tmp_path)
    (world / "bram.yaml").mkdir()
    assert [each.code for each in check_paths([world])] == ["NPC023", "NPC030"]


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = build(CASES[0], tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    (found,) = check_paths([world])
    assert (found.code, found.message) == ("NPC023", "this cannot be read: permission denied")
    with pytest.raises(WorldInvalid, match="permission denied"):
        load_world(world)


def test_single_file_is_checked_against_its_world(tmp_path: Path) -> None:
    world = build(HERE / "invalid" / "many_mistakes_in_many_files", tmp_path)
    codes = [each.code for each in check_paths([world / "mara.yaml"])]
    assert codes == ["NPC031", "NPC030", "NPC040"]
    # A path given twice, or inside a folder that is given too, is shown once.
    assert len(check_paths([world, world / "mara.yaml"])) == len(check_paths([world]))


def test_single_file_without_a_world(tmp_path: Path) -> None:
    (tmp_path / "mara.yaml").write_text("name: Mara\nrole: a cook\nxyzzy: You cook.\n", encoding="utf-8")
    assert [each.code for each in check_paths([tmp_path / "mara.yaml"])] == ["NPC031", "NPC030"]


def test_mistakes_are_given_with_the_code_severity_of_the_catalogue(tmp_path: Path) -> None:
    world = build(HERE / "invalid" / "NPC052_tag_that_no_lore_has", tmp_path)
    (warning,) = check_paths([world])
    assert warning.severity == "warning"
    assert "warning: " in warning.render()
    assert load_world(world).personas["mara"].knows == ("inn", "ins")


class TestCaret:
    def render(self, source: str, column: int, length: int) -> list[str]:
        diagnostic = diagnose(
            "NPC034", "f.yaml", line=1, column=column, length=length, source_line=source, hint="", label="x"
        )
        return diagnostic.render().splitlines()[1:]

    def test_wide_characters_take_two_columns(self) -> None:
        assert self.render("名前: 鍛冶屋", 5, 3) == ["  名前: 鍛冶屋", "        ^^^^^^"]

    def test_combining_marks_take_none(self) -> None:
        assert self.render("e\u0301: x", 5, 1)[1] == "     ^"

    def test_tabs_stay_tabs(self) -> None:
        assert self.render("a:\tb", 4, 1)[1] == "    \t^"

    def test_long_lines_are_cut_around_the_caret(self) -> None:
        line, caret = self.render("a: " + "x" * 300 + "HERE" + "y" * 300, 304, 4)
        assert len(line) < 120
        assert line[caret.index("^") : caret.index("^") + 4] == "HERE"
        assert caret.count("^") == 4

    def test_caret_never_runs_past_the_line(self) -> None:
        assert self.render("abc", 2, 500)[1] == "   ^^"


@pytest.mark.parametrize(
    ("wrong", "meant"), [("maner", "manner"), ("ROLE", "role"), ("opengate", "open_gate"), ("zzz", None)]
)
def test_did_you_mean(wrong: str, meant: str | None) -> None:
    hint = did_you_mean(wrong, ["manner", "role", "open_gate"])
    assert hint == (f"Did you mean `{meant}`?" if meant else None)


if __name__ == "__main__":
    for each in CASES:
        with tempfile.TemporaryDirectory() as folder:
            build(each, Path(folder))
            os.chdir(folder)
            shown_now = rendered(check_paths(["world"]))
        (each / "expected.txt").write_bytes(shown_now.encode("utf-8"))
