"""The README tells the truth: its links lead somewhere, its commands exist, its code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from npcsdk.cli.main import app
from tests.cli.conftest import environment

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_every_command_is_in_the_table() -> None:
    commands = set(get_command(app).commands) - {"version"}  # type: ignore[attr-defined]
    assert commands == set(re.findall(r"^\| `npcsdk (\w+)", README, re.MULTILINE))


@pytest.mark.parametrize("code", [*re.findall(r"```python\n(.*?)```", README, re.DOTALL)], ids=["five lines"])
def test_code_runs(code: str, tmp_path: Path) -> None:
    """As a newcomer would: pasted into a file, run from another folder, on the model in the wheel."""
    path = tmp_path / "game.py"
    path.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr.strip()


@pytest.mark.parametrize("example", ["five_lines", "events"])
def test_examples_run(example: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{example}.py")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=environment(),
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
