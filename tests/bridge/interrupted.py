"""Ctrl-C again and again while a turn is read; run as a program of its own, so that nothing else is interrupted.

Prints how often it was interrupted, how many pieces of text came, and how the turn ended.
"""

from __future__ import annotations

import signal
import threading

from npcsdk.bridge.client import World
from npcsdk.bridge.signals import HeldSignals
from npcsdk.events import Text
from tests.bridge.conftest import OPENER


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    with World(opener=OPENER) as world:
        turn = world["mira"].say("slowly 60")
        held = HeldSignals().keep()  # as a loop over the turn does; an interrupt would end that
        stop = threading.Event()

        def interrupt() -> None:
            while not stop.wait(0.003):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        said: list[str] = []
        troubling = threading.Thread(target=interrupt)
        times = 0
        try:
            troubling.start()
            while turn.last is None:
                try:
                    event = turn._core.next(turn._mailbox, held)
                    turn._note(event)
                    if isinstance(event, Text):
                        said.append(event.text)
                except KeyboardInterrupt:
                    times += 1
        finally:
            while troubling.is_alive():
                try:
                    stop.set()
                    troubling.join()
                except KeyboardInterrupt:
                    continue
    print(times, len(said), type(turn.last).__name__)


if __name__ == "__main__":
    main()
