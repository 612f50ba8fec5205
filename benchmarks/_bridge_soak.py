"""What the bridge's soak does: frames that nobody should send, and processes that are killed in mid-sentence."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from benchmarks._bridge_rivals import line_of, process
from npcsdk.bridge.client import World, connect
from npcsdk.errors import NpcError
from npcsdk.events import End, Event, Failed, Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from npcsdk.wire.vectors import samples

_SERVE = """
import sys
from npcsdk.bridge.server import Server
def tell(status):
    if status.event == "ready":
        print("ready", flush=True)
config = {"opener": "benchmarks._bridge_world:open_world", "memory": sys.argv[2]}
server = Server(config, address=sys.argv[1], on_status=tell)
print(server.address, flush=True)
server.run()
"""


@contextlib.contextmanager
def server(memory: Path, address: str = "tcp://127.0.0.1:*") -> Iterator[tuple[Any, str]]:
    """A server that is ready: its process and its address."""
    with process(_SERVE, address, str(memory)) as started:
        address = line_of(started)
        line_of(started)
        yield started, address


def worker_of(pid: int) -> int:
    """The process id of a server's worker, once there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise TimeoutError("the server has no worker")


# Frames


_REFUSED = (b"malformed", b"bad_field", b"unknown_message", b"too_large")


