"""The C++ client against `npcsdk serve`: a conversation, actions, and a server that dies and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bindings.cpp_build import CHECKED, CPP, build, needs_compiler
from tests.bindings.serving import ServerProcess

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(sys.platform == "win32", reason="the driver is POSIX"),
    pytest.mark.timeout(300),  # the first test waits for the compiler
]
WAIT = 40
PAUSE = 1000  # milliseconds: who blocks does it for seconds; a busy machine takes its share of the rest
ACTIONS = json.dumps(
    [
        {
            "name": "wave",
            "description": "Waves.",
            "parameters": {"type": "object", "properties": {"hand": {"type": "string"}}},
            "returns": "result",
            "timeout": 30.0,
        }
    ]
)
WAVE = 'Look! <toolcall> {"name": "wave", "arguments": {"hand": "left"}} </toolcall>'


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(
    address: str, folder: Path, *replies: str, delay: float = 0.0
) -> Iterator[subprocess.Popen[bytes]]:
    script = folder / "replies.json"
    script.write_text(json.dumps({"replies": list(replies), "delay": delay, "loop": True}), encoding="utf-8")
    command = [sys.executable, "-m", "npcsdk", "serve", "--address", address, "--model", f"scripted:{script}"]
    environment = {**os.environ, "PYTHONPATH": str(CPP.parents[1]), "PYTHONUTF8": "1"}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Driver:
    """The test program: commands in, events out."""

    def __init__(self, program: Path, address: str, silence: float = 60.0, *curve: str) -> None:
        self.process = subprocess.Popen(
            [str(program), address, ACTIONS, str(silence), *curve],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.seen: list[dict[str, Any]] = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """What comes, up to the first event of one of the kinds."""
        deadline = time.monotonic() + WAIT
        came: list[dict[str, Any]] = []
        while True:
            came.append(self.events.get(timeout=max(0.01, deadline - time.monotonic())))
            self.seen.append(came[-1])
            if came[-1]["event"] in kinds:
                return came

    def over(self) -> dict[str, Any]:
        self.tell("quit")
        last = self.until("over")[-1]
        self.close()
        assert self.process.returncode == 0, self.error
        return last

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                self.tell("quit")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self.thread.join(10)
        assert self.process.stderr is not None
        if not self.process.stderr.closed:
            self.error = self.process.stderr.read()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def program() -> Path:
    return build("tests/driver.cpp", *CHECKED)


@pytest.fixture
def drive(program: Path) -> Iterator[Callable[..., Driver]]:
    drivers: list[Driver] = []

    def start(address: str, **options: float) -> Driver:
        drivers.append(Driver(program, address, **options))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.close()


@pytest.fixture
def address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def spoken(events: list[dict[str, Any]]) -> str:
    return "".join(one["text"] for one in events if one["event"] == "text")


def test_a_conversation(drive: Callable[..., Driver], address: str, tmp_path: Path) -> None:
    with serving(address, tmp_path, "Grüß Gott, 門番さん 🚪.", "A bell."):
        driver = drive(address)
        driver.until("ready")
        driver.tell("open bram")
        driver.tell("say Good evening!")
        turn = driver.until("end", "failed")
        assert turn[-1]["text"] == spoken(turn) == "Grüß Gott, 門番さん 🚪."
        numbers = [one["seq"] for one in turn if "seq" in one]
        assert numbers == list(range(1, len(numbers) + 1))
        offsets = [one["offset"] for one in turn if one["event"] == "text"]
        assert offsets == sorted(offsets)
        driver.tell("react A bell rings.")
        assert driver.until("end", "failed")[-1]["text"] == "A bell."
        driver.tell("close")
        driver.until("closed")
        driver.over()


def test_an_action_and_its_result(drive: Callable[..., Driver], address: str, tmp_path: Path) -> None:
    with serving(address, tmp_path, WAVE, "There."):
        driver = drive(address)
        driver.tell("open bram")  # before there is anybody
        driver.tell("say Wave, please.")
        action = driver.until("action", "end", "failed")[-1]
        assert (action["name"], json.loads(action["arguments"]), action["wants_result"]) == (
            "wave",
            {"hand": "left"},
            True,
        )
        driver.tell("result Everybody saw it.")
        turn = driver.until("end", "failed")
        assert turn[-1]["event"] == "end"
        assert turn[-1]["text"].endswith("There.")
        driver.over()


def test_cancel(drive: Callable[..., Driver], address: str, tmp_path: Path) -> None:
    with serving(address, tmp_path, "on and " * 400, delay=0.02):
        driver = drive(address)
        driver.until("ready")
        driver.tell("open bram")
        driver.tell("say Go on.")
        driver.until("text")
        driver.tell("cancel")
        assert driver.until("end", "failed")[-1]["reason"] == "cancelled"
        driver.tell("open nobody")
        assert driver.until("problem")[-1]["code"] == "npc_unknown"
        driver.over()


def test_requests(drive: Callable[..., Driver], address: str, tmp_path: Path) -> None:
    with serving(address, tmp_path, "One two three."):
        driver = drive(address)
        driver.until("ready")
        driver.tell("open bram")
        answers = {}
        for command in ("prepare", "save before", "slots"):
            driver.tell(command)
            done = driver.until("done", "problem")[-1]
            answers[done["answers"]] = done.get("value", done.get("code"))
        assert "before" in answers["slots"], answers
        driver.tell("say Count.")
        driver.until("end", "failed")
        driver.tell("heard 3")
        assert driver.until("done", "problem")[-1]["answers"] == "heard"
        driver.tell("load nothing of that name")
        assert driver.until("done", "problem")[-1]["event"] == "problem"
        driver.over()


def test_a_server_that_is_killed_and_started_again(
    drive: Callable[..., Driver], address: str, tmp_path: Path
) -> None:
    with serving(address, tmp_path, "on and " * 400, delay=0.02) as server:
        driver = drive(address)
        driver.until("ready")
        driver.tell("open bram")
        driver.tell("say Go on.")
        driver.until("text")
        driver.until("text")
        server.send_signal(signal.SIGKILL)
        server.wait()
    with serving(address, tmp_path, "Back again."):
        came = driver.until("welcome")
        assert [one["code"] for one in came if one["event"] == "failed"] == ["turn_lost"]
        driver.tell("react The lights go on again.")  # the conversation is opened again by itself
        again = driver.until("end", "failed")
        assert again[-1]["text"] == spoken(again) == "Back again."
        assert again[-1]["seq"] == sum("seq" in one for one in again)
        last = driver.over()
    ended = [one["turn"] for one in driver.seen if one["event"] in ("end", "failed")]
    assert len(ended) == len(set(ended)) == 2  # each turn ends once
    assert last["longest_ms"] < PAUSE


def test_a_worker_that_dies_in_mid_sentence(drive: Callable[..., Driver]) -> None:
    server = ServerProcess(free_port())  # the fake world: its worker dies when it is told to
    try:
        driver = drive(server.address)
        driver.until("ready")
        driver.tell("open mira")
        for _ in range(2):
            driver.tell("say die")
            died = driver.until("end", "failed", "goodbye")
            assert [one.get("code") for one in died if one["event"] == "failed"] == ["worker_died"]
            driver.until("reset")
            driver.until("ready")  # the world that is loaded again
            driver.tell("say count 20")
            again = driver.until("end", "failed", "goodbye")
            assert again[-1]["event"] == "end", again[-1]
            assert spoken(again) == "".join(f"{number} " for number in range(20))
            assert [one["seq"] for one in again if "seq" in one] == list(range(1, 22))
        driver.over()
    finally:
        server.kill()


def test_a_connection_that_breaks_loses_and_doubles_nothing(
    drive: Callable[..., Driver], address: str, tmp_path: Path
) -> None:
    said = "".join(f"{number} " for number in range(120))
    with serving(address, tmp_path, said, delay=0.02):
        with Breaker(address) as between:
            driver = drive(between.address)
            driver.until("ready")
            driver.tell("open bram")
            driver.tell("say Count.")
            for _ in range(5):
                driver.until("text")
                between.cut()
                driver.until("welcome", "end")
            driver.until("end", "failed")
            driver.over()
    texts = [one for one in driver.seen if one["event"] in ("text", "end")]
    assert [one["seq"] for one in texts] == list(range(1, len(texts) + 1))
    assert spoken(driver.seen) == texts[-1]["text"]
    assert [one["event"] for one in driver.seen].count("welcome") >= 4


def test_nobody_there_never_blocks(drive: Callable[..., Driver], address: str) -> None:
    driver = drive(address, silence=2.0)
    driver.tell("open bram")
    driver.tell("say Hello?")
    came = [
        driver.until("failed", "problem")[-1] for _ in range(2)
    ]  # whichever has waited longer comes first
    assert sorted(one["event"] for one in came) == ["failed", "problem"]
    assert [one["code"] for one in came] == ["server_unreachable"] * 2
    assert driver.over()["longest_ms"] < PAUSE


def test_a_frozen_server_never_blocks(drive: Callable[..., Driver], address: str, tmp_path: Path) -> None:
    with serving(address, tmp_path, "Hello.") as server:
        driver = drive(address, silence=2.0)
        driver.until("ready")
        driver.tell("open bram")
        server.send_signal(signal.SIGSTOP)
        driver.tell("say Hello?")
        assert driver.until("failed")[-1]["code"] == "server_unreachable"
        server.send_signal(signal.SIGCONT)
        driver.until("welcome")
        assert driver.over()["longest_ms"] < PAUSE


def test_the_console_game(address: str, tmp_path: Path) -> None:
    console = build("examples/console.cpp", "-O0", "-pthread")
    with serving(address, tmp_path, WAVE, "Well met."):
        done = subprocess.run(
            [str(console), address, "bram"],
            input="Good evening.\n",
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=WAIT,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert '* bram: wave {"hand": "left"}' in done.stdout
    assert "Well met." in done.stdout


def test_the_console_game_with_the_model_that_ships() -> None:
    console = build("examples/console.cpp", "-O0", "-pthread")
    server = ServerProcess(free_port(), "--world", str(CPP.parents[1] / "personas"))
    try:
        done = subprocess.run(
            [str(console), server.address, "bram"],
            input="Good evening.\nWho are you?\n",
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
    finally:
        server.kill()
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("You talk to bram.\n")[1]
    assert len(said.split()) > 4, done.stdout
    assert not re.search(r"^\[\w+\] ", said, re.MULTILINE), done.stdout  # no error


class Breaker:
    """Between client and server; it can cut every connection at once."""

    def __init__(self, address: str) -> None:
        self.target = int(address.rsplit(":", 1)[1])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.ends: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                self.ends += [client, server]
                for pair in ((client, server), (server, client)):
                    self.threads.append(threading.Thread(target=self._pump, args=pair))
                    self.threads[-1].start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(100):  # so that a cut goes through the middle of frames
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Breaker:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join(10)
        for end in self.ends:
            end.close()
