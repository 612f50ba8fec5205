"""Filling a window: what is kept, what is dropped and told, and that the whole never exceeds it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.backends.base import Prompt, Segment
from npcsdk.errors import PromptTooLong, TurnError
from npcsdk.prompt.budget import Shares
from npcsdk.prompt.build import Section, tool_schemas
from npcsdk.prompt.compose import Composed, Composer, Past
from npcsdk.prompt.templates import ChatMessage, load_template

TEMPLATE = load_template("nemotron")
TOOLS = tool_schemas([("wave", "Wave.", {"type": "object", "properties": {}})])
CORE = [Section("rules", "Stay in character."), Section("identity", "You are Mara.")]


def count(text: str) -> int:
    """A tokenizer of words and of what stands between them."""
    return len(re.findall(r"\w+|[^\w\s]|\n", text))


def awkward(text: str) -> int:
    """A tokenizer that needs more tokens for a text than for its parts."""
    tokens = count(text)
    return tokens + tokens * tokens // 50


def size(prompt: Prompt, counter: Any = count) -> int:
    """Tokens of a whole prompt as a backend sees it: a control token is one, text is encoded run by run."""
    return sum(
        len(segment.ids) if segment.ids is not None else 1 if segment.control else counter(segment.text)
        for segment in prompt.segments
    )


def composer(window: int = 400, reply: int = 50, counter: Any = count, **options: Any) -> Composer:
    return Composer(TEMPLATE, counter, Shares(window=window, reply=reply), **options)


def turn(maker: Composer, words: str, answer: str = "Aye.") -> Past:
    messages = (ChatMessage.of("user", words), ChatMessage.of("assistant", answer))
    return Past(messages, maker.tokens(messages))


def whats(composed: Composed) -> list[str]:
    return [item.what for item in composed.dropped]


# -- the measure


def test_messages_are_measured_as_they_are_rendered() -> None:
    """Nothing is allowed for by guessing: role words, control tokens and line ends count too."""
    maker = composer()
    messages = (
        ChatMessage.of("user", "How much is it?"),
        ChatMessage("assistant", (Segment("Three.", ids=(7, 8, 9, 10, 11)), Segment(" coins"))),
        ChatMessage.of("tool", "done"),
    )
    stable = maker.stable(CORE, TOOLS)
    composed = maker.compose(stable, [Past(messages, maker.tokens(messages))], [("a", "b c")], ["now"], "hi")
    assert composed.tokens == size(composed.prompt(TEMPLATE))
    assert maker.tokens(messages) == (1 + 2 + 5 + 1) + (1 + 2 + 5 + 2) + (1 + 2 + 1 + 1)


SENTENCE = st.lists(
    st.sampled_from(["a", "Grüße", "<b", "x.", "\n", "[INST]", "🙂", "don't"]), max_size=40
).map(" ".join)
SECTION = st.builds(Section, st.sampled_from("abc"), SENTENCE, st.integers(0, 6))


@settings(deadline=None)
@given(
    window=st.integers(60, 600),
    share=st.integers(2, 6),
    in_system=st.booleans(),
    counter=st.sampled_from([count, awkward, len]),
    sections=st.lists(SECTION, max_size=5),
    tools=st.booleans(),
    turns=st.lists(
        st.tuples(
            SENTENCE.filter(str.strip),
            st.lists(st.tuples(SENTENCE, SENTENCE), max_size=4),
            SENTENCE,
            SENTENCE,
        ),
        min_size=1,
        max_size=10,
    ),
)
def test_a_prompt_never_exceeds_its_part_of_the_window(
    window: int,
    share: int,
    in_system: bool,
    counter: Any,
    sections: list[Section],
    tools: bool,
    turns: list[Any],
) -> None:
    """Measured on the whole prompt with the same counter, over a conversation, with results of actions added."""
    reply = window // share
    maker = composer(window, reply, counter, contexts_in_system=in_system)
    history: list[Past] = []
    for line, passages, now, answer in turns:
        try:
            maker.check_line(line)
            stable = maker.stable(sections, TOOLS if tools else ())
            composed = maker.compose(stable, history, passages, [now] if now else [], line)
        except (PromptTooLong, TurnError):
            continue
        assert composed.tokens == size(composed.prompt(TEMPLATE), counter)
        assert composed.tokens <= window - reply
        # an action and its result
        added = (ChatMessage.of("assistant", answer), ChatMessage.of("tool", "done"))
        later = maker.with_room_for(composed, added)
        total = size(later.prompt(TEMPLATE, added), counter)
        assert total <= window - reply or not later.history
        messages = (composed.user, *added)
        history.append(Past(messages, maker.tokens(messages)))


# -- what goes


def test_everything_stays_while_it_fits() -> None:
    maker = composer(1000)
    stable = maker.stable([*CORE, Section("examples", "You might say: Aye.", 6)], TOOLS)
    history = [turn(maker, "one"), turn(maker, "two")]
    composed = maker.compose(stable, history, [("lore/a.md:1", "The well is deep.")], ["Now: dusk"], "three")
    assert composed.dropped == ()
    assert not composed.trimmed
    assert composed.kept_passages == (0,)
    text = composed.prompt(TEMPLATE).text
    order = ["You might say", "one", "two", "The well is deep.", "Now: dusk", "three"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_ornaments_go_before_the_core_and_the_least_important_first() -> None:
    ornaments = [
        Section("about", "a " * 50, 1),
        Section("goals", "g " * 50, 4),
        Section("examples", "e " * 50, 6),
    ]
    maker = composer(400, 40)
    stable = maker.stable([*CORE, *ornaments], TOOLS)
    assert [item.what for item in stable.dropped] == ["persona:examples"]
    assert stable.dropped[0].tokens >= 50
    assert "Stay in character." in stable.system
    assert "a a" in stable.system
    assert "e e" not in stable.system
    assert whats(maker.compose(stable, [], [], [], "hi")) == ["persona:examples"]  # told in every turn


def test_a_core_that_does_not_fit_names_both_numbers() -> None:
    maker = composer(400, 40)
    with pytest.raises(PromptTooLong, match="400") as caught:
        maker.stable([Section("rules", "r " * 700)], TOOLS)
    assert re.search(r"\b7\d\d\b", caught.value.message)
    assert caught.value.hint


def test_passages_keep_to_their_share_and_the_rest_is_told() -> None:
    maker = composer(1000, 40)
    stable = maker.stable(CORE, ())
    passages = [("lore/long.md:1", "w " * 200), ("lore/short.md:1", "Deep."), ("lore/long.md:9", "w " * 100)]
    composed = maker.compose(stable, [], passages, [], "hi")
    assert composed.kept_passages == (0, 1)
    assert whats(composed) == ["passage:lore/long.md:9"]
    assert composed.dropped[0].tokens >= 100
    assert "Deep." in composed.user.text


def test_passages_that_fit_alone_but_not_side_by_side() -> None:
    maker = composer(300, 50, awkward)
    stable = maker.stable([Section("rules", "r " * 50)], ())
    passages = [(f"lore/{name}.md:1", "w " * 12) for name in "abc"]
    composed = maker.compose(stable, [], passages, [], "l " * 30)
    assert size(composed.prompt(TEMPLATE), awkward) == composed.tokens <= 250
    assert 0 < len(composed.kept_passages) < 3
    assert whats(composed)[-1] == "passage:lore/c.md:1"


def test_state_and_line_are_never_dropped() -> None:
    maker = composer(300, 50)
    stable = maker.stable(CORE, TOOLS)
    history = [turn(maker, "old " * 30) for _ in range(6)]
    composed = maker.compose(stable, history, [("a", "p " * 60)], ["Now: " + "n " * 60], "l " * 80)
    assert "n n" in composed.user.text
    assert "l l" in composed.user.text
    assert any(what.startswith("history:") for what in whats(composed))
    with pytest.raises(PromptTooLong, match="300") as caught:
        maker.compose(stable, history, [], ["Now: " + "n " * 300], "hi")
    assert caught.value.hint


def test_history_is_trimmed_in_steps_and_told() -> None:
    maker = composer(600, 50)
    stable = maker.stable(CORE, TOOLS)
    history: list[Past] = []
    starts: list[int] = []
    for number in range(60):
        composed = maker.compose(stable, history, [], [], f"line {number}")
        starts.append(maker.start)
        told = [item for item in composed.dropped if item.what.startswith("history:")]
        assert composed.trimmed == bool(told) == (number > 0 and starts[-1] != starts[-2])
        if told:
            gone = history[starts[-2] : starts[-1]]
            assert told[0].what == f"history:{len(gone)} turns"
            assert told[0].tokens == sum(past.tokens for past in gone)
            room = 550 - (composed.tokens - sum(past.tokens for past in composed.history))
            assert sum(past.tokens for past in composed.history) <= room * 0.6
        assert f"line {number}" in composed.prompt(TEMPLATE).text
        history.append(turn(maker, f"line {number} of a talk about nothing much", "Aye, so it is."))
    moves = sum(a != b for a, b in itertools.pairwise(starts))
    assert 2 <= moves <= 60 / 8


def test_room_for_an_answer_is_made_by_trimming() -> None:
    maker = composer(300, 50)
    stable = maker.stable(CORE, ())
    history: list[Past] = []
    while maker.compose(stable, history, [], [], "hi").tokens < 220:
        history.append(turn(maker, "word " * 12))
    composed = maker.compose(stable, history, [], [], "hi")
    assert not composed.trimmed
    assert maker.with_room_for(composed, ()) is composed
    added = (ChatMessage.of("assistant", "Let me ask."), ChatMessage.of("tool", "n " * 60))
    later = maker.with_room_for(composed, added)
    assert later.trimmed
    assert whats(later)[-1].startswith("history:")
    assert size(later.prompt(TEMPLATE, added)) <= 250
    assert later.user == composed.user
    assert maker.start == len(history) - len(later.history)  # and the next turn begins there


# -- the line


def test_a_line_that_can_never_fit_names_both_numbers() -> None:
    maker = composer(400, 50)
    maker.check_line("word " * 170)
    for line, tokens in (("word " * 176, "176"), ("x " * 100_000, "")):
        with pytest.raises(TurnError, match=rf"{tokens}.* 400") as caught:
            maker.check_line(line)
        assert caught.value.code == "line_too_long"
        assert "175" in caught.value.message
        assert caught.value.hint


def test_a_novel_is_refused_without_being_encoded() -> None:
    encoded: list[int] = []

    def counter(text: str) -> int:
        encoded.append(len(text))
        return count(text)

    with pytest.raises(TurnError):
        composer(counter=counter).check_line("x" * 10_000_000)
    assert sum(encoded) < 100_000


# -- the stable part


def test_the_stable_part_is_the_very_same_value_over_turns() -> None:
    measured: list[str] = []

    def counter(text: str) -> int:
        measured.append(text)
        return count(text)

    maker = composer(counter=counter)
    first = maker.stable(CORE, TOOLS)
    measured.clear()
    assert maker.stable(list(CORE), tuple(dict(tool) for tool in TOOLS)) is first
    assert measured == []  # and costs nothing


def test_what_is_unlocked_changes_the_system_text_and_locking_brings_it_back() -> None:
    maker = composer()
    locked = maker.stable(CORE, TOOLS)
    unlocked = maker.stable([*CORE, Section("knowledge", "You know:\n- the key", 3)], TOOLS)
    assert "the key" in unlocked.system
    assert "the key" not in locked.system
    assert maker.stable(CORE, TOOLS) == locked


# -- where passages stand


def text_of(in_system: bool, passages: Sequence[tuple[str, str]]) -> str:
    maker = composer(1000, contexts_in_system=in_system)
    composed = maker.compose(maker.stable(CORE, TOOLS), [], passages, ["Now: dusk"], "hi")
    return composed.prompt(TEMPLATE).text


def test_contexts_stand_in_the_user_turn_or_in_the_system_block() -> None:
    passages = [("a", "The well is deep.")]
    for in_system in (True, False):
        head, rest = text_of(in_system, passages).split("<extra_id_1>", 1)
        assert ("The well is deep." in head) == in_system
        assert ("The well is deep." in rest) != in_system
        assert "<context> Now: dusk </context>" in rest  # what is so now is never there


def test_both_forms_of_a_prompt_say_the_same() -> None:
    """A server that takes messages reads every passage that a token-level runtime does."""
    for in_system in (True, False):
        maker = composer(1000, contexts_in_system=in_system)
        composed = maker.compose(maker.stable(CORE, TOOLS), [], [("a", "The well is deep.")], [], "hi")
        prompt = composed.prompt(TEMPLATE)
        assert any("The well is deep." in message.content for message in prompt.messages)
        assert prompt.tools == TOOLS
