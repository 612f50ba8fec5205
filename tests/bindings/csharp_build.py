"""Compiles the C# client and its test programs with mono's compiler, each once for a test run."""

from __future__ import annotations

import functools
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

CSHARP = Path(__file__).resolve().parents[2] / "bindings" / "csharp"
STUB = Path(__file__).resolve().parent / "unity_stub"
Line = list[str]

needs_mono = pytest.mark.skipif(
    shutil.which("mcs") is None or shutil.which("mono") is None,
    reason="mono is not installed (Debian: mono-mcs mono-runtime)",
)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="npcsdk-csharp-")


@functools.cache
def build(name: str, *patterns: str, references: tuple[Path, ...] = ()) -> Path:
    """A program or a library, by its name, of files below ``bindings/csharp``; warnings are errors."""
    return _compile(name, [path for pattern in patterns for path in sorted(CSHARP.glob(pattern))], references)


@functools.cache
def build_stub(name: str, pattern: str, references: tuple[Path, ...]) -> Path:
    """The same, of the stand-in for Unity."""
    return _compile(name, sorted(STUB.glob(pattern)), references)


def _compile(name: str, files: Sequence[Path], references: Sequence[Path]) -> Path:
    assert files, name
    target = Path(_folder().name) / name
    # 7.2 is the newest version that this compiler has a name for.
    command = ["mcs", "-langversion:7.2", "-warnaserror", "-optimize+", f"-out:{target}"]
    command += ["-target:library"] if name.endswith(".dll") else []
    command += [*(f"-r:{one}" for one in references), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def program_of_tests() -> Path:
    return build("tests.exe", "Runtime/*.cs", "Tests/*.cs")


def run(program: Path, *arguments: str, timeout: float = 60) -> str:
    """What it prints; an exit status other than 0 fails with what it said."""
    command = ["mono", str(program), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


class Game:
    """The harness: a C# client in a process of its own, told what to do line by line."""

    def __init__(self, address: str, *, silence: float = 5.0) -> None:
        self.process = subprocess.Popen(
            ["mono", str(program_of_tests()), "client", address, str(silence)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.lines: queue.Queue[Line | None] = queue.Queue()
        self.told: list[Line] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n").split("\t"))
        self.lines.put(None)

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def until(self, wanted: Callable[[Line], bool], timeout: float = 20) -> Line:
        """The first line to come that is wanted; all of them are kept in ``told``."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"it did not come; there came {self.told[-20:]}") from None
            if line is None:
                assert self.process.stderr is not None
                raise AssertionError(f"it ended: {self.process.stderr.read()}\n{self.told[-20:]}")
            self.told.append(line)
            if wanted(line):
                return line

    def wait(self, *beginning: str, timeout: float = 20) -> Line:
        return self.until(lambda line: line[: len(beginning)] == list(beginning), timeout)

    def ask(self, line: str) -> Line:
        """A question whose answer begins with its own word."""
        self.do(line)
        return self.wait(line)

    def say(self, conversation: int, line: str) -> str:
        """The turn's id."""
        self.do(f"say {conversation} {line}")
        return self.wait("turn")[1]

    def texts(self, turn: str) -> list[str]:
        return [line[3] for line in self.told if line[:2] == ["text", turn]]

    def quit(self) -> tuple[float, float]:
        """How long Dispose and the longest Poll took, in milliseconds."""
        self.do("quit")
        line = self.wait("quit")
        assert self.process.wait(10) == 0
        return float(line[1]), float(line[2])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
