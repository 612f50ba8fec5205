"""Compiles the C++ client's test programs: quickly, and again only when something in them has changed.

With ``NPCSDK_SANITIZE=1`` in the environment the sanitizers of addresses and of undefined behaviour are built in.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "bindings" / "cpp"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
SANITIZER = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CHECKED = ["-O1", "-g", *SANITIZER] if os.environ.get("NPCSDK_SANITIZE") else ["-O0"]
"""How programs are compiled that look for mistakes."""

_KEPT = 60  # programs of other sources or flags, for whoever goes back and forth

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@functools.cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def made_of(*files: Path, flags: Iterable[str], compiler: str = "g++") -> Path:
    """Where a program made of these files, or of what they may include, is kept: pytest's cache."""
    digest = hashlib.sha256("\0".join([_version(compiler), *flags]).encode())
    for path in sorted({*files, *(CPP / "include").rglob("*.hpp"), *(CPP / "tests").glob("*.hpp")}):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    folder = ROOT / ".pytest_cache" / "d" / "npcsdk-programs"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime)[_KEPT:]:
        old.unlink(missing_ok=True)
    return folder / f"{files[0].stem}-{digest.hexdigest()[:24]}"


@functools.cache
def build(source: str, *flags: str, compiler: str = "g++") -> Path:
    """The program made of a file below ``bindings/cpp``."""
    whole = ["-std=c++17", *WARNINGS, *flags]
    program = made_of(CPP / source, flags=whole, compiler=compiler)
    if not program.exists():
        made = program.with_suffix(f".{os.getpid()}")
        command = [compiler, *whole, "-I", str(CPP / "include"), str(CPP / source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made.replace(program)
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