@dataclass
class Frames:
    """What became of the frames."""

    sent: int = 0
    refused: int = 0
    """Of these the server looked at and could not read so many; the rest made sense, or came from who is not read."""
    connections: int = 0
    served: int = 0
    """Lines of another client that were answered meanwhile."""
    busy: int = 0
    """Lines that were refused because that client had used up its own turns of the minute: right, and no failure."""
    slowest: float = 0.0
    """The longest of those answers, in seconds."""
    failed: list[str] = field(default_factory=list[str])


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """One frame made of others: bits flipped, parts cut, doubled, exchanged, numbers at their bounds; or noise."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(80))
    frame = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(frame) + 1)
        kind = chance.randrange(7)
        if kind == 0 and frame:
            frame[at % len(frame)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del frame[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            frame[at:at] = chance.choice(
                (b"\xff", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x91" * 40)
            )
        elif kind == 3:
            other = chance.choice(seeds)
            start = chance.randrange(len(other))
            frame[at:] = other[start:]
        elif kind == 4:
            frame[at:at] = frame[: chance.randrange(1, 40)]
        elif kind == 5 and frame:
            frame[at % len(frame)] = chance.choice(
                (0, 0x7F, 0x80, 0xC0, 0xC4, 0xC7, 0xCB, 0xCF, 0xD3, 0xD9, 0xFF)
            )
        else:
            frame = frame[:at]
    return bytes(frame)


def fuzz(memory: Path, count: int, seed: int = 1) -> Frames:
    """Send a server so many frames of several clients at once; another client talks meanwhile."""
    seeds = [codec.encode(message) for _, message in samples()]
    seeds += [
        codec.encode(m.Say(conversation="c1", turn="t", line="2")),
        codec.encode(m.Open(conversation="c1", npc="npc")),
    ]
    outcome, over = Frames(), threading.Event()
    with server(memory) as (started, address):

        def bystand() -> None:
            with connect(address, timeout=30.0) as world:
                while True:
                    began = time.monotonic()
                    try:
                        heard = list(world["npc"].say("2"))
                        if isinstance(heard[-1], Failed) and "turns a minute" in heard[-1].message:
                            outcome.busy += 1
                        elif len(heard) != 3 or not isinstance(heard[-1], End):
                            outcome.failed.append(f"heard {heard}")
                    except NpcError as error:
                        outcome.failed.append(str(error))
                    outcome.served += 1
                    outcome.slowest = max(outcome.slowest, time.monotonic() - began)
                    if over.wait(0.3):  # as often as a client may
                        break

        other = threading.Thread(target=bystand)
        other.start()
        try:
            chance = random.Random(seed)
            while outcome.sent < count and started.poll() is None:
                _connection(address, chance, seeds, min(20_000, count - outcome.sent), outcome)
        finally:
            over.set()
            other.join(120)
        if started.poll() is not None:
            outcome.failed.append(f"the server ended with exit status {started.returncode}")
    return outcome


def _connection(address: str, chance: random.Random, seeds: list[bytes], count: int, outcome: Frames) -> None:
    """Frames over one context: new connections whenever the server has had enough of one."""
    _half_a_handshake(address, chance)
    with zmq.Context() as context:
        sockets = [_dealer(context, address, chance) for _ in range(4)]
        outcome.connections += 4
        for number in range(count):
            one = number % 4
            payload = mutated(chance, seeds)
            if number // 4 % 32 == 0:  # what makes sense, or 64 in a row would be the last that is read of it
                payload = codec.encode(m.Cancel(conversation="c1", turn="t"))
            sockets[one].send(payload)
            outcome.sent += 1
            if number // 4 % 128 == 127 or number >= count - 4:
                # Once this is answered, everything before it was read.
                sockets[one].send(codec.encode(m.Hello(client=f"soak-{chance.getrandbits(64):x}")))
                if not _answers(sockets[one], outcome):
                    sockets[one].close()
                    sockets[one] = _dealer(context, address, chance)
                    outcome.connections += 1
        for one in sockets:
            one.close()


def _answers(one: zmq.Socket[bytes], outcome: Frames) -> bool:
    """Read to the answer to a hello; False when the server will not hear any more of this connection."""
    while True:
        answer = one.recv()
        outcome.refused += any(code in answer for code in _REFUSED)
        if b"misbehaved" in answer:
            return False
        if b"welcome" in answer and b"epoch" in answer:
            return True


def _dealer(context: zmq.Context[Any], address: str, chance: random.Random) -> zmq.Socket[bytes]:
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.SNDTIMEO, 120_000)
    made.setsockopt(zmq.RCVTIMEO, 120_000)
    made.connect(address)
    made.send(codec.encode(m.Hello(client=f"soak-{chance.getrandbits(64):x}")))
    while b"welcome" not in made.recv():
        pass
    return made


def _half_a_handshake(address: str, chance: random.Random) -> None:
    """Below ZeroMQ: a greeting that is cut off, is noise, or is followed by half a message."""
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\0" + bytes(31)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
    whole = greeting + ready + b"\x02" + (1 << 40).to_bytes(8, "big") + b"half"
    for cut in (chance.randrange(64), 64 + chance.randrange(20), len(whole)):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as one,
        ):
            one.sendall(whole[:cut] if chance.random() < 0.7 else chance.randbytes(cut + 1))


# Kills


@dataclass
class Kills:
    """What became of what was acknowledged."""

    killed: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    slowest: float = 0.0
    """The longest time from a kill to the next answer, in seconds."""
    failed: list[str] = field(default_factory=list[str])


def kill(memory: Path, times: int, what: str) -> Kills:
    """Kill the ``worker`` or the ``bridge`` in mid-turn, so many times, below one client that goes on."""
    outcome = Kills()
    acknowledged: list[str] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with contextlib.ExitStack() as stack:
        current = stack.enter_context(contextlib.ExitStack())
        started = current.enter_context(server(memory, address))[0]
        with connect(address, timeout=5.0) as world, world["npc"].conversation() as talk:
            for number in range(times):
                turn = talk.say(f"500 {what} {number}")
                events = iter(turn)
                if not isinstance(next(events), Text):
                    outcome.failed.append(f"{what} {number}: nothing was said before the kill")
                    continue
                _acknowledge(world, f"before {what} {number}", acknowledged, outcome)
                began = time.monotonic()
                if what == "worker":
                    os.kill(worker_of(started.pid), signal.SIGKILL)
                else:
                    started.kill()
                    current.close()
                    started = current.enter_context(server(memory, address))[0]
                outcome.killed += 1
                last = [event for event in events if isinstance(event, End | Failed)]
                codes = [getattr(event, "code", "no error") for event in last]
                if len(codes) != 1 or codes[0] not in ("worker_died", "turn_lost", "server_unreachable"):
                    outcome.failed.append(f"{what} {number}: the turn ended {codes}")
                _answer(talk, f"3 after {what} {number}", acknowledged, outcome)
                outcome.slowest = max(outcome.slowest, time.monotonic() - began)
                _acknowledge(world, f"after {what} {number}", acknowledged, outcome)
    kept = (memory / "log").read_text(encoding="utf-8").splitlines()
    outcome.acknowledged = len(acknowledged)
    outcome.lost = sum(one not in kept for one in acknowledged)
    outcome.doubled = len(kept) - len(set(kept))
    return outcome


def _acknowledge(world: World, text: str, acknowledged: list[str], outcome: Kills) -> None:
    try:
        world.remember("npc", text)
        acknowledged.append(text)
    except NpcError as error:
        outcome.failed.append(f"{text}: {error}")


def _answer(talk: Any, line: str, acknowledged: list[str], outcome: Kills) -> None:
    """Say a line until it is answered: whole, in order, once."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        heard: list[Event] = []
        with contextlib.suppress(NpcError):
            heard = list(talk.say(line))
        if heard and isinstance(heard[-1], End):
            stamps = [event.text for event in heard if isinstance(event, Text)]
            if len(stamps) != 3 or sorted(set(stamps)) != stamps:
                outcome.failed.append(f"{line}: heard {stamps}")
            acknowledged.append(line)
            return
    outcome.failed.append(f"{line}: no answer")
