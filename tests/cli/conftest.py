"""The command as a user runs it, from a folder of its own: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from npcsdk.cli.main import app

Run = Callable[..., "subprocess.CompletedProcess[str]"]

CALL = '<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate"}} </toolcall>'


def environment() -> dict[str, str]:
    """This process's, with the package importable from anywhere and a fixed width."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONUTF8": "1"}


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """A model that says what the test wants."""

    def write(*replies: str, **options: Any) -> str:
        path = tmp_path / "replies.json"
        path.write_text(json.dumps({"replies": list(replies), **options}), encoding="utf-8")
        return f"scripted:{path}"

    return write


@pytest.fixture
def npcsdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with arguments, from an empty folder, in this process: a new one takes half a second to start."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        given = {"COLUMNS": "200", "NO_COLOR": "1"}
        done = CliRunner().invoke(app, list(arguments), input=stdin, env=given, catch_exceptions=False)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def npcsdk_process(tmp_path: Path) -> Run:
    """The same in a process of its own: for what a process adds, its start, its streams and its exit status."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "npcsdk", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=environment(),
            timeout=60,
            check=False,
        )

    return run
