"""``npcsdk top`` in a real terminal: a pseudo-terminal, its keys and its screen."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import threading
import time

import pytest

from npcsdk.bridge.client import connect
from npcsdk.bridge.server import Server
from tests.bridge.conftest import OPENER, ROOT

if sys.platform == "win32":
    pytest.skip("no pseudo-terminals", allow_module_level=True)

import fcntl
import pty
import struct
import termios

# The terminal becomes the program's own, so that its Ctrl-C is a key.
TOP = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a terminal's programs have it, a background job's do not
from npcsdk.cli.main import main
sys.argv = ["npcsdk", "top", "--every", "0.2", "--address", sys.argv[1]]
sys.exit(main())
"""
WORKERS = [
    {"opener": OPENER, "name": "tavern", "prefix": "tavern/"},
    {"opener": OPENER, "name": "harbour", "prefix": "harbour/"},
]


_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """What a terminal has been told to show, without the styles."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._raw = ""
        self.told = ""

    def until(self, pattern: str, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.told):
            if select.select([self._number], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # its end
                    self._raw += os.read(self._number, 1 << 16).decode(errors="replace")
                    self.told = _STYLE.sub("", self._raw)
            assert time.monotonic() < deadline, f"{pattern!r} is not on {self.told[-3000:]!r}"


def test_top_shows_what_happens_and_ctrl_c_leaves() -> None:
    server = Server(WORKERS, address="tcp://127.0.0.1:*")
    thread = threading.Thread(target=server.run)
    thread.start()
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm-256color"}
    try:
        with connect(server.address) as world:
            shown = subprocess.Popen(
                [sys.executable, "-c", TOP, server.address],
                stdin=there,
                stdout=there,
                stderr=there,
                env=environment,
                start_new_session=True,
            )
            os.close(there)
            screen = Screen(here)
            screen.until(r"Testholm")
            screen.until(r"worker tavern\W+ready, 0 turns, 0 waiting, 0 restarts")
            world["tavern/mira"].say("hello").text()
            screen.until(r"worker tavern\W+ready, 1 turns")  # without a key
            screen.until(r"worker harbour\W+ready, 0 turns")
            screen.until(r"stop 1")
            os.write(here, b"\x03")
            try:
                assert shown.wait(30) == 0
            finally:
                shown.kill()
                shown.wait()
            assert "Traceback" not in screen.told
    finally:
        os.close(here)
        server.stop()
        thread.join(20)
