"""`npcsdk serve` as a process, spoken to over a real socket by another."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import npcsdk
from tests.cli.conftest import environment


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(address: str, model: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "npcsdk", "serve", "--address", address, "--model", model],
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_serve_answers_until_it_is_told_to_stop(script: Callable[..., str], tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    model = script("Good day.", "Farewell.")
    with serving(address, model, tmp_path) as process:
        assert process.stderr is not None
        assert address in process.stderr.readline()  # it says where it listens
        assert "Harrowmere" in process.stderr.readline()  # and what it serves
        with npcsdk.connect(address) as world:
            assert world["bram"].say("hello").text() == "Good day."
        process.send_signal(signal.SIGTERM if sys.platform != "win32" else signal.CTRL_C_EVENT)  # type: ignore[attr-defined]
        assert process.wait(20) == 0


def test_a_taken_port_is_an_error_with_a_hint(script: Callable[..., str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with serving(address, script("x"), tmp_path) as process:
            assert process.stderr is not None
            said = process.stderr.read()
            assert process.wait(20) == 2
    assert "hint" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5991", "nonsense", "tcp://127.0.0.1"])
def test_where_it_will_not_listen(address: str, script: Callable[..., str], tmp_path: Path) -> None:
    with serving(address, script("x"), tmp_path) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 2
    assert "hint" in said
    assert "Traceback" not in said
