"""A fine-tuned model with its own dialect of calls: one new file, and a line in its package's entry points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npcsdk.dialogue.world import open_world
from npcsdk.errors import ActionError
from npcsdk.events import Action, ActionStarted, End, Text

KLINGON = """
import json
from npcsdk.actions.formats import ToolFormat

class Klingon(ToolFormat):
    name = "klingon"
    opening = "<do>"
    closing = "<done>"

    def render_call(self, name, arguments):
        return self.opening + json.dumps({"name": name, "arguments": dict(arguments)}) + self.closing

class Typed(Klingon):
    name = "typed"
    opening = "Qapla'("

FORMAT, TYPED = Klingon(), Typed()
"""
POINTS = """
[npcsdk.tool_formats]
klingon = klingon_dialect:FORMAT
typed = klingon_dialect:TYPED
no_dialect = json:dumps
not_there = no_such_module:FORMAT
"""
CALL = '<do>{"name": "open_gate", "arguments": {"gate": "iron gate"}}<done>'


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip leaves it."""
    packages = tmp_path / "packages"
    (packages / "klingon-1.0.dist-info").mkdir(parents=True)
    (packages / "klingon-1.0.dist-info" / "METADATA").write_text("Name: klingon\nVersion: 1.0\n")
    (packages / "klingon-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    (packages / "klingon_dialect.py").write_text(KLINGON)
    monkeypatch.syspath_prepend(packages)


def test_the_model_is_read_in_its_own_dialect(tmp_path: Path) -> None:
    script = tmp_path / "replies.json"
    script.write_text(json.dumps([f"Stand back. {CALL} So.", "It is open."]), encoding="utf-8")
    with open_world(model=f"scripted:{script}", options={"tool_format": "klingon"}) as world:
        talk = world.open("bram")
        events = []
        for event in talk.say("Open the gate!", state={"nearby": ["iron gate"]}):
            events.append(event)
            if isinstance(event, Action):
                talk.result(event.id, "done")
    assert [dict(event.arguments) for event in events if isinstance(event, Action)] == [{"gate": "iron gate"}]
    assert any(isinstance(event, ActionStarted) for event in events)
    assert "<do" not in "".join(event.text for event in events if isinstance(event, Text))
    assert isinstance(events[-1], End)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("vulcan", "unknown_tool_format"),
        ("no_dialect", "bad_tool_format"),
        ("not_there", "bad_tool_format"),
        ("typed", "bad_tool_format"),
    ],
)
def test_what_is_no_dialect_is_named(name: str, code: str, tmp_path: Path) -> None:
    script = tmp_path / "replies.json"
    script.write_text('["Hm."]', encoding="utf-8")
    with pytest.raises(ActionError) as caught:
        open_world(model=f"scripted:{script}", options={"tool_format": name})
    assert caught.value.code == code
    assert name in caught.value.message
    if name == "vulcan":
        assert "nemotron, klingon" in caught.value.hint
    if name == "typed":
        assert "a player could type" in caught.value.message
