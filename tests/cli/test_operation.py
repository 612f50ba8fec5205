"""What an operator uses: keys, a configuration file, metrics, logs, top."""

from __future__ import annotations

import configparser
import inspect
import json
import logging
import re
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from npcsdk.bridge.access import Access
from npcsdk.bridge.keys import read_keys
from npcsdk.bridge.metrics import MetricsServer, prometheus
from npcsdk.bridge.server import Server
from npcsdk.bridge.stats import Stats
from npcsdk.cli.logs import log_json
from npcsdk.cli.main import app
from npcsdk.cli.settings import read_settings
from npcsdk.errors import BridgeError
from npcsdk.events import Action, End, Failed, Refused, Timings, Tokens

ROOT = Path(__file__).resolve().parents[2]


def test_keys_are_made_once_and_fit_the_configuration(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["keys", "game", "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    server, game = read_keys(tmp_path / "server.key"), read_keys(tmp_path / "game.key")
    assert game.server == server.public
    if sys.platform != "win32":
        assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0
    (tmp_path / "npcsdk.yaml").write_text(
        f'keys: server.key\nclients:\n  game: {{key: "{game.public}", role: direct}}\n', encoding="utf-8"
    )
    access = read_settings(tmp_path / "npcsdk.yaml").access()
    assert access == Access(
        secret_key=server.secret, public_key=server.public, clients={game.public: "direct"}
    )
    again = CliRunner().invoke(app, ["keys", "game", "--folder", str(tmp_path)])
    assert again.exit_code == 2
    assert read_keys(tmp_path / "server.key") == server


def test_several_worlds_have_workers_names_and_memories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr("npcsdk.cli.serve.run", lambda world, **how: served.append((world, how)))
    memory = tmp_path / "memory"
    done = CliRunner().invoke(app, ["serve", "worlds/tavern", "worlds/harbour", "--memory", str(memory)])
    assert done.exit_code == 0, done.output
    found = [(one["name"], one["prefix"], one["folder"], one["memory"]) for one in served[0][1]["workers"]]
    assert found == [
        ("tavern", "tavern/", Path("worlds/tavern"), str(memory / "tavern")),
        ("harbour", "harbour/", Path("worlds/harbour"), str(memory / "harbour")),
    ]
    done = CliRunner().invoke(app, ["serve", "worlds/tavern"])
    assert (served[1][0], served[1][1]["workers"]) == (Path("worlds/tavern"), [])
    done = CliRunner().invoke(app, ["serve", "a/tavern", "b/tavern"])
    assert (done.exit_code, len(served)) == (2, 2)


def test_workers_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[dict[str, Any]] = []
    monkeypatch.setattr("npcsdk.cli.serve.run", lambda world, **how: served.append({"world": world, **how}))
    path = tmp_path / "npcsdk.yaml"
    path.write_text(
        "world: town\nmemory: memory\nthreads: 2\n"
        "workers:\n  north: {npcs: [mira]}\n  south: {npcs: [tom], memory: elsewhere}\n"
        "  inn: {world: inn, model: other, options: {device: cpu}}\n",
        encoding="utf-8",
    )
    done = CliRunner().invoke(app, ["serve", "--config", str(path)])
    assert done.exit_code == 0, done.output
    north, south, inn = served[0]["workers"]
    assert served[0]["world"] == tmp_path / "town"
    assert (north["prefix"], north["npcs"], north["memory"]) == (
        "",
        ["mira"],
        str(tmp_path / "memory" / "north"),
    )
    assert (south["npcs"], south["memory"]) == (["tom"], str(tmp_path / "elsewhere"))
    assert (inn["prefix"], inn["folder"], inn["model"]) == ("inn/", tmp_path / "inn", "other")
    assert inn["options"] == {"threads": 2, "device": "cpu"}
    both = "workers:\n  a: {npcs: [x], memory: one}\n  b: {npcs: [y], memory: one}\n"
    path.write_text(both, encoding="utf-8")
    done = CliRunner().invoke(app, ["serve", "--config", str(path)])
    assert (done.exit_code, len(served)) == (2, 1)
    path.write_text(
        "memory: http://127.0.0.1:8000\nworkers:\n  a: {npcs: [x]}\n  b: {npcs: [y]}\n", encoding="utf-8"
    )
    done = CliRunner().invoke(app, ["serve", "--config", str(path)])
    assert (done.exit_code, len(served)) == (2, 1)
    path.write_text(
        "memory: http://127.0.0.1:8000\njournal: j\nworkers:\n  a: {npcs: [x]}\n  b: {npcs: [y]}\n",
        encoding="utf-8",
    )
    done = CliRunner().invoke(app, ["serve", "--config", str(path)])
    journals = [one["options"]["journal"] for one in served[1]["workers"]]
    assert journals == [str(tmp_path / "j" / "a"), str(tmp_path / "j" / "b")]


def test_the_example_configuration_is_one() -> None:
    settings = read_settings(ROOT / "examples" / "serve" / "npcsdk.yaml")
    assert settings.bounds().turns_per_minute == 240
    assert settings.access() == Access()


def test_the_example_service_and_start_script_run_this_command() -> None:
    serve = ROOT / "examples" / "serve"
    unit = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read_string((serve / "npcsdk.service").read_text(encoding="utf-8"))
    program, *service = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "npcsdk"
    assert (
        int(unit["Service"]["TimeoutStopSec"]) > inspect.signature(Server).parameters["drain_timeout"].default
    )
    script = (serve / "start.cmd").read_text(encoding="utf-8")
    (line,) = [line for line in script.splitlines() if " serve " in line]
    for arguments in (service, shlex.split(line.partition(".exe ")[2])):
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        assert (done.exit_code, "cannot be read" in done.stderr) == (2, True)  # only the file is not there


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("adress: tcp://127.0.0.1:1\n", ":1:1 adress"),
        ("log: text\nlimits:\n  clients: none\n", ":3:12 limits.clients"),
        ("limits: {queue: 0}\n", ":1:17 limits.queue"),
        ("threads: 0\n", ":1:10 threads"),
        ("limits: {threads: many}\n", ":1:19 limits.threads"),
        ("clients:\n  game: {key: x, role: king}\n", "clients.game.role"),
        ("- a\n- b\n", "the file"),
        ("workers: {a: {npcs: []}}\n", "workers.a.npcs"),
        ("workers: {a: {}, b: {}}\n", "the worker 'a' needs a world of its own, or npcs"),
        ("workers: {a: {npcs: [x]}, b: {npcs: [x]}}\n", "'x' is with the workers 'a' and 'b'"),
        ("workers: {a/b: {world: x}}\n", "must not be empty or have a slash"),
        ("log: [\n", ":"),
    ],
)
def test_a_mistake_in_the_configuration_is_named_with_its_place(
    text: str, place: str, tmp_path: Path
) -> None:
    path = tmp_path / "npcsdk.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BridgeError) as caught:
        read_settings(path)
    assert caught.value.code == "bad_config"
    assert place in caught.value.message


