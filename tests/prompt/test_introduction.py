"""Whether a line asks a character who it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.prompt.introduction import asks_who, introduction

OWN = "Zora Two-Rivers welder of the lower docks Port Ember"


@pytest.mark.parametrize(
    "line",
    [
        "who are you",
        "Who are you?!",
        "And who might you be, sir?",
        "who the hell r u",
        "Who in blazes are you and why do you point at me?",
        "who goes there",
        "what's your name, welder",
        "whats ur name",
        "ur name?",
        "Tell me your name.",
        "What do they call you?",
        "what is your job",
        "What do you do here all day?",
        "what do u do",
        "what's your trade, friend",
        "Introduce yourself!",
        "tell me about yourself",
        "and you are?",
        "What are you?",
        "I don't think we have been introduced.",
        "who am I talking to",
        "who's there?",
        "who is this",
        "Who is standing there?",
        "who's behind that mask",
        "what's your place in the crew",
    ],
)
def test_lines_that_ask_for_a_name_a_trade_or_a_story(line: str) -> None:
    assert asks_who(line, OWN)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "how are you",
        "what do you want",
        "what do you know about the mine",
        "what do you think of the mayor",
        "who are you talking about",
        "who told you that",
        "who built the bridge?",
        "who is the captain of the guard",
        "what is his name",
        "what is the name of your horse",
        "what's your brother's name",
        "do you know my name",
        "are you hungry",
        "where do you sell your fish",
        "what do you do with the ashes",
        "call the guard",
        "give me your sword",
        "who did this",
        "who died there",
        "who is behind the robbery",
        "who lives there",
        "you work too hard",
        "誰ですか",
    ],
)
def test_lines_that_ask_for_something_else(line: str) -> None:
    assert not asks_who(line, OWN)


@given(st.text(), st.text())
def test_any_text_is_looked_at(line: str, own: str) -> None:
    assert asks_who(line, own) in (True, False)


def test_the_least_that_a_character_says() -> None:
    assert introduction("Zora", "a welder") == "I am Zora, a welder."
    assert introduction("Zora", "") == "I am Zora."
