"""Compiles the C++ client's test programs, each once for a test run."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CPP = Path(__file__).resolve().parents[2] / "bindings" / "cpp"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="npcsdk-cpp-")


@functools.cache
def build(source: str, *flags: str, compiler: str = "g++") -> Path:
    """The program made of a file below ``bindings/cpp``."""
    name = "-".join([Path(source).stem, compiler, str(abs(hash(flags)))])
    program = Path(_folder().name) / name
    command = [compiler, "-std=c++17", *WARNINGS, *flags, "-I", str(CPP / "include"), str(CPP / source)]
    done = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, *arguments: str, stdin: str = "", timeout: float = 60) -> str:
    """What it prints; an exit status other than 0 fails with what it said."""
    done = subprocess.run(
        [str(program), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