@pytest.mark.parametrize(
    ("given", "told"),
    [([], 3), (["--threads", "2"], 2), (["--threads", "0"], None), (["--threads", "x"], None)],
)
def test_the_models_threads_are_an_option_and_a_setting(
    given: list[str], told: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[dict[str, Any]] = []
    monkeypatch.setattr("npcsdk.cli.serve.run", lambda world, **how: served.append(how))
    path = tmp_path / "npcsdk.yaml"
    path.write_text("threads: 3\noptions: {device: cpu}\nlimits: {threads: 5}\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["serve", "--config", str(path), *given])
    if told is None:
        assert done.exit_code == 2
        assert served == []
    else:
        assert served[0]["options"] == {"device": "cpu", "threads": told}
        assert served[0]["limits"].threads == 5


def test_metrics_are_what_prometheus_reads() -> None:
    stats = Stats()
    stats.began(0.02)
    for event in (
        Action(id="a", name="wave", arguments={}),
        Refused(name="fly", code="unknown_action", message="No."),
        Failed(code="backend_error", message="It broke."),
        End(
            reason="stop",
            tokens=Tokens(prompt=90, cached=80, computed=10, generated=5),
            timings=Timings(recall_ms=1.0, first_token_ms=40.0, total_ms=140.0),
        ),
    ):
        stats.told(event)
    text = prometheus({"clients": 3, "ready": True, "refused": {'a"b': 1}, "worker": stats.as_data()})
    for line in (
        "npcsdk_clients 3",
        "npcsdk_ready 1",
        'npcsdk_refused_total{code="a\\"b"} 1',
        'npcsdk_actions_total{outcome="made"} 1',
        'npcsdk_actions_total{outcome="refused_unknown_action"} 1',
        'npcsdk_tokens_total{kind="generated"} 5',
        'npcsdk_first_token_seconds_bucket{le="0.025"} 0',
        'npcsdk_first_token_seconds_bucket{le="0.05"} 1',
        'npcsdk_first_token_seconds_bucket{le="+Inf"} 1',
        "npcsdk_first_token_seconds_sum 0.04",
        "npcsdk_generating_seconds_total 0.1",
    ):
        assert line in text.splitlines()
    sample = re.compile(r'npcsdk_\w+(\{\w+="([^"\\\n]|\\.)*"\})? [0-9.e+-]+')
    for line in text.splitlines():
        assert line.startswith("# ") or sample.fullmatch(line), line
    assert prometheus({})  # before the worker has said anything


def test_metrics_over_http() -> None:
    served = MetricsServer("127.0.0.1:0", lambda: {"clients": 2})
    try:
        with urlopen(f"http://{served.address}/metrics", timeout=5) as answer:
            assert b"npcsdk_clients 2" in answer.read()
        with pytest.raises(HTTPError) as caught:
            urlopen(f"http://{served.address}/other", timeout=5)
        caught.value.close()
        with pytest.raises(BridgeError) as refused:
            MetricsServer(served.address, dict)
        assert refused.value.code == "bad_metrics_address"
    finally:
        served.close()


def test_top_shows_a_server(script: Callable[..., str]) -> None:
    server = Server({"model": script("Hm.")}, address="tcp://127.0.0.1:*")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        done = CliRunner().invoke(app, ["top", "--once", "--address", server.address])
    finally:
        server.stop()
        thread.join(20)
    assert done.exit_code == 0, done.output
    assert "Harrowmere" in done.output
    assert re.search(r"clients \(slow\)\W+1 \(0\)", done.output)


def test_logs_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log_json()
        logging.getLogger("npcsdk.test").warning("A “quoted” %s", "word\nand a line")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    (line,) = capsys.readouterr().err.splitlines()
    data = json.loads(line)
    assert (data["level"], data["message"]) == ("warning", "A “quoted” word\nand a line")
