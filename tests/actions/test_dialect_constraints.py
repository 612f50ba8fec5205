"""Every dialect under its constraint: whatever random logits want, the game sees legal calls or plain speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import ToolFormat, load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.actions.stream import CallPart, Speech, Unclosed
from npcsdk.backends.base import Constraint, Piece, Request, Sampling
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.guidance import Guidance
from npcsdk.backends.sampler import Logits, Sampler
from tests.backends.toy import END, byte_level, prompt, toy_backend

EMBEDDED = Path(__file__).parents[2] / "npcsdk" / "models" / "embedded"

FORMATS = [load_format(name) for name in ("gemma", "hermes", "llama3", "mistral", "mistral_args", "nemotron")]
NAMES = [one.name for one in FORMATS]
OFFER = make_offer(
    [
        ActionDefinition(
            name="open_gate",
            parameters={
                "type": "object",
                "properties": {
                    "gate": {"type": "string", "x-from": "state.nearby"},
                    "times": {"type": "integer", "minimum": 1, "maximum": 9},
                },
                "required": ["gate"],
            },
        ),
        ActionDefinition(name="wave"),
        ActionDefinition(
            name="list_up",
            parameters={
                "type": "object",
                "properties": {
                    "items": {"type": "array", "items": {"enum": ["a", "ß", "{"]}, "maxItems": 3},
                    "note": {
                        "type": "object",
                        "properties": {"loud": {"type": "boolean"}},
                        "required": ["loud"],
                        "additionalProperties": False,
                    },
                },
                "required": ["items", "note"],
            },
        ),
    ],
    {"nearby": ["iron gate", "Tür", 'a "quoted" one', "</call>"]},
)


def marked_tokenizer(tool_format: ToolFormat) -> Tokenizer:
    """A tokenizer that has the dialect's markers as control tokens, as Llama's and Mistral's do."""
    tokenizer = byte_level()
    markers = [AddedToken(text, special=True, normalized=False) for text in tool_format.markers]
    tokenizer.add_special_tokens(markers)
    return tokenizer


PLAIN = TextEncoding(byte_level())
GUIDANCE = Guidance(PLAIN, stop=END)


def reply(guidance: Guidance, encoding: TextEncoding, constraint: Constraint, seed: int, lure: str) -> str:
    """What a model with random logits says, drawn to ``lure`` at its beginning and after each call."""
    guide = guidance.start(constraint)
    random = np.random.default_rng(seed)
    sampler = Sampler(Sampling(seed=seed, top_k=0 if seed % 2 else 40, top_p=1, temperature=1.0))
    marker = encoding.token_id(lure)
    wanted = [marker] if marker is not None else encoding.encode_text(lure)
    said: list[int] = []
    at = 0
    for _ in range(160):
        logits = random.normal(size=encoding.vocabulary).astype(np.float32) * 2
        at = at + 1 if said and said[-1] == wanted[at % len(wanted)] else 0
        logits[wanted[at % len(wanted)]] += 12 if seed % 3 else 0
        token = sampler.pick(logits, guide.legal())
        if token == END:
            break
        guide.accept(token)
        said.append(token)
    return encoding.decode(said)


@pytest.mark.parametrize("special", [False, True], ids=["text markers", "token markers"])
@pytest.mark.parametrize("name", NAMES)
def test_random_models(name: str, special: bool) -> None:
    tool_format = load_format(name)
    encoding = TextEncoding(marked_tokenizer(tool_format)) if special else PLAIN
    guidance = Guidance(encoding, stop=END) if special else GUIDANCE
    constraint = OFFER.constraint(tool_format, 2)
    made = 0
    for seed in range(24):
        bare = tool_format.bare and seed % 2
        said = reply(guidance, encoding, constraint, seed, '{"name": "' if bare else tool_format.opening)
        stream = tool_format.stream()
        calls = 0
        for part in [*stream.feed(said), *stream.finish()]:
            if isinstance(part, CallPart):
                for call in tool_format.parse_calls(part.body):
                    offered = OFFER.actions[call.name]
                    jsonschema.validate(call.arguments, offered.schema)
                    calls += 1
            elif isinstance(part, Unclosed):
                assert len(said) >= 40, said  # cut off by the length limit, never by its own will
            elif isinstance(part, Speech):
                assert tool_format.opening not in part.text
        assert calls <= 2
        made += calls
    assert made >= 8, "a test that makes no calls proves nothing"


