"""``npcsdk top`` in a real terminal: a pseudo-terminal, its keys and its screen."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import threading
import time
from pathlib import Path

import pytest

from npcsdk.bridge.client import connect
from npcsdk.bridge.server import Server
from tests.bridge.conftest import OPENER
from tests.cli.conftest import in_terminal

if sys.platform == "win32":
    pytest.skip("no pseudo-terminals", allow_module_level=True)

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


def test_top_shows_what_happens_and_ctrl_c_leaves(tmp_path: Path) -> None:
    server = Server(WORKERS, address="tcp://127.0.0.1:*")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        command = ("top", "--every", "0.2", "--address", server.address)
        with connect(server.address) as world, in_terminal(*command, folder=tmp_path) as (shown, terminal):
            screen = Screen(terminal)
            screen.until(r"Testholm")
            screen.until(r"worker tavern\W+ready, 0 turns, 0 waiting, 0 restarts")
            world["tavern/mira"].say("hello").text()
            screen.until(r"worker tavern\W+ready, 1 turns")  # without a key
            screen.until(r"worker harbour\W+ready, 0 turns")
            screen.until(r"stop 1")
            os.write(terminal, b"\x03")
            assert shown.wait(30) == 0
            assert "Traceback" not in screen.told
    finally:
        server.stop()
        thread.join(20)
