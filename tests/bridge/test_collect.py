"""What a game may give as actions, and what its functions are called with."""

from __future__ import annotations

import asyncio
import enum
import functools
import queue
from dataclasses import dataclass
from typing import Any

import pytest

from npcsdk.actions.schema import ActionDefinition
from npcsdk.bridge.handlers import Handlers, Where, collect
from npcsdk.errors import ActionError
from npcsdk.events import Action


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


@dataclass
class Place:
    x: float
    gate: Gate


class Walker:
    def walk(self, place: Place, gate: Gate = Gate.IRON) -> object:
        return place, gate

    def __call__(self, gate: Gate | None) -> object:
        return gate


def test_they_get_what_their_type_hints_say() -> None:
    """As functions do that define their actions; what has no such value arrives as it came."""

    async def soon(gates: list[Gate]) -> object:
        return gates

    def anything(name: str, gate: Gate, what: Any = None, **others: Gate) -> object:
        return name, gate, what, others

    found = collect(
        {
            "walk": Walker().walk,
            "shut": Walker(),
            "bound": functools.partial(Walker().walk, place=Place(1.0, Gate.IRON)),
            "soon": soon,
            "anything": anything,
            "place": Place,
        }
    ).handlers
    place = {"x": 3, "gate": "iron gate"}
    assert found["walk"](place=place) == (Place(3.0, Gate.IRON), Gate.IRON)
    assert found["walk"](place=7, gate="moon") == (7, "moon")
    assert found["shut"](gate="iron gate") is Gate.IRON
    assert found["bound"](gate="iron gate") == (Place(1.0, Gate.IRON), Gate.IRON)
    assert asyncio.run(found["soon"](gates=["iron gate"])) == [Gate.IRON]
    assert found["anything"](name="Mara", gate="iron gate", other="iron gate") == (
        "Mara",
        Gate.IRON,
        None,
        {"other": "iron gate"},
    )
    assert found["place"](**place) == Place(3.0, Gate.IRON)


def test_hints_that_cannot_be_resolved_cost_only_the_types(caplog: pytest.LogCaptureFixture) -> None:
    def open_gate(gate: NotImported) -> object:  # type: ignore[name-defined]  # noqa: F821
        return gate

    found = collect({"open_gate": open_gate})
    assert found.handlers["open_gate"](gate="iron gate") == "iron gate"
    assert "NotImported" in caplog.text


def test_a_definition_given_as_a_handler() -> None:
    with pytest.raises(ActionError) as caught:
        collect({"name": "open_gate", "parameters": {}})  # type: ignore[dict-item]
    assert caught.value.code == "bad_action"
    assert "list" in caught.value.hint


@pytest.mark.parametrize("one", [7, "open_gate", None, ["open_gate"]])
def test_what_is_no_action(one: Any) -> None:
    with pytest.raises(ActionError) as caught:
        collect([one])
    assert caught.value.code == "bad_action"
    assert caught.value.hint


@pytest.mark.parametrize("where", ["thread", "caller"])
def test_an_action_that_arrives_twice_runs_once(where: Where) -> None:
    """As after a reconnection; the next one of the turn waits for it and runs, too."""
    rung: list[int] = []
    answers: queue.SimpleQueue[tuple[str, str, str, object]] = queue.SimpleQueue()

    def ring(times: int) -> int:
        rung.append(times)
        return times

    handlers = Handlers(collect([ring]), where)
    handlers.send = lambda *answer: answers.put(answer)
    first, second = (
        Action(id=f"a{number}", name="ring", arguments={"times": number}, returns="result")
        for number in (1, 2)
    )
    for action in (first, first, second, first, second):
        assert handlers.arrived("t1", action) is None
        handlers.in_caller("t1", action)
    assert answers.get(timeout=20) == ("t1", "a1", "done", 1)
    assert answers.get(timeout=20) == ("t1", "a2", "done", 2)
    assert (rung, answers.empty()) == ([1, 2], True)
