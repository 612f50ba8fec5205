"""The C++ client against a server that demands keys: CURVE by a libzmq that is loaded at run time."""

from __future__ import annotations

import ctypes.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from typer.testing import CliRunner

from npcsdk.cli.main import app
from tests.bindings.cpp_build import CHECKED, build, needs_compiler
from tests.bindings.test_cpp_live import Driver, address, free_port, spoken

__all__ = ["address"]


def _library() -> str | None:
    """The system's libzmq; else the one that pyzmq's wheel carries."""
    if ctypes.util.find_library("zmq") is not None:
        return ""
    beside = Path(zmq.__file__).resolve().parents[1] / "pyzmq.libs"
    return next((str(path) for path in beside.glob("libzmq*.so*")), None)


LIBRARY = _library()
pytestmark = [
    needs_compiler,
    pytest.mark.skipif(sys.platform == "win32", reason="the driver is POSIX"),
    pytest.mark.skipif(LIBRARY is None, reason="libzmq is not installed"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def program() -> Path:
    return build("tests/driver.cpp", *CHECKED)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with a server's configuration, a client's keys, and a stranger's."""
    for name in ("game", "stranger"):
        done = CliRunner().invoke(app, ["keys", name, "--folder", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        if name == "game":
            (tmp_path / "npcsdk.yaml").write_text(
                done.stdout.replace("role: play", "role: direct"), encoding="utf-8"
            )
    (tmp_path / "replies.json").write_text(
        '{"replies": ["Well met, 門番さん."], "loop": true}', encoding="utf-8"
    )
    return tmp_path


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUTF8": "1"}


@pytest.fixture
def serve(keys: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(to: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "npcsdk", "serve", "--config", str(keys / "npcsdk.yaml")]
        command += ["--address", to, "--model", f"scripted:{keys / 'replies.json'}"]
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env=_environment(), start_new_session=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def drive(program: Path) -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(to: str, key_file: Path, library: str = LIBRARY or "", silence: float = 60.0) -> Driver:
        drivers.append(Driver(program, to, silence, str(key_file), *([library] if library else [])))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.close()


Serve = Callable[[str], "subprocess.Popen[bytes]"]


def test_a_conversation_under_lock_and_key_and_after_a_restart(
    serve: Serve, drive: Callable[..., Driver], keys: Path, address: str
) -> None:
    first = serve(address)
    driver = drive(address, keys / "game.key")
    driver.until("ready")
    driver.tell("open bram")
    for _ in range(3):
        driver.tell("say Good evening!")
        turn = driver.until("end", "failed")
        assert turn[-1]["text"] == spoken(turn) == "Well met, 門番さん."
    driver.tell("save before")  # the key's role is direct
    assert driver.until("done", "problem")[-1]["event"] == "done"
    _kill(first)
    serve(address)
    driver.until("welcome")
    driver.tell("say Still there?")
    assert driver.until("end", "failed")[-1]["text"] == "Well met, 門番さん."
    assert driver.over()["longest_ms"] < 500


def test_who_is_not_known_gets_no_answer_and_is_not_held_up(
    serve: Serve, drive: Callable[..., Driver], keys: Path, address: str
) -> None:
    serve(address)
    known = drive(address, keys / "game.key")
    known.until("ready")
    stranger = drive(address, keys / "stranger.key", silence=4.0)
    assert stranger.until("problem")[-1]["code"] == "server_unreachable"
    last = stranger.over()
    assert "does not know these keys" in last["trouble"]
    assert last["longest_ms"] < 500


@pytest.mark.parametrize(
    ("key_file", "library", "why"),
    [
        ("game.key", "/no/such/libzmq.so", "not to be found"),
        ("replies.json", "", "the keys are none"),
        ("game.key", "libc.so.6", "too old"),
    ],
)
def test_what_is_missing_is_named(
    key_file: str, library: str, why: str, drive: Callable[..., Driver], keys: Path
) -> None:
    driver = drive(f"tcp://127.0.0.1:{free_port()}", keys / key_file, library or LIBRARY or "", silence=0.5)
    driver.until("problem")
    assert why in driver.over()["trouble"]
