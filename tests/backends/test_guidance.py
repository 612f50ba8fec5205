"""Whatever a model wants to say, what comes out is free text and legal calls."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from npcsdk.backends import guidance as guidance_module
from npcsdk.backends.base import Constraint, Finish, Request, Sampling
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.guidance import Guidance
from npcsdk.backends.sampler import Sampler, mask_logits
from npcsdk.errors import BackendError
from tests.backends.toy import END, TURN, byte_fallback, byte_level, prompt, toy_backend

TOOLS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (
        "open_gate",
        {
            "type": "object",
            "properties": {
                "target": {
                    "type": "string",
                    "enum": ["iron gate", "Tür", 'a"b\\c'],
                    "description": "what to open",
                },
                "times": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["target"],
            "additionalProperties": False,
        },
    ),
    ("wave", {"type": "object", "properties": {}, "additionalProperties": False}),
    (
        "remember",
        {
            "type": "object",
            "properties": {"note": {"type": "string", "maxLength": 12}, "loud": {"type": "boolean"}},
            "required": ["note", "loud"],
            "additionalProperties": False,
        },
    ),
)
MARKERS = {
    "nemotron": ("<toolcall>", "</toolcall>"),
    "fence": ("```tool\n", "```"),
    "brackets": ("[CALL](", ")*"),
}
ENCODINGS = {"byte-level": TextEncoding(byte_level()), "byte-fallback": TextEncoding(byte_fallback())}
GUIDANCE = {name: Guidance(encoding, stop=END) for name, encoding in ENCODINGS.items()}


def with_special_marker() -> TextEncoding:
    """A model whose markers are control tokens, as some families have them."""
    tokenizer = byte_level()
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in ("<call>", "</call>")]
    )
    return TextEncoding(tokenizer)


def calls_in(text: str, opening: str, closing: str) -> tuple[list[Any], str | None]:
    """The calls of a reply, and what follows an opening that was never closed."""
    calls: list[Any] = []
    while opening in text:
        text = text.partition(opening)[2]
        body, closed, rest = text.partition(closing)
        while closed:  # The closing marker may stand inside a string.
            try:
                calls.append(json.loads(body))
                break
            except ValueError:
                more, closed, rest = rest.partition(closing)
                body += closing + more
        if not closed:
            return calls, text
        text = rest
    return calls, None


def reply(
    guidance: Guidance,
    encoding: TextEncoding,
    constraint: Constraint,
    seed: int,
    lure: float,
    length: int = 120,
) -> str:
    """What a model with random logits says. ``lure`` draws it to the opening marker."""
    guide = guidance.start(constraint)
    random = np.random.default_rng(seed)
    sampler = Sampler(Sampling(seed=seed, top_k=0 if seed % 2 else 40, top_p=1, temperature=1.0))
    marker = encoding.token_id(constraint.opening)
    wanted = [marker] if marker is not None else encoding.encode_text(constraint.opening)
    said: list[int] = []
    at = 0
    for _ in range(length):
        logits = random.normal(size=encoding.vocabulary).astype(np.float32) * 2
        at = at + 1 if said and said[-1] == wanted[at % len(wanted)] else 0
        logits[wanted[at % len(wanted)]] += lure
        token = sampler.pick(logits, guide.legal())
        if token == END:
            break
        guide.accept(token)
        said.append(token)
    return encoding.decode(said)


def check(text: str, constraint: Constraint) -> int:
    calls, _ = calls_in(text, constraint.opening, constraint.closing)
    schemas = dict(constraint.tools)
    assert len(calls) <= constraint.max_calls
    for call in calls:
        assert list(call) == ["name", "arguments"]
        jsonschema.validate(call["arguments"], schemas[call["name"]])
    return len(calls)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("markers", MARKERS)
@given(seed=st.integers(0, 10_000), lure=st.sampled_from([0.0, 6.0, 12.0]), max_calls=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_random_models_make_legal_calls_or_plain_speech(
    encoding: str, markers: str, seed: int, lure: float, max_calls: int
) -> None:
    opening, closing = MARKERS[markers]
    constraint = Constraint(opening=opening, closing=closing, tools=TOOLS, max_calls=max_calls)
    check(reply(GUIDANCE[encoding], ENCODINGS[encoding], constraint, seed, lure), constraint)


def test_a_model_drawn_to_calls_does_make_them() -> None:
    """Or the test above would prove nothing."""
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS, max_calls=2)
    made = [
        check(reply(GUIDANCE["byte-level"], ENCODINGS["byte-level"], constraint, seed, 15.0, 400), constraint)
        for seed in range(8)
    ]
    assert sum(made) >= 8
    assert max(made) == 2


@pytest.mark.parametrize(("tools", "max_calls"), [((), 4), (TOOLS, 0)])
def test_without_tools_the_opening_itself_is_illegal(tools: Any, max_calls: int) -> None:
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=tools, max_calls=max_calls)
    for seed in range(10):
        assert "<toolcall>" not in reply(
            GUIDANCE["byte-level"], ENCODINGS["byte-level"], constraint, seed, 15.0
        )


def accepts(text: str, constraint: Constraint, *, ends: bool = True) -> bool:
    encoding = ENCODINGS["byte-level"]
    guide = GUIDANCE["byte-level"].start(constraint)
    for token in [*encoding.encode_text(text), *([END] if ends else [])]:
        legal = guide.legal()
        if not (int(legal[token >> 5]) >> (token & 31)) & 1:
            return False
        if token != END:
            guide.accept(token)
    return True


CALL = '<toolcall> {"name": "open_gate", "arguments": {"target": "iron gate", "times": 3}} </toolcall>'


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("Good day.", True),
        ("", True),
        (CALL, True),
        (f"Very well. {CALL} It is open.\nGo.", True),
        (CALL + CALL, True),
        (CALL + CALL + CALL, False),
        ("a <tool and a </toolcall> and { json }", True),
        (CALL.replace("3", "10"), False),
        (CALL.replace("open_gate", "burn"), False),
        (CALL.replace("iron gate", "moon"), False),
        (CALL.replace(', "times": 3', ""), True),
        (CALL.replace("iron gate", "Tür"), True),
        ('<toolcall> {"name": "wave", "arguments": {}} </toolcall>', True),
        ('<toolcall>{"name": "wave", "arguments": {}}</toolcall>', True),
        ('<toolcall> {"name": "wave"} </toolcall>', False),
        ('<toolcall> {"name": "wave", "arguments": {}}', False),
        ("<toolcall> nonsense", False),
    ],
)
def test_what_is_legal(text: str, legal: bool) -> None:
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS, max_calls=2)
    assert accepts(text, constraint) is legal


def test_a_call_may_be_cut_off_but_not_ended() -> None:
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS)
    half = '<toolcall> {"name": "open_gate", "arg'
    assert accepts(half, constraint, ends=False)
    assert not accepts(half, constraint)


def test_control_tokens_are_legal_only_as_ends_and_only_where_text_may_end() -> None:
    encoding = ENCODINGS["byte-level"]
    turn = encoding.token_id(TURN)
    assert turn is not None
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS)

    def legal_control(text: str, ends: tuple[int, ...]) -> set[int]:
        guide = GUIDANCE["byte-level"].start(constraint, ends)
        for token in encoding.encode_text(text):
            guide.legal()
            guide.accept(token)
        legal = mask_logits(np.zeros(encoding.vocabulary, dtype=np.float32), guide.legal())
        return {token for token in encoding.control if np.isfinite(legal[token])}

    assert legal_control("Hello", ()) == {END}
    assert legal_control("Hello", (END, turn)) == {END, turn}
    assert legal_control('<toolcall> {"name": "', (END, turn)) == set()


def test_markers_that_are_control_tokens() -> None:
    encoding = with_special_marker()
    guidance = Guidance(encoding, stop=END)
    constraint = Constraint(opening="<call>", closing="</call>", tools=TOOLS, max_calls=2)
    made = [check(reply(guidance, encoding, constraint, seed, 15.0, 400), constraint) for seed in range(6)]
    assert sum(made) >= 4


def test_annotations_that_schemas_carry_do_not_matter() -> None:
    schema = {
        "type": "object",
        "title": "T",
        "properties": {
            "a": {
                "type": "string",
                "x-from": "state.nearby",
                "default": "x",
                "enum": ["x"],
                "examples": ["x"],
            }
        },
        "required": ["a"],
        "additionalProperties": False,
    }
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=(("go", schema),))
    assert accepts('<toolcall> {"name": "go", "arguments": {"a": "x"}} </toolcall>', constraint)


def test_a_schema_that_cannot_be_held_is_refused_and_the_next_one_is_not() -> None:
    bad = Constraint(opening="<toolcall>", closing="</toolcall>", tools=(("go", {"type": "no such type"}),))
    with pytest.raises(BackendError) as caught:
        GUIDANCE["byte-level"].start(bad)
    assert caught.value.code == "constraint_unsupported"
    assert caught.value.hint
    assert accepts("fine", Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS))


def test_what_cannot_be_held_is_named_of_all_that_is_offered() -> None:
    never = {
        "type": "object",
        "properties": {"x": {"type": "integer", "multipleOf": 7, "maximum": 6, "minimum": 1}},
    }
    around = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(?!a)b$"}}}
    tools = (*TOOLS, ("look", around), ("never", {**never, "required": ["x"]}))
    with pytest.raises(BackendError) as caught:
        GUIDANCE["byte-level"].start(Constraint(opening="<toolcall>", closing="</toolcall>", tools=tools))
    assert "The parameters of look, never cannot" in caught.value.message
    assert "\n" not in caught.value.message


def test_guides_of_one_constraint_are_independent() -> None:
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS, max_calls=1)
    assert accepts(CALL, constraint)
    assert accepts(CALL, Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS, max_calls=1))


def test_a_known_constraint_starts_at_once() -> None:
    names = [f"target number {number}" for number in range(200)]
    schema = {"type": "object", "properties": {"target": {"enum": names}}, "required": ["target"]}

    def constraint() -> Constraint:
        tools = tuple((f"action_{number}", json.loads(json.dumps(schema))) for number in range(32))
        return Constraint(opening="<toolcall>", closing="</toolcall>", tools=tools)

    guidance, first = GUIDANCE["byte-level"], constraint()
    started = time.perf_counter()
    guidance.start(first)
    compiled = time.perf_counter() - started
    times: list[float] = []
    for again in [first] * 20:
        started = time.perf_counter()
        guidance.start(again)
        times.append(time.perf_counter() - started)
    assert min(times) < compiled / 10


# A constraint that is compiled while the prompt is computed.


def test_a_guide_that_was_begun_is_the_same_as_one_that_was_started() -> None:
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS)
    encoding = ENCODINGS["byte-level"]
    begun = Guidance(encoding, stop=END).begin(constraint)
    started = Guidance(encoding, stop=END).start(constraint)
    for token in encoding.encode_text(f"So. {CALL} There."):
        assert (begun.legal() == started.legal()).all()
        begun.accept(token)
        started.accept(token)
    assert (begun.legal() == started.legal()).all()


def test_a_first_token_may_be_taken_before_anybody_asked_what_is_legal() -> None:
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS)
    guide = Guidance(ENCODINGS["byte-level"], stop=END).begin(constraint)
    guide.accept(ENCODINGS["byte-level"].encode_text("So")[0])
    assert guide.legal().any()


def test_what_is_compiled_behind_the_caller_fails_at_its_first_use_and_every_time() -> None:
    bad = Constraint(opening="<toolcall>", closing="</toolcall>", tools=(("go", {"type": "no such type"}),))
    guidance = Guidance(ENCODINGS["byte-level"], stop=END)
    for _ in range(2):
        guide = guidance.begin(bad)
        for _ in range(2):
            with pytest.raises(BackendError) as caught:
                guide.legal()
            assert caught.value.code == "constraint_unsupported"
    with pytest.raises(BackendError, match="cannot be made a constraint"):
        guidance.start(bad)


def test_a_reply_whose_constraint_cannot_be_held_fails_and_the_next_one_does_not() -> None:
    backend, _ = toy_backend()
    bad = Constraint(opening="<toolcall>", closing="</toolcall>", tools=(("go", {"type": "no such type"}),))
    with pytest.raises(BackendError) as caught:
        list(backend.generate(Request(prompt=prompt("Hi"), sampling=Sampling(max_tokens=4), constraint=bad)))
    assert caught.value.code == "constraint_unsupported"
    good = Constraint(opening="<toolcall>", closing="</toolcall>", tools=TOOLS)
    said = list(
        backend.generate(Request(prompt=prompt("Hi"), sampling=Sampling(max_tokens=4), constraint=good))
    )
    assert isinstance(said[-1], Finish)


@pytest.mark.parametrize("case", ["many turns at once", "no thread to be had", "a very large one"])
def test_a_constraint_is_compiled_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    matcher, here = guidance_module.LLMatcher, threading.get_ident()

    def counted(*arguments: Any, **options: Any) -> Any:
        compiled.append(threading.get_ident())
        return matcher(*arguments, **options)

    monkeypatch.setattr(guidance_module, "LLMatcher", counted)
    tools = TOOLS
    if case == "no thread to be had":

        def refuse(self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
    elif case == "a very large one":
        names = [f"target {number:0100}" for number in range(1000)]
        tools = (("go", {"type": "object", "properties": {"to": {"enum": names}}, "required": ["to"]}),)
    guidance = Guidance(ENCODINGS["byte-level"], stop=END)
    constraint = Constraint(opening="<toolcall>", closing="</toolcall>", tools=tools)
    guides = [guidance.begin(constraint) for _ in range(4)]
    assert all(guide.legal().any() for guide in guides)
    assert len(compiled) == 1
    assert (compiled[0] == here) is (case != "many turns at once")