@pytest.mark.parametrize("name", NAMES)
def test_a_backend_lets_the_markers_out_that_are_control_tokens(name: str) -> None:
    """All control tokens are banned from replies but these: a call that was opened can be finished."""
    tool_format = load_format(name)
    tokenizer = marked_tokenizer(tool_format)
    opening = tokenizer.token_to_id(tool_format.opening)
    backend, runtime = toy_backend(tokenizer=tokenizer)
    wanted = runtime.logits
    length = len(backend._encoding.encode(prompt("Hi")))

    def opens_a_call(tokens: Sequence[int]) -> Logits:
        logits = wanted(tokens)
        logits[opening] = 50.0 if len(tokens) == length else logits[opening]
        return logits

    runtime.logits = opens_a_call  # type: ignore[method-assign]
    request = Request(
        prompt=prompt("Hi"),
        sampling=Sampling(seed=3, max_tokens=200),
        constraint=make_offer([ActionDefinition(name="wave")], {}).constraint(tool_format, 1),
    )
    said = "".join(piece.text for piece in backend.generate(request) if isinstance(piece, Piece))
    stream = tool_format.stream()
    parts = [part for part in [*stream.feed(said), *stream.finish()] if isinstance(part, CallPart)]
    assert [call.name for part in parts for call in tool_format.parse_calls(part.body)] == ["wave"], said


def legal(text: str, constraint: Constraint) -> bool:
    guide = GUIDANCE.start(constraint)
    for token in [*PLAIN.encode_text(text), END]:
        mask = guide.legal()
        if not (int(mask[token >> 5]) >> (token & 31)) & 1:
            return False
        if token != END:
            guide.accept(token)
    return True


WAVE = {"name": "wave", "arguments": {}}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_dialect_writes_is_legal_in_its_constraint(name: str) -> None:
    tool_format = load_format(name)
    constraint = OFFER.constraint(tool_format, 2)
    gate: dict[str, Any] = {"gate": "Tür", "times": 3}
    call = tool_format.render_call("open_gate", gate)
    assert legal("Good day.", constraint)
    assert legal(f"Very well. {call}", constraint)
    assert legal(f"{call} There.", constraint)
    assert not legal(tool_format.render_call("open_gate", {"gate": "moon"}), constraint)
    assert not legal(tool_format.render_call("burn", {}), constraint)
    assert not legal(f"{tool_format.opening} nonsense", constraint)
    assert not legal(call[:-4] if not tool_format.closing else call[: -len(tool_format.closing)], constraint)


