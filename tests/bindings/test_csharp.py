"""The C# client: messages against the vectors, ZMTP against libzmq, and a game against a live server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from bindings import metas
from tests.bindings.csharp_build import CSHARP, Game, build, build_stub, needs_mono, program_of_tests, run
from tests.bindings.serving import ROOT, ServerProcess, Wire, free_port

pytestmark = needs_mono
VECTORS = ROOT / "bindings" / "vectors" / "protocol-1.json"


@pytest.fixture
def server() -> Iterator[Callable[..., ServerProcess]]:
    running: list[ServerProcess] = []

    def start(port: int, *arguments: str) -> ServerProcess:
        running.append(ServerProcess(port, *arguments))
        return running[-1]

    yield start
    for one in running:
        one.kill()


@pytest.fixture
def game() -> Iterator[Callable[..., Game]]:
    running: list[Game] = []

    def start(address: str, *, silence: float = 5.0) -> Game:
        running.append(Game(address, silence=silence))
        return running[-1]

    yield start
    for one in running:
        one.end()


@pytest.fixture
def wire() -> Iterator[Callable[[int], Wire]]:
    made: list[Wire] = []

    def start(port: int) -> Wire:
        made.append(Wire(port))
        return made[-1]

    yield start
    for one in made:
        one.close()


# Without a server


def test_the_library_compiles_alone() -> None:
    build("Npcsdk.dll", "Runtime/*.cs")


def test_every_vector_both_ways() -> None:
    told = run(program_of_tests(), "vectors", str(VECTORS))
    messages = json.loads(VECTORS.read_text(encoding="utf-8"))["messages"]
    spoken = [one["from"] for one in messages if one["since"] <= [1, 1]]
    counts = [spoken.count("client"), spoken.count("server"), len(messages) - len(spoken)]
    assert told == "{} commands, {} events, {} of a newer minor passed over\n".format(*counts)


def test_msgpack_of_every_width_and_of_no_sense() -> None:
    run(program_of_tests(), "msgpack")


def test_zmtp_at_every_cut_heartbeats_errors_garbage() -> None:
    run(program_of_tests(), "zmtp")


def test_the_peer_without_a_socket() -> None:
    run(program_of_tests(), "peer")


def test_the_peer_under_events_in_any_order() -> None:
    run(program_of_tests(), "fuzz", "1000")


# Against libzmq


@pytest.mark.parametrize("piece", [0, 1, 7])
def test_zmtp_against_libzmq(piece: int) -> None:
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.HEARTBEAT_IVL, 20)
    router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2000)
    router.setsockopt(zmq.HEARTBEAT_TTL, 5000)
    router.setsockopt(zmq.LINGER, 0)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    over = threading.Event()

    def echo() -> None:
        while not over.is_set():
            if router.poll(20):
                router.send_multipart(router.recv_multipart())

    thread = threading.Thread(target=echo)
    thread.start()
    try:
        run(program_of_tests(), "echo", str(port), str(piece))
    finally:
        over.set()
        thread.join()
        router.close()
        context.term()


def _publisher(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    return context.socket(zmq.PUB)


def _locked(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    _, secret = zmq.curve_keypair()
    router.curve_secretkey, router.curve_server = secret, True
    return router


def _stream(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    return context.socket(zmq.STREAM)  # speaks no ZMTP: here it stays silent


@pytest.mark.parametrize(
    ("made", "why"), [(_publisher, "not a ROUTER"), (_locked, "authentication"), (_stream, "says nothing")]
)
def test_a_socket_of_another_kind_is_named(
    made: Callable[[zmq.Context[zmq.Socket[bytes]]], zmq.Socket[bytes]], why: str, game: Callable[..., Game]
) -> None:
    with zmq.Context[zmq.Socket[bytes]]() as context, made(context) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        one = game(f"tcp://127.0.0.1:{port}", silence=1)
        one.wait("problem")  # server_unreachable
        end = time.monotonic() + 20
        while why not in one.ask("trouble")[1]:
            assert time.monotonic() < end, one.told[-1]
        one.quit()


# A game and a live server


def _scripted(tmp_path: Path, server: Callable[..., ServerProcess], gate: str) -> ServerProcess:
    """``npcsdk serve`` with a character whose model says what is written here."""
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "world.yaml").write_text("name: Testholm\nsetting: A village.\nactions: {}\n", encoding="utf-8")
    (folder / "mira.yaml").write_text(
        "name: Mira\nrole: gatekeeper\nabout: Keeps the gate.\n", encoding="utf-8"
    )
    call = json.dumps({"name": "open_gate", "arguments": {"gate": gate}})
    replies = [
        f"Wait. <toolcall> {call} </toolcall>",
        "It stands open, ändlich 🚪.",
    ]
    (tmp_path / "script.json").write_text(json.dumps(replies), encoding="utf-8")
    return server(free_port(), "--world", str(folder), "--model", f"scripted:{tmp_path / 'script.json'}")


def test_a_line_an_action_its_result_and_the_end(
    tmp_path: Path, server: Callable[..., ServerProcess], game: Callable[..., Game]
) -> None:
    served = _scripted(tmp_path, server, "north")
    one = game(served.address, silence=20)
    one.do("open mira")
    turn = one.say(0, "Open the gate, please.")  # before anybody listens there
    end = one.wait("end", turn, timeout=40)
    assert one.wait("then", turn)[2] == "stop"
    assert "".join(one.texts(turn)) == end[3]
    assert "Wait." in end[3]
    assert "It stands open, ändlich 🚪." in end[3]
    assert ["awaited", "Testholm"] in one.told
    one.do("late")
    one.quit()


def test_an_action_of_the_worlds_is_answered_later(
    server: Callable[..., ServerProcess], game: Callable[..., Game]
) -> None:
    one = game(server(free_port()).address, silence=20)
    one.do("open mira")
    turn = one.say(0, "act fetch water")
    action = one.wait("action", turn, timeout=40)
    assert action[2:] == ["a1", "fetch{target: water}", "True"]
    one.do("done a1 a full bucket")
    assert one.wait("end", turn)[3] == "Wait. done: a full bucket"
    turn = one.say(0, "act fetch gold")
    one.wait("action", turn)
    one.do("fail a1 there is none")
    assert one.wait("end", turn)[3] == "Wait. failed: there is none"
    one.do("seeded 0 state")
    assert one.wait("end")[3] == "{'trust': 61} 7"
    one.do("react 0 the bell rings")
    assert one.wait("end")[3] == "mira heard say You saw: the bell rings"
    turn = one.say(0, "fail")
    assert one.wait("error", turn)[2:] == ["backend_error", "Hm"]
    assert one.wait("then", turn)[2] == "backend_error"
    turn = one.say(0, "refuse")
    assert one.wait("refused", turn)[2] == "unknown_action"
    one.do("open nobody")
    assert one.wait("open failed")[2] == "npc_unknown"
    one.quit()


def test_requests(server: Callable[..., ServerProcess], game: Callable[..., Game]) -> None:
    """Protocol 1.1 against the live server: each is answered once, and what is refused says why."""
    served = server(free_port())
    one, other = game(served.address, silence=20), game(served.address, silence=20)
    for player in (one, other):
        player.do("open mira")
        player.wait("ready", timeout=40)
    for command, answer in {
        "prepare 0": "prepare\t{computed: 7, cached: 0}",
        "state 0 night": "state\t{}",
        "set mira trust": "set\t{}",
        "remember mira The window is paid.": "remember\t{}",
        "save autosave": "save\t{}",
        "slots": "slots\t{slots: [autosave]}",
        "load autosave": "load\t{}",
    }.items():
        one.do(command)
        assert "\t".join(one.wait("done")[1:]) == answer
    one.do("load nothing")
    assert one.wait("refused request")[1:] == ["load", "slot_unknown"]
    one.do("metrics")
    assert "conversations" in one.wait("done", "metrics")[2]
    one.do("typing 0 Good ev")
    turn = one.say(0, "hello")
    one.wait("end", turn)
    one.do(f"heard {turn} 5")
    one.wait("done", "heard")
    other.do("subscribe mira on")
    other.wait("done", "subscribe")
    one.wait("end", one.say(0, "a secret"))
    assert other.wait("overheard")[1:] == ["mira", "player", "said", "a secret"]
    other.wait("overheard", "mira", "player", "end")
    for player in (one, other):
        player.quit()


def test_requests_over_a_connection_that_is_cut_are_carried_out_once(
    server: Callable[..., ServerProcess], game: Callable[..., Game], wire: Callable[[int], Wire]
) -> None:
    port = free_port()
    server(port)
    between = wire(port)
    one = game(between.address, silence=20)
    one.do("open mira")
    one.wait("ready", timeout=40)
    for number in range(8):
        one.do(f"save s{number}")
        between.cut()
        one.wait("done", "save")
    one.do("slots")
    assert one.wait("done", "slots")[2] == "{slots: [" + ", ".join(f"s{number}" for number in range(8)) + "]}"
    assert sum(line[:2] == ["done", "save"] for line in one.told) == 8
    assert between.made > 1
    one.quit()


def test_cancel_and_speak_on_in_one_breath(
    server: Callable[..., ServerProcess], game: Callable[..., Game]
) -> None:
    one = game(server(free_port()).address, silence=20)
    one.do("open mira")
    first = one.say(0, "for-ever")
    one.wait("text", first, timeout=40)
    one.do("cancel 0")
    second = one.say(0, "hello")
    assert one.wait("end", first)[2] == "cancelled"
    assert one.wait("end", second)[2:] == ["stop", "mira heard hello"]
    third = one.say(0, "for-ever")
    one.wait("text", third)
    one.do("close 0")
    assert one.wait("end", third)[2] == "cancelled"
    one.do("say 0 anything")
    assert one.wait("threw")[1] == "closed"
    one.quit()


def test_a_connection_cut_again_and_again_loses_and_doubles_nothing(
    server: Callable[..., ServerProcess], game: Callable[..., Game], wire: Callable[[int], Wire]
) -> None:
    port = free_port()
    server(port)
    between = wire(port)
    one = game(between.address, silence=20)
    one.do("open mira")
    one.wait("ready", timeout=40)
    for _ in range(5):
        turn = one.say(0, "count 400")
        between.cut()
        one.wait("text", turn)
        between.cut()
        assert one.wait("end", turn)[2] == "stop"
        assert "".join(one.texts(turn)) == "".join(f"{number} " for number in range(400))
    assert between.made > 5
    one.quit()


def _wait_until_it_listens(port: int) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("nobody listens")


def test_a_server_that_is_killed_and_started(
    server: Callable[..., ServerProcess], game: Callable[..., Game]
) -> None:
    port = free_port()
    first = server(port)
    one = game(first.address, silence=20)
    one.do("open mira")
    lost = one.say(0, "for-ever")
    one.wait("text", lost, timeout=40)
    first.kill()
    second = server(port)
    _wait_until_it_listens(port)
    up = time.monotonic()
    assert one.wait("error", lost, timeout=40)[2] == "turn_lost"
    assert time.monotonic() - up < 2  # half a second between attempts; the rest is for a busy machine
    turn = one.say(0, "count 50")
    assert one.wait("end", turn)[2] == "stop"
    assert "".join(one.texts(turn)) == "".join(f"{number} " for number in range(50))
    second.terminate()  # with a goodbye
    assert one.wait("lost")[1:] == ["shutting_down", "False"]
    server(port)
    one.wait("ready", timeout=40)
    turn = one.say(0, "count 3")
    assert one.wait("end", turn)[2] == "stop"
    one.quit()


def test_a_worker_that_dies(server: Callable[..., ServerProcess], game: Callable[..., Game]) -> None:
    one = game(server(free_port()).address, silence=20)
    one.do("open mira")
    one.do("open tom")
    waiting = one.say(1, "for-ever")
    one.wait("text", waiting, timeout=40)
    for _ in range(2):
        turn = one.say(0, "die")
        assert one.wait("error", turn)[2] == "worker_died"
        assert one.wait("lost")[1:] == ["worker_died", "False"]
        turn = one.say(0, "count 20")
        assert one.wait("end", turn)[2] == "stop"
        assert "".join(one.texts(turn)) == "".join(f"{number} " for number in range(20))
    assert [line[2] for line in one.told if line[:2] == ["error", waiting]] == ["worker_died"]
    one.quit()


@pytest.mark.parametrize("listening", [False, True])
def test_a_dead_server_never_blocks(game: Callable[..., Game], listening: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes connections, and says nothing
        port = nobody.getsockname()[1] if listening else free_port()
        _talk_to_nobody(game(f"tcp://127.0.0.1:{port}", silence=0.5))


def _talk_to_nobody(one: Game) -> None:
    one.do("open mira")
    turn = one.say(0, "anybody?")
    assert one.wait("error", turn)[2] == "server_unreachable"
    assert one.wait("problem")[1] == "server_unreachable"
    open_turn = one.say(0, "still nobody?")
    dispose, longest = one.quit()
    assert ["error", open_turn, "closed", ""] in one.told
    assert dispose < 1500  # milliseconds; a machine that is busy with other things takes its share,
    assert longest < 4000  # of the first poll, too, which is compiled as it runs


def test_a_server_that_falls_silent_and_speaks_again(
    server: Callable[..., ServerProcess], game: Callable[..., Game], wire: Callable[[int], Wire]
) -> None:
    port = free_port()
    server(port)
    between = wire(port)
    one = game(between.address, silence=1)
    one.do("open mira")
    one.wait("ready", timeout=40)
    between.silent = True
    turn = one.say(0, "hello")
    assert one.wait("error", turn)[2] == "server_unreachable"
    between.silent = False
    between.cut()
    one.until(lambda line: line[0] == "ready")
    turn = one.say(0, "hello")
    assert one.wait("end", turn)[3] == "mira heard hello"
    one.quit()


def test_a_second_play_in_one_process(
    server: Callable[..., ServerProcess], game: Callable[..., Game]
) -> None:
    """Each play goes on with the history of the one before, whose goodbye comes in the middle of a turn."""
    one = game(server(free_port()).address, silence=20)
    one.wait("ready", timeout=40)
    history = ""
    for _ in range(8):
        one.do(f"open mira {history}".strip())
        running = one.say(0, "for-ever")
        one.wait("text", running)
        history = one.told[[line[0] for line in one.told].index("opened")][2]
        one.do("again")
        assert one.wait("error", running)[2] == "closed"
        one.wait("again")
        one.wait("ready")
    one.quit()


@pytest.mark.parametrize("bad", ["", "127.0.0.1:5990", "tcp://:1", "tcp://x", "tcp://x:0", "tcp://x:70000"])
def test_an_address_that_is_none(bad: str) -> None:
    with pytest.raises(AssertionError, match="bad_address"):
        run(program_of_tests(), "client", bad, "1")


def test_no_allocation_for_each_token() -> None:
    told = json.loads(run(program_of_tests(), "steady"))
    assert told["bytes_idle"] == 0
    assert told["bytes_tokens"] == 0
    assert told["tokens"] >= 1000


# The example


def test_the_console_game(tmp_path: Path, server: Callable[..., ServerProcess]) -> None:
    served = _scripted(tmp_path, server, "north gate")
    program = build("game.exe", "Runtime/*.cs", "Samples~/Console/*.cs")
    played = subprocess.run(
        ["mono", str(program), served.address],
        input="Open the gate, please.\n\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    assert "and meet Mira" in played.stdout
    assert "* The north gate swings open. *" in played.stdout
    assert "It stands open, ändlich 🚪.\n" in played.stdout


def test_the_console_game_with_the_model_that_ships(server: Callable[..., ServerProcess]) -> None:
    served = server(free_port(), "--world", str(ROOT / "personas"))
    program = build("game.exe", "Runtime/*.cs", "Samples~/Console/*.cs")
    played = subprocess.run(
        ["mono", str(program), served.address],
        input="Good evening.\nWho are you?\n\n",
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    said = played.stdout.split("An empty line leaves.\n")[1]
    assert len(said.split()) > 4, played.stdout
    assert not re.search(r"\[\w+_\w+\]|\[The ", said), played.stdout  # no error


# Unity, against a stand-in of the engine


@pytest.fixture(scope="module")
def play() -> Path:
    """The package compiled as its assembly definitions divide it, and a program that plays a scene."""
    engine = build_stub("UnityEngine.dll", "Unity*.cs", ())
    client = build("Npcsdk.dll", "Runtime/*.cs")
    unity = build("Npcsdk.Unity.dll", "Runtime/Unity/*.cs", references=(client, engine))
    editor = build("Npcsdk.Editor.dll", "Editor/*.cs", references=(client, engine, unity))
    build("Gatekeeper.dll", "Samples~/Gatekeeper/*.cs", references=(client, engine, unity))
    return build_stub("Play.exe", "Play.cs", (client, engine, unity, editor))


def test_the_engine_part_keeps_the_client_free_of_the_engine() -> None:
    for source in (CSHARP / "Runtime").glob("*.cs"):
        assert "UnityEngine" not in source.read_text(encoding="utf-8"), source
    definition = json.loads((CSHARP / "Runtime" / "Npcsdk.asmdef").read_text(encoding="utf-8"))
    assert definition["noEngineReferences"] is True


def test_a_scene_is_played_three_times_in_one_process(
    play: Path, server: Callable[..., ServerProcess]
) -> None:
    told = run(play, server(free_port()).address, "play")
    assert told.splitlines()[-1] == "played"
    assert told.count("It broke.") == 3
    assert "error" not in told.replace("errors", "")


def test_the_inspectors_server_ends_with_the_editor(play: Path, tmp_path: Path) -> None:
    program = tmp_path / "npc sdk"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@" > "$0.arguments"\nexec sleep 600\n', encoding="utf-8")
    program.chmod(0o755)
    assert "stopped" in run(play, "tcp://127.0.0.1:5990", "server", str(program))
    arguments = program.with_name("npc sdk.arguments").read_text(encoding="utf-8").split("|")
    assert arguments == ["serve", "--address", "tcp://127.0.0.1:5990", "--world", 'a "world"\\', ""]


def test_the_package_names_what_is_there() -> None:
    package = json.loads((CSHARP / "package.json").read_text(encoding="utf-8"))
    for sample in package["samples"]:
        assert list((CSHARP / sample["path"]).glob("*.cs"))
    names = {path.stem for path in CSHARP.rglob("*.asmdef")}
    for path in CSHARP.rglob("*.asmdef"):
        definition = json.loads(path.read_text(encoding="utf-8"))
        assert definition["name"] == path.stem
        assert set(definition.get("references", [])) <= names
    version = (CSHARP / "Runtime" / "NpcClient.cs").read_text(encoding="utf-8")
    assert f'Version = "{package["version"]}"' in version


def test_the_sample_scene_points_at_its_script() -> None:
    folder = CSHARP / "Samples~" / "Gatekeeper"
    meta = (folder / "Gatekeeper.cs.meta").read_text(encoding="utf-8")
    guid = re.search(r"^guid: ([0-9a-f]{32})$", meta, re.MULTILINE)
    scene = (folder / "Gatekeeper.unity").read_text(encoding="utf-8")
    assert guid is not None
    assert f"guid: {guid[1]}" in scene
    anchors = re.findall(r"^--- !u!\d+ &(\d+)$", scene, re.MULTILINE)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"fileID: (\d+)}", scene)) - {"0"} <= set(anchors)


def test_every_file_has_its_meta() -> None:
    """Unity keeps one beside each file and folder; in a package that it may not write, a missing one hides the file."""
    guids: dict[str, Path] = {}
    for path in metas.assets():
        beside = path.with_name(path.name + ".meta")
        text = beside.read_text(encoding="utf-8")
        guid = re.search(r"^guid: ([0-9a-f]{32})$", text, re.MULTILINE)
        assert guid is not None, beside
        assert guid[1] not in guids, (beside, guids[guid[1]])
        guids[guid[1]] = beside
        assert ("folderAsset: yes" in text) == path.is_dir()
    for beside in CSHARP.rglob("*.meta"):
        assert beside.with_suffix("").exists(), f"{beside} belongs to nothing"


def test_a_guid_depends_on_the_path_alone() -> None:
    path = CSHARP / "Runtime" / "Unity" / "NpcBridge.cs"
    assert "guid: ae5103c14731a8b71e96924ff6d7aab2" in metas.meta(path)
    assert path.with_name("NpcBridge.cs.meta").read_text(encoding="utf-8") == metas.meta(path)
