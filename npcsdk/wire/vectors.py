"""Every message as fields and as bytes, for clients in other languages to be tested with.

``python -m npcsdk.wire.vectors`` writes ``bindings/vectors/protocol-1.json``; a test compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npcsdk.events import (
    Action,
    ActionStarted,
    Dropped,
    End,
    Explanation,
    Failed,
    Recalled,
    Refused,
    Text,
    Timings,
    Tokens,
    Withheld,
    Written,
)
from npcsdk.wire import messages as m
from npcsdk.wire.codec import encode, unpack
from npcsdk.wire.version import PROTOCOL

__all__ = ["VECTORS", "render", "samples"]

VECTORS = Path("bindings") / "vectors" / f"protocol-{PROTOCOL[0]}.json"
"""Where the vectors lie in the repository."""

_PLACE: Any = {"conversation": "c1", "turn": "t1"}


def samples() -> Iterator[tuple[str, m.Message]]:
    """A name and a message: every kind, with few and with all fields."""
    open_gate = {
        "name": "open_gate",
        "description": "Opens a gate.",
        "parameters": {
            "type": "object",
            "properties": {"gate": {"type": "string", "x-from": "state.nearby"}},
            "required": ["gate"],
        },
        "returns": "result",
        "timeout": 10.0,
        "when": "trust >= 60",
    }
    yield "hello", m.Hello(client="0123456789abcdef", protocol=(1, 0))
    yield (
        "hello, all fields",
        m.Hello(
            client="0123456789abcdef",
            protocol=(1, 0),
            sdk="npcsdk-csharp 0.1.0",
            features=("actions", "react", "resume"),
            actions=(open_gate,),
            epoch="e1",
            seen={"c1": 300},
        ),
    )
    yield "open", m.Open(conversation="c1", npc="mira")
    yield "open, all fields", m.Open(conversation="c1", npc="mira", player="Ada", history="h1")
    yield "close", m.Close(conversation="c1")
    yield "say", m.Say(**_PLACE, line="Good evening!")
    yield (
        "say, all fields",
        m.Say(
            **_PLACE,
            line="Öffne das Tor, 門番さん 🚪",
            state={
                "trust": 61,
                "mood": -0.5,
                "nearby": ["gate", "well"],
                "quest": {"mine": "done"},
                "night": True,
                "king": None,
                "debt": -70000,
            },
            seed=4294967296,
        ),
    )
    yield "say, to whom the player faces", m.Say(**_PLACE, line="Good evening!", priority=1)
    yield "react", m.React(**_PLACE, happening="A bell rings.")
    yield "react, all fields", m.React(**_PLACE, happening="A bell rings.", state={"night": False}, seed=0)
    yield "react, of the crowd", m.React(**_PLACE, happening="A bell rings.", seed=0, priority=-2)
    yield "cancel", m.Cancel(**_PLACE)
    yield "cancel, with the actions that have come", m.Cancel(**_PLACE, actions=("a1",))
    yield "result", m.Result(**_PLACE, action="a1")
    yield "result, with a value", m.Result(**_PLACE, action="a1", value={"open": True, "after_s": 1.5})
    yield "result, failed", m.Result(**_PLACE, action="a1", status="failed", value="The gate is rusted shut.")
    yield "heard", m.Heard(request="r1", **_PLACE, offset=12)
    yield "prepare", m.Prepare(request="r1", conversation="c1")
    yield "typing", m.Typing(conversation="c1", line="Wo ist die Mü")
    yield "state", m.State(request="r1", conversation="c1", state={"night": True})
    yield "set", m.SetValues(request="r1", npc="mira", values={"trust": 40})
    yield "set, all fields", m.SetValues(request="r1", npc="mira", player="Ada", values={"mood": -0.5})
    yield "remember", m.Remember(request="r1", npc="mira", text="The player paid for the window.")
    yield (
        "remember, all fields",
        m.Remember(request="r1", npc="mira", text="Ada paid.", player="Ada", importance=0.9, at=86400.5),
    )
    yield (
        "remember, with a place",
        m.Remember(request="r1", npc="mira", text="Ada paid.", place="the Lantern"),
    )
    yield "values", m.Values(request="r1", npc="mira")
    yield "values, all fields", m.Values(request="r1", npc="mira", player="Ada")
    gate: Any = {"subject": "north gate", "attribute": "state", "value": "open"}
    yield "learn", m.Learn(request="r1", npc="watch", **gate)
    told: Any = {"text": "The north gate stands open.", "player": "Ada", "importance": 0.9, "at": 86400.5}
    yield "learn, all fields", m.Learn(request="r1", npc="*", **gate, **told)
    yield "learn, with a place", m.Learn(request="r1", npc="watch", **gate, place="the north gate")
    yield "save", m.Save(request="r1", slot="autosave 3")
    yield "load", m.Load(request="r1", slot="autosave 3")
    yield "slots", m.Slots(request="r1")
    yield "delete_slot", m.DeleteSlot(request="r1", slot="autosave 3")
    yield "export_slot", m.ExportSlot(request="r1", slot="autosave 3", file="C:/Saves/3.npcs")
    yield "import_slot", m.ImportSlot(request="r1", file="C:/Saves/3.npcs")
    yield "import_slot, all fields", m.ImportSlot(request="r1", file="C:/Saves/3.npcs", slot="Düster 3")
    yield "forget", m.Forget(request="r1", player="Ada")
    yield "subscribe", m.Subscribe(request="r1", npc="mira")
    yield "subscribe, no more", m.Subscribe(request="r1", npc="mira", on=False)
    yield "metrics", m.Metrics(request="r1")
    yield "ping", m.Ping(nonce=7)
    yield "goodbye of a client", m.Leave()
    yield "welcome", m.Welcome(epoch="e1", protocol=(1, 0))
    yield (
        "welcome, all fields",
        m.Welcome(
            epoch="e1",
            protocol=(1, 0),
            sdk="npcsdk 0.1.0",
            features=("actions", "react", "resume"),
            limits={"message_bytes": 1048576, "conversations": 64, "silence_s": 15.0},
        ),
    )
    yield "loading", m.Loading(stage="world")
    yield "loading, all fields", m.Loading(stage="model", progress=0.25)
    yield (
        "ready",
        m.Ready(
            world="Harrowmere",
            npcs=(
                m.NpcInfo(id="mira", name="Mira", role="gatekeeper", voice="low"),
                m.NpcInfo(id="tom", name="Old Tom"),
            ),
        ),
    )
    yield "opened", m.Opened(conversation="c1", npc="mira", player="player", history="h1")
    yield "closed", m.Closed(conversation="c1")
    yield "text", m.TurnEvent(**_PLACE, seq=1, event=Text(text="Good "))
    yield "text, further on", m.TurnEvent(**_PLACE, seq=300, event=Text(text="é🙂", offset=70000))
    yield (
        "text, several in one",
        m.TurnEvent(**_PLACE, seq=9, event=Text(text=" several words", offset=4), first=5),
    )
    yield (
        "action that begins",
        m.TurnEvent(**_PLACE, seq=1, event=ActionStarted(id="a1", name="open_gate", offset=5)),
    )
    yield (
        "action",
        m.TurnEvent(**_PLACE, seq=2, event=Action(id="a1", name="open_gate", arguments={"gate": "north"})),
    )
    yield (
        "action, all fields",
        m.TurnEvent(
            **_PLACE,
            seq=2,
            event=Action(
                id="a1",
                name="trade",
                arguments={"item": "rope", "count": 3, "price": 1.25, "gift": False, "with": ["Tom"]},
                offset=12,
                returns="result",
                repaired=True,
            ),
        ),
    )
    yield (
        "refused",
        m.TurnEvent(
            **_PLACE,
            seq=3,
            event=Refused(
                name="open_gate",
                code="bad_arguments",
                message="There is no gate 'moon'.",
                offset=4,
                raw='{"name": "open_gate", "arguments": {"gate": "moon"}}',
                id="a1",
            ),
        ),
    )
    yield "end", m.TurnEvent(**_PLACE, seq=4, event=End(reason="stop", text="Good evening."))
    yield (
        "end, all fields",
        m.TurnEvent(
            **_PLACE,
            seq=4,
            event=End(
                reason="length",
                text="Good",
                tokens=Tokens(prompt=900, cached=850, computed=50, generated=1),
                timings=Timings(recall_ms=1.5, sdk_ms=0.75, first_token_ms=48.25, total_ms=50.0),
                recalled=(
                    Recalled(source="lore/gate.md:12", text="The gate is old.", score=0.5, reason="gate"),
                ),
                dropped=(Dropped(what="lore/well.md:3", tokens=40),),
                explanation=Explanation(
                    offered=("open_gate",),
                    withheld=(Withheld(name="trade", reason="when: trust >= 60"),),
                    constraint="one call",
                    calls=(Written(raw='{"name": "open_gate"}', became="a1"),),
                    tool_changes=1,
                ),
            ),
        ),
    )
    yield (
        "error that ends a turn",
        m.TurnEvent(
            **_PLACE,
            seq=5,
            event=Failed(code="backend_error", message="The model failed.", hint="Try another.", text="Good"),
        ),
    )
    yield "error", m.Problem(code="malformed", message="This is not a message.", kind="protocol_error")
    yield (
        "error that refuses a turn",
        m.Problem(
            code="turn_in_progress",
            message="The character is still speaking.",
            hint="Wait for the turn's end, or cancel it first.",
            kind="turn_error",
            answers="say",
            conversation="c1",
            turn="t2",
        ),
    )
    yield (
        "error that refuses a request",
        m.Problem(
            code="busy",
            message="This client asks for more than 600 messages a minute.",
            hint="Wait a little.",
            answers="save",
            request="r1",
            retry_ms=1500,
        ),
    )
    yield "done", m.Done(request="r1", answers="save")
    yield "done, with a value", m.Done(request="r1", answers="slots", value={"slots": ["autosave 3"]})
    yield (
        "overheard",
        m.Overheard(
            npc="mira", player="Ada", history="h1", turn="t1", content={"event": "text", "text": "Hm."}
        ),
    )
    yield "pong", m.Pong(nonce=7)
    yield "reset", m.Reset(code="worker_died", message="The worker process was killed.", hint="Say it again.")
    yield (
        "goodbye of a server",
        m.Goodbye(code="shutting_down", message="The server is shutting down.", hint="Connect again."),
    )


def render() -> str:
    """The file's text: one message in three lines."""
    vectors: list[str] = []
    for name, message in samples():
        payload = encode(message)
        fields: dict[str, Any] = unpack(payload)
        kind = str(fields.get("command") or fields["event"])
        newer = not {"first", "retry_ms", "priority"}.isdisjoint(fields)
        since = [1, 1] if newer else list(m.SINCE.get(kind, (1, 0)))
        origin = "client" if "command" in fields else "server"
        vectors.append(
            f'  {{"name": {json.dumps(name)}, "from": "{origin}", "since": {json.dumps(since)},\n'
            f'   "fields": {json.dumps(fields, ensure_ascii=False)},\n'
            f'   "bytes": "{payload.hex()}"}}'
        )
    head = f'{{"protocol": {json.dumps(list(PROTOCOL))}, "messages": [\n'
    return head + ",\n".join(vectors) + "\n]}\n"


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    (root / VECTORS).write_text(render(), encoding="utf-8", newline="\n")
