"""Which actions stand in the prompt: the relevant ones, and the same ones as long as possible."""

from __future__ import annotations

from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.relevance import CLEAR, ToolSet, fitting, scores
from npcsdk.actions.schema import ActionDefinition


def define(name: str, description: str = "", **more: object) -> ActionDefinition:
    return ActionDefinition(name=name, description=description, **more)  # type: ignore[arg-type]


GATE = define("open_gate", "Open a gate of the town.")
HEAL = define("heal_player", "Heal the player's wounds.")
SELL = define("sell_item", "Sell one of your wares.")
FOLLOW = define("follow_player", "Go along with the player.")
RING = define("ring_bell", "Ring the alarm bell.")
BREW = define("brewPotion", "Make a potion from herbs.")
ALL = [GATE, HEAL, SELL, FOLLOW, RING, BREW]


def names(tools: tuple[ActionDefinition, ...]) -> list[str]:
    return [tool.name for tool in tools]


def best(text: str) -> str:
    found = scores(ALL, text)
    return max(found, key=lambda name: found[name]) if found else ""


def test_words_of_the_name_the_description_and_what_means_the_same() -> None:
    assert best("Open the gate!") == "open_gate"
    assert best("opening GATES") == "open_gate"
    assert best("Could you unlock the door?") == "open_gate"
    assert best("I am wounded.") == "heal_player"
    assert best("I'm bleeding badly") == "heal_player"
    assert best("What do your wares cost?") == "sell_item"
    assert best("Come with me.") == "follow_player"
    assert best("Brew me something.") == "brewPotion"
    assert best("Hm, well then.") == ""


def test_values_and_parameters_count() -> None:
    schema = {"type": "object", "properties": {"dish": {"type": "string", "enum": ["trout", "stew"]}}}
    serve = define("serve", "Bring something.", parameters=schema)
    assert "serve" in scores([serve, GATE], "Is there trout?")


def test_the_words_of_a_line_fit_one_action_or_several_alike_or_none() -> None:
    ring, through, tired = fitting(ALL, "Ring that bell!", "Would you let me through?", "You must be tired.")
    assert set(ring) == {"ring_bell"}
    assert set(through) == {"open_gate"}
    assert tired == {}
    ropes = [define("tie_left", "Tie a rope."), define("tie_right", "Tie a rope.")]
    assert [set(fit) for fit in fitting(ropes, "tie it")] == [{"tie_left", "tie_right"}]
    assert fitting([], "anything") == [{}]
    assert ring["ring_bell"] > CLEAR, "asked for"


def test_few_actions_all_stand() -> None:
    tools = ToolSet(6)
    assert names(tools.choose(ALL, "Hello")) == [one.name for one in ALL]
    assert tools.changes == 0


def test_what_is_needed_comes_in_and_the_rest_stays() -> None:
    tools = ToolSet(3)
    first = names(tools.choose(ALL, "Open the gate!"))
    assert first == ["open_gate", "heal_player", "sell_item"]
    assert names(tools.choose(ALL, "And how are you?")) == first
    assert tools.changes == 0
    second = names(tools.choose(ALL, "Ring the bell!"))
    assert "ring_bell" in second
    assert "open_gate" in second, "what was of use lately stays"
    assert len(second) == 3
    assert tools.changes == 1
    assert names(tools.choose(ALL, "Ring it again, and open the gate.")) == second
    assert tools.changes == 1


def test_the_order_is_that_of_the_definitions() -> None:
    tools = ToolSet(3)
    tools.choose(ALL, "Ring the bell!")
    assert names(tools.choose(ALL, "Heal me, I am hurt")) == [
        one.name for one in ALL if one.name in names(tools.choose(ALL, ""))
    ]


def test_pinned_ones_stand_always() -> None:
    pinned = define("flee", "Run for it.", pinned=True)
    tools = ToolSet(2)
    for line in ("Open the gate!", "Heal me", "Ring the bell", "Sell me something", "Brew a potion"):
        assert "flee" in names(tools.choose([*ALL, pinned], line))
    many = [define(f"p{number}", pinned=True) for number in range(5)]
    assert set(names(ToolSet(2).choose([*ALL, *many], "Open"))) == {one.name for one in many}


def test_what_is_not_legal_is_not_brought_in_but_stays() -> None:
    tools = ToolSet(2)
    legal = {"open_gate", "heal_player", "sell_item"}
    assert names(tools.choose(ALL, "Ring the bell", legal=legal)) == ["open_gate", "heal_player"]
    assert names(tools.choose(ALL, "Ring the bell", legal=legal)) == ["open_gate", "heal_player"]
    assert names(tools.choose(ALL, "Hm", legal=set())) == ["open_gate", "heal_player"]
    assert tools.changes == 0


def test_an_action_that_the_game_adds_or_takes_away() -> None:
    tools = ToolSet(3)
    tools.choose(ALL, "Open the gate!")
    dance = define("dance", "Dance a jig.")
    assert "dance" in names(tools.choose([*ALL, dance], "Dance for me!"))
    assert "open_gate" not in names(tools.choose([HEAL, SELL, RING, BREW], "Hm"))


@given(
    st.lists(
        st.sampled_from(["open gate", "heal", "sell", "follow", "bell", "potion", "hello", ""]), max_size=12
    )
)
def test_never_too_many_and_no_change_without_need(lines: list[str]) -> None:
    tools, shown = ToolSet(3), []
    for line in lines:
        before, changes = shown, tools.changes
        shown = names(tools.choose(ALL, line))
        assert len(shown) == 3
        assert tools.changes - changes == int(bool(before) and before != shown)
        wanted = scores(ALL, line)
        if before and set(wanted) <= set(before):
            assert shown == before


def test_a_thousand_actions_and_a_long_line() -> None:
    many = [define(f"act_{number}", f"Does thing {number}. " * 50) for number in range(1000)]
    tools = ToolSet(8)
    tools.choose(many, "hello")
    begun = perf_counter()
    tools.choose(many, "act 77 does the thing " * 500)
    assert perf_counter() - begun < 0.5
