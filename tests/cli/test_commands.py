"""`play`, `say`, `check` and `init`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import in_terminal

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Script = Callable[..., str]
CALL = '<toolcall> {"name": "open_gate", "arguments": {"gate": "iron gate"}} </toolcall>'


def paragraph(done: subprocess.CompletedProcess[str]) -> str:
    """What an error printed: on stderr, exit code 2, no traceback."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_say_prints_the_answer(npcsdk_process: Run, script: Script) -> None:
    done = npcsdk_process("say", "bram", "hello", "--model", script("State your business."))
    assert (done.returncode, done.stdout) == (0, "State your business.\n"), done.stderr


def test_say_json_is_one_event_a_line(npcsdk: Run, script: Script) -> None:
    model = script(f"Stand back. {CALL}", "Grüß Gott. <toolcall> nonsense </toolcall>")
    done = npcsdk(
        "say", "bram", "open the gate", "--json", "--state", "nearby=iron gate,well", "--model", model
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert set(kinds) == {"text", "action_started", "action", "refused", "end"}
    assert kinds[-1] == "end"
    action = events[kinds.index("action")]
    assert action.keys() >= {"id", "name", "arguments", "offset"}
    assert (action["name"], action["arguments"], action["offset"]) == ("open_gate", {"gate": "iron gate"}, 11)
    assert "".join(event["text"] for event in events if event["event"] == "text") == "Stand back. Grüß Gott."
    end = events[-1]
    assert (end["reason"], end["text"]) == ("stop", "Stand back. Grüß Gott.")
    assert {"tokens", "timings", "recalled", "dropped"} <= end.keys()


def test_say_json_reports_a_failed_turn(npcsdk: Run, script: Script) -> None:
    long = "word " * 5000
    done = npcsdk("say", "bram", long, "--json", "--model", script("x"))
    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert (error["event"], error["code"]) == ("error", "line_too_long")
    assert error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nobody", "hi"), "npc_unknown"),
        (("bram", ""), "line_empty"),
        (("bram", "<extra_id_1>"), "line_empty"),
        (("bram", "hi", "--model", "/no/such/model"), "model_not_found"),
        (("bram", "hi", "--model", "nemotron-mini"), "model_unknown"),
        (("bram", "hi", "--world", "/no/such/world"), "world"),
        (("bram", "hi", "--state", "trust"), "bad_state"),
    ],
)
def test_mistakes_are_one_paragraph(
    npcsdk: Run, script: Script, arguments: tuple[str, ...], code: str
) -> None:
    model = () if "--model" in arguments else ("--model", script("x"))
    text = paragraph(npcsdk("say", *arguments, *model))
    assert code in text
    assert "hint" in text


def test_play_reads_a_pipe_to_its_end(npcsdk_process: Run, script: Script) -> None:
    model = script("Good day.", f"Stand back. {CALL}", "It is open.", "Farewell.")
    done = npcsdk_process("play", "bram", "--model", model, stdin="hello\n\nopen the iron gate\nbye")
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'Good day.\nStand back.\n[open_gate(gate="iron gate")]\nIt is open.\nFarewell.\n'


def test_play_goes_on_after_a_mistake(npcsdk_process: Run, script: Script) -> None:
    done = npcsdk_process("play", "bram", "--model", script("Good day."), stdin="<extra_id_1>\nhello\n")
    assert done.returncode == 2
    assert done.stdout == "Good day.\n"
    assert "line_empty" in done.stderr


def test_play_commands(npcsdk: Run, script: Script) -> None:
    lines = (
        "/who\n/talk torva\nhello\n/why\n/state trust=80\n/event A wolf howls.\n/nonsense\n/quit\nnot read\n"
    )
    done = npcsdk("play", "bram", "--model", script("Aye."), stdin=lines)
    assert done.returncode == 0, done.stderr
    assert "torva" in done.stdout
    assert done.stdout.count("Aye.") == 2
    assert "/talk NPC" in done.stdout


def test_play_speaks_with_who_is_asked_for(npcsdk: Run, script: Script) -> None:
    assert "npc_unknown" in paragraph(npcsdk("play", "nobody", "--model", script("x"), stdin="hi\n"))


def test_memory_is_kept_between_runs(npcsdk_process: Run, script: Script, tmp_path: Path) -> None:
    memory = ("--memory", str(tmp_path / "memory"))
    npcsdk_process(
        "say", "bram", "My horse is called Thunderhoof.", *memory, "--model", script("A good name.")
    )
    done = npcsdk_process(
        "say", "bram", "What is my horse called?", "--json", *memory, "--model", script("Thunderhoof.")
    )
    end = json.loads(done.stdout.splitlines()[-1])
    assert any("Thunderhoof" in item["text"] for item in end["recalled"])


def test_check_names_every_mistake(npcsdk: Run, tmp_path: Path) -> None:
    npcsdk("init", "world")
    persona = next(path for path in (tmp_path / "world").glob("*.yaml") if path.name != "world.yaml")
    with persona.open("a", encoding="utf-8") as file:
        file.write("manor: warm\nvoise: deep\n")
    done = npcsdk("check", "world")
    assert done.returncode == 2
    assert done.stdout.count("NPC") == 2
    assert f"{persona.name}:" in done.stdout
    assert "^^^^^" in done.stdout
    assert "manner" in done.stdout


def test_init_makes_a_world_that_checks_and_plays(npcsdk: Run, script: Script, tmp_path: Path) -> None:
    assert npcsdk("init", "world").returncode == 0
    assert npcsdk("check", "world").returncode == 0
    done = npcsdk("play", "--world", "world", "--model", script("Hello there."), stdin="hi\n")
    assert done.stdout == "Hello there.\n", done.stderr
    assert "folder_not_empty" in paragraph(npcsdk("init", "world"))


def test_check_without_a_path_checks_the_shipped_world(npcsdk: Run) -> None:
    assert npcsdk("check").returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_stops_the_character_and_not_the_program(script: Script, tmp_path: Path) -> None:
    """In a real terminal: interrupt a long answer, then go on talking."""
    model = script("Hm.", "word " * 400 + "never said", "Short answer.", delay=0.02)
    seen = bytearray()
    with in_terminal("play", "bram", "--model", model, folder=tmp_path) as (shown, terminal):

        def wait_for(text: bytes, count: int = 1) -> None:
            while seen.count(text) < count:
                seen.extend(os.read(terminal, 4096))

        wait_for(b"you")
        os.write(terminal, b"tell me a story\n")
        wait_for(b"word word word")
        os.write(terminal, b"\x03")
        wait_for(b"[stopped]")
        wait_for(b"you", 2)
        os.write(terminal, b"hello?\n")
        wait_for(b"Short answer.")
        os.write(terminal, b"/quit\n")
        assert shown.wait(30) == 0
    assert b"never said" not in seen
    assert signal.SIGINT.name.encode() not in seen


def test_say_explain_shows_actions_and_calls(npcsdk: Run, script: Script) -> None:
    model = script(f"Stand back. {CALL} <toolcall> fly! </toolcall>", "So.")
    done = npcsdk(
        "say", "bram", "open the gate", "--explain", "--state", "nearby=iron gate,well", "--model", model
    )
    assert done.returncode == 0, done.stderr
    assert "offered: open_gate, point_to" in done.stdout
    assert "withheld attack: its condition" in done.stdout
    assert "held to nothing" in done.stdout
    assert 'wrote {"name": "open_gate", "arguments": {"gate": "iron gate"}}' in done.stdout
    assert "-> action " in done.stdout
    assert "-> malformed: " in done.stdout