@pytest.mark.parametrize(
    ("name", "text", "is_legal"),
    [
        ("llama3", '{"name": "wave", "parameters": {}}', True),
        ("llama3", '{"name": "wave", "parameters": {}} There.', True),
        ("llama3", '{"name": "wave", "arguments": {}}', False),
        ("llama3", '{"name": "burn", "parameters": {}}', False),
        ("llama3", "{waves}", False),
        ("llama3", 'So {"name": "burn"}', True),  # speech: nothing opens a call
        ("llama3", '{"name": "wave", "parameters": {}}; {"name": "burn"}', False),
        ("llama3", '{"name": "wave", "parameters": {}} {"name": "burn"}', False),
        (
            "mistral",
            '[TOOL_CALLS] [{"name": "wave", "arguments": {}}, {"name": "wave", "arguments": {}}]',
            True,
        ),
        ("mistral", "[TOOL_CALLS] " + str([WAVE] * 3).replace("'", '"'), False),
        ("mistral", "[TOOL_CALLS] []", False),
        ("mistral", '[TOOL_CALLS] [{"name": "wave", "arguments": {}}', False),
        ("mistral", "[TOOL] I know [TOOL_CALL]", True),
        ("mistral_args", "[TOOL_CALLS]wave[ARGS]{}[TOOL_CALLS]wave[ARGS]{} So.", True),
        ("mistral_args", "[TOOL_CALLS]wave[ARGS]{}" * 3, False),
        ("mistral_args", "[TOOL_CALLS]wave{}", False),
        ("mistral_args", "[TOOL_CALLS]wave[ARGS]", False),
        ("mistral_args", '[TOOL_CALLS]wave[ARGS]{"gate": "Tür"}', False),
        ("mistral_args", '[TOOL_CALLS] [{"name": "wave", "arguments": {}}]', False),
    ],
)
def test_what_is_legal(name: str, text: str, is_legal: bool) -> None:
    assert legal(text, OFFER.constraint(load_format(name), 2)) is is_legal


def test_without_actions_a_bare_call_is_illegal_too() -> None:
    constraint = make_offer([], {}).constraint(load_format("llama3"), 4)
    assert legal("Hello.", constraint)
    assert not legal('{"name": "wave", "parameters": {}}', constraint)
    assert not legal("<|python_tag|>", constraint)


def test_definitions_and_long_lists_that_schemas_share() -> None:
    names = [f"target {number}" for number in range(20)]
    parameters = {
        "type": "object",
        "properties": {
            "at": {"$ref": "#/$defs/place"},
            "others": {"type": "array", "items": {"$ref": "#/$defs/place"}, "maxItems": 2},
            "target": {"type": "string", "enum": names},
        },
        "required": ["at", "target"],
        "$defs": {
            "place": {
                "type": "object",
                "properties": {"side": {"$ref": "#/$defs/side"}},
                "required": ["side"],
                "additionalProperties": False,
            },
            "side": {"enum": ["left", "right"]},
        },
    }
    other = {
        "type": "object",
        "properties": {"side": {"$ref": "#/$defs/side"}, "target": {"type": "string", "enum": [*names]}},
        "required": ["side", "target"],
        "$defs": {"side": {"type": "integer", "minimum": 1, "maximum": 2}},
    }
    offer = make_offer(
        [ActionDefinition(name="go", parameters=parameters), ActionDefinition(name="turn", parameters=other)],
        {},
    )
    tool_format = load_format("nemotron")
    constraint = offer.constraint(tool_format, 2)

    def allowed(name: str, arguments: dict[str, Any]) -> bool:
        return legal(tool_format.render_call(name, arguments), constraint)

    assert allowed("go", {"at": {"side": "left"}, "target": "target 7"})
    assert allowed("go", {"at": {"side": "left"}, "others": [{"side": "right"}], "target": "target 19"})
    assert not allowed("go", {"at": {"side": 1}, "target": "target 7"})
    assert not allowed("go", {"at": {"side": "left"}, "target": "target 20"})
    assert allowed("turn", {"side": 2, "target": "target 0"})
    assert not allowed("turn", {"side": "left", "target": "target 0"})


def test_a_call_may_begin_with_a_token_that_reaches_beyond_its_marker() -> None:
    """The embedded model writes the marker, the brace and the first key as one token."""
    replies = TextEncoding.from_file(EMBEDDED / "tokenizer.json")
    tool_format = load_format("nemotron")
    first = replies.encode_text(tool_format.render_call("wave", {}))[0]
    assert len(replies.bytes_of(first)) > len(tool_format.opening)
    end = replies.token_id("</s>")
    assert end is not None
    constraint = OFFER.constraint(tool_format, 2)
    for guide in (
        Guidance(replies, stop=end).start(constraint),
        Guidance(replies, stop=end).begin(constraint),
    ):
        assert (int(guide.legal()[first >> 5]) >> (first & 31)) & 1
