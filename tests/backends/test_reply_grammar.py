"""A reply's whole grammar allows what the grammar over logits allows. Read by llguidance here, by servers in use."""

from __future__ import annotations

import json
import re
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import KNOWN, load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Constraint
from npcsdk.backends.guidance import grammar
from npcsdk.backends.reply_grammar import reply_grammar

BYTES = LLTokenizer("byte")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-z][\w-]*|\s+|.')
ACTIONS = (
    ActionDefinition(
        name="open_gate",
        description="Open.",
        parameters={
            "type": "object",
            "properties": {
                "target": {"type": "string", "enum": ["iron gate", 'pos"tern é']},
                "times": {"type": "integer", "minimum": 1, "maximum": 30},
            },
            "required": ["target"],
        },
    ),
    ActionDefinition(name="wave", description="Wave.", parameters={"type": "object", "properties": {}}),
)


def matcher(text: str) -> LLMatcher:
    found = LLMatcher(BYTES, text, log_level=0)
    assert not found.is_error(), found.get_error()
    return found


def as_lark(text: str) -> str:
    """The same grammar in the notation that llguidance reads."""

    def one(token: str) -> str:
        if token.startswith("["):
            return f"/{token.replace('/', chr(92) + '/')}/"
        return token.replace("-", "_") if token[0].isalpha() else token

    lines: list[str] = []
    for line in text.splitlines():
        name, rule = line.split(" ::= ", 1)
        lines.append(f"{one(name if name != 'root' else 'start')}: {''.join(map(one, _TOKEN.findall(rule)))}")
    return "\n".join(lines) + "\n"


@lru_cache
def both(name: str, calls: int) -> tuple[Constraint, LLMatcher, LLMatcher]:
    constraint = make_offer(ACTIONS if calls else (), {}).constraint(load_format(name), max(calls, 1))
    return constraint, matcher(as_lark(reply_grammar(constraint))), matcher(grammar(constraint))


def allows(found: LLMatcher, text: str) -> bool:
    copy, tokens = found.deep_copy(), BYTES.tokenize_bytes(text.encode())
    return copy.try_consume_tokens(tokens) == len(tokens) and copy.is_accepting()


def pieces(name: str) -> st.SearchStrategy[str]:
    """Parts of replies in a dialect: markers whole and cut, calls whole and cut, legal and illegal, and text."""
    spoken = load_format(name)
    calls = [
        spoken.render_call("open_gate", {"target": "iron gate", "times": 12}),
        spoken.render_call("open_gate", {"target": 'pos"tern é'}),
        spoken.render_call("open_gate", {"target": "iron gate", "times": 31}),
        spoken.render_call("wave", {}),
        spoken.render_call("dance", {}),
    ]
    inner = [call.removeprefix(spoken.opening).removesuffix(spoken.closing) for call in calls]
    texts = ["", " ", "\n", "Aye", "é旅🙂", "{", "}", "[", ",", ";", '"', "<", ">", *spoken.markers]
    texts += [spoken.opening[:-1], spoken.opening[1:], spoken.opening[:2]]
    return st.one_of(st.sampled_from(calls), st.sampled_from(inner), st.sampled_from(texts))


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("calls", [0, 1, 3])
def test_it_allows_what_the_grammar_over_logits_allows(name: str, calls: int) -> None:
    _, whole, other = both(name, calls)

    @given(st.lists(pieces(name), max_size=7).map("".join))
    @settings(max_examples=25, deadline=None, database=None)
    def check(text: str) -> None:
        assert allows(whole, text) is allows(other, text), text

    check()


@pytest.mark.parametrize("name", KNOWN)
def test_legal_calls_are_legal_and_others_are_not(name: str) -> None:
    spoken = load_format(name)
    _, whole, _ = both(name, 1)
    legal = spoken.render_call("open_gate", {"target": "iron gate", "times": 30})
    assert allows(whole, f"Aye. {legal} It is done.")
    assert allows(whole, "Nothing to do <here> 你好\n")
    for bad in (
        spoken.render_call("open_gate", {"target": "wooden gate"}),
        spoken.render_call("open_gate", {"target": "iron gate", "times": 0}),
        spoken.render_call("fly", {}),
        legal[:-1] if spoken.closing else legal[: len(legal) // 2],
        f"{legal} {legal}",
    ):
        assert not allows(whole, f"Aye. {bad}"), bad


def test_arguments_that_no_rule_spells_are_any_object() -> None:
    schema = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]+$"}}}
    tools = (("open", schema),)
    whole = matcher(as_lark(reply_grammar(Constraint(opening="<c>", closing="</c>", tools=tools))))
    for arguments in ({"code": "ABC"}, {"x": [1, -2.5, {"y": None}], "z": True}, {}):
        assert allows(whole, f"<c>{json.dumps({'name': 'open', 'arguments': arguments})}</c>")
    assert not allows(whole, '<c>{"name": "open", "arguments": [1]}</c>')
    assert not allows(whole, '<c>{"name": "shut", "arguments": {}}</c>')


@given(
    st.text("ab", min_size=1, max_size=5),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map("".join),
)
@settings(max_examples=80, deadline=None)
def test_a_marker_that_repeats_itself_is_seen_wherever_it_stands(marker: str, text: str) -> None:
    whole = matcher(as_lark(reply_grammar(Constraint(opening=marker, closing="!"))))
    assert allows(whole, text) is (marker not in text)


def test_without_a_marker_there_is_nothing_to_hold() -> None:
    assert reply_grammar(Constraint(opening="", closing="")) == ""
