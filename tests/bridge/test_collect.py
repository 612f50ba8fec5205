"""What a game may give as actions, and what its functions are called with."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from npcsdk.actions.schema import ActionDefinition
from npcsdk.bridge.handlers import collect
from npcsdk.errors import ActionError


class Gate(enum.Enum):
    IRON = "iron gate"


def test_functions_definitions_and_openais_tools() -> None:
    def open_gate(gate: Gate) -> Gate:
        return gate

    tool = {"type": "function", "function": {"name": "wave"}}
    found = collect([open_gate, ActionDefinition(name="nod"), tool, {"name": "bow", "timeout": 2}])
    assert [one["name"] for one in found.definitions] == ["open_gate", "nod", "wave", "bow"]
    assert found.timeouts["bow"] == 2
    assert found.handlers.keys() == {"open_gate"}
    assert found.handlers["open_gate"](gate="iron gate") is Gate.IRON


def test_handlers_of_the_worlds_actions() -> None:
    assert collect({"open_gate": print}).handlers == {"open_gate": print}


@pytest.mark.parametrize("one", [7, "open_gate", None, ["open_gate"]])
def test_what_is_no_action(one: Any) -> None:
    with pytest.raises(ActionError) as caught:
        collect([one])
    assert caught.value.code == "bad_action"
    assert caught.value.hint
