"""The command as a user runs it, from a folder of its own: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


_IN_TERMINAL = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a terminal's programs have it, a background job's do not
from npcsdk.cli.main import main
sys.argv[0] = "npcsdk"
main()
"""


@contextmanager
def in_terminal(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command in a pseudo-terminal of its own, whose Ctrl-C is a key; and what to read and write it by."""
    import fcntl
    import pty
    import struct
    import termios

    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, *arguments],
        stdin=there,
        stdout=there,
        stderr=there,
        cwd=folder,
        env={**environment(), "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(there)
    try:
        yield process, here
    finally:
        process.kill()
        process.wait()
        os.close(here)
