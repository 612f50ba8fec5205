"""Actions: the call parser, the choice of actions for the prompt, constraints, and random weights held to them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from benchmarks import shapes
from benchmarks._lines import ACTIONS, PAIRS
from benchmarks.harness import Row, Setting, Skipped, median
from npcsdk.actions.constraint import Offer, make_offer
from npcsdk.actions.formats import ToolFormat, load_format
from npcsdk.actions.relevance import ToolSet
from npcsdk.actions.schema import ActionDefinition
from npcsdk.actions.stream import CallStream
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Constraint, Finish, Piece, Prompt, Request, Sampling, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.guidance import Guidance
from npcsdk.backends.sampler import Sampler
from npcsdk.dialogue.turn import TurnMachine
from npcsdk.errors import ModelError
from npcsdk.events import Action, Refused
from npcsdk.prompt.build import tool_schemas

FORMATS = ("nemotron", "gemma", "hermes", "llama3", "mistral")
TINY = shapes.Shape(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
    intermediate_size=128,
    max_position_embeddings=2048,
)
LONGEST = 320
"""Tokens of a random reply: what is not over by then is cut off, as in a game."""


def run(setting: Setting) -> Iterator[Row]:
    yield from _parser(setting)
    try:
        source = registry.resolve(setting.model)
    except ModelError as error:
        raise Skipped(str(error)) from error
    encoding = TextEncoding.from_file(Path(source.path) / "tokenizer.json")
    yield from _choice(encoding)
    yield from _constraints(encoding, setting)
    yield from _random_weights(shapes.build(TINY, Path(source.path), setting.cache), setting)


# -- the parser


def _parser(setting: Setting) -> Iterator[Row]:
    """Seconds for a million characters, in pieces of a token's size, of five kinds."""
    million = 1_000_000
    for name in FORMATS:
        spelled = load_format(name)
        call = spelled.render_call("open_gate", {"gate": 'the "iron" gate', "times": 3})
        kinds = {
            "speech": "Good day to you, traveller < and > so [on]. ",
            "calls": f"Very well. {call} It is open. ",
            "markers": spelled.opening + spelled.closing,
            "beginnings": spelled.opening[:-1],
            "one string": "",
            "quotes": spelled.opening + '{"a": "' + '" "' * 50,
            "braces": spelled.opening + "{[" * 50,
        }
        slowest, kind = 0.0, ""
        for what, text in kinds.items():
            output = (text * (million // max(len(text), 1) + 1))[:million] if text else ""
            if what == "one string":
                output = spelled.opening + '{"a": "' + "x" * million
            for size in (4, million):
                stream = CallStream(spelled.opening, spelled.closing, bare=spelled.bare)
                begun = time.process_time()
                for at in range(0, len(output), size):
                    stream.feed(output[at : at + size])
                stream.finish()
                took = time.process_time() - begun
                if took > slowest:
                    slowest, kind = took, f"{what}, {'in tokens' if size == 4 else 'at once'}"
        yield Row(
            what=f"parse 1 MB, the slowest of {len(kinds)} kinds, {name}",
            measured=slowest,
            unit="s",
            bar=1.0,
            note=f"{kind}; processor time",
        )


# -- which actions stand in the prompt


def _choice(encoding: TextEncoding) -> Iterator[Row]:
    """The right action must be in the prompt when it is asked for."""

    def tokens(definitions: Sequence[ActionDefinition]) -> int:
        tools = tool_schemas((one.name, one.description, one.parameters) for one in definitions)
        return sum(len(encoding.encode_text(f"<tool> {json.dumps(tool)} </tool>\n")) for tool in tools)

    everything = tokens(ACTIONS)
    kept = fresh = 0
    sizes: list[int] = []
    shuffled = list(PAIRS)
    random.Random(0).shuffle(shuffled)
    conversation = ToolSet(8)
    took: list[float] = []
    lost: list[str] = []
    for line, wanted in shuffled:
        begun = time.process_time()
        shown = conversation.choose(ACTIONS, line)
        took.append(time.process_time() - begun)
        sizes.append(tokens(shown))
        right = wanted in [one.name for one in shown]
        kept += right
        fresh += wanted in [one.name for one in ToolSet(8).choose(ACTIONS, line)]
        if not right:
            lost.append(line)
    note = f"{fresh / len(PAIRS):.0%} when each line is a conversation's first; lost: {lost[:4]}"
    yield Row(
        what=f"the right one of 32 actions is among the 8 shown, {len(PAIRS)} lines in one conversation",
        measured=kept / len(PAIRS),
        unit="share",
        better="higher",
        note=note,
    )
    yield Row(
        what="tokens of 8 actions in the prompt instead of 32",
        measured=median(sizes),
        floor=everything,
        unit="tokens",
        note=f"saves {everything - median(sizes):.0f} tokens",
    )
    yield Row(
        what="changes of the set, each a computation of the whole prompt",
        measured=conversation.changes / len(PAIRS),
        unit="a line",
        note="every line asks for another action: the worst case",
    )
    yield Row(what="time of the choice", measured=median(took) * 1000, unit="ms")


# -- constraints


def _many(turn: int, names: int = 200) -> Constraint:
    nearby = {
        "nearby": [f"{noun} {turn}.{number}" for number in range(names // 2) for noun in ("gate", "Tür")]
    }
    definitions = [
        ActionDefinition(
            name=f"action_{number}",
            parameters={
                "type": "object",
                "properties": {
                    "target": {"type": "string", "x-from": "state.nearby"},
                    "note": {"type": "string"},
                    "count": {"type": "integer", "minimum": 1, "maximum": 20},
                },
                "required": ["target"],
            },
        )
        for number in range(32)
    ]
    return make_offer(definitions, nearby).constraint(load_format("nemotron"), 4)


def _constraints(encoding: TextEncoding, setting: Setting) -> Iterator[Row]:
    guidance = Guidance(encoding, stop=3)
    cold: list[float] = []
    for turn in range(setting.rounds(12)):
        constraint = _many(turn)
        begun = time.process_time()
        guidance.start(constraint)
        cold.append(time.process_time() - begun)
    yield Row(
        what="compile a new constraint, 32 actions × 200 names",
        measured=median(cold) * 1000,
        unit="ms",
        bar=30.0,
        note="processor time, as in the rows that follow",
    )
    again = _many(setting.rounds(12) - 1)
    cached: list[float] = []
    for _ in range(setting.rounds(200)):
        begun = time.process_time()
        guidance.start(again)
        cached.append(time.process_time() - begun)
    yield Row(what="start a known constraint", measured=median(cached) * 1000, unit="ms", bar=0.2)
    call = load_format("nemotron").render_call(
        "action_7", {"target": "Tür 1.7", "note": "so " * 20, "count": 12}
    )
    guidance = Guidance(encoding, stop=3)
    for what, text in (("text", "The gate is shut at night, and so it was always. " * 4), ("a call", call)):
        times: list[float] = []
        for _ in range(setting.rounds(20)):
            guide = guidance.start(_many(1))
            for token in encoding.encode_text(text):
                begun = time.process_time()
                guide.legal()
                guide.accept(token)
                times.append(time.process_time() - begun)
        yield Row(
            what=f"a constraint's cost for each token, in {what}",
            measured=sum(times) / len(times) * 1000,
            unit="ms",
            note=f"p99 {sorted(times)[len(times) * 99 // 100] * 1000:.3f} ms; mask and step",
        )


# -- random weights


@dataclass
class Tally:
    """What became of random turns."""

    turns: int = 0
    calls: int = 0
    spoken_only: int = 0
    cut_off: int = 0
    wrong: list[str] = field(default_factory=list[str])
    slowest: float = 0.0


def _random_weights(folder: Path, setting: Setting) -> Iterator[Row]:
    backend = registry.load(registry.resolve(str(folder)))
    forced = _Forced(folder)
    count = 400 if setting.quick else 2000
    chance = random.Random(1)
    offers = [make_offer(_generated(chance, number), {}) for number in range(100)]
    tool_format = load_format("nemotron")
    free, opened = Tally(), Tally()
    begun = time.perf_counter()
    for number in range(count):
        offer = offers[number % len(offers)]
        constraint = offer.constraint(tool_format, 2)
        started = time.perf_counter()
        if number % 2:
            text = forced.reply(constraint, seed=number)
        else:
            text = _said(backend, constraint, seed=number)
        tally = opened if number % 2 else free
        tally.slowest = max(tally.slowest, time.perf_counter() - started)
        _judge(text, offer, tool_format, tally)
    took = time.perf_counter() - begun
    backend.close()
    for what, tally in (("as they come", free), ("forced to open a call", opened)):
        yield Row(
            what=f"turns of random weights without a wrong call, {what}",
            measured=1 - len(tally.wrong) / tally.turns,
            unit="share",
            bar=1.0,
            better="higher",
            note=f"{tally.turns} turns, {tally.calls} legal calls, {tally.spoken_only} speech only, {tally.cut_off} "
            f"cut off at {LONGEST} tokens inside a call; slowest {tally.slowest:.1f} s; "
            f"{took:.0f} s in all; {tally.wrong[:1]}",
        )


def _generated(chance: random.Random, number: int) -> list[ActionDefinition]:
    """Actions with nested objects, arrays, enums with Unicode, numbers with bounds."""

    def schema(depth: int) -> dict[str, Any]:
        kinds = ["enum", "integer", "number", "boolean", "string", *(["array", "object"] if depth else [])]
        match chance.choice(kinds):
            case "enum":
                words = [
                    "iron gate",
                    "Grüner Weg",
                    "旅人",
                    "🙂",
                    'a "b"',
                    "back\\slash",
                    "{",
                    "</toolcall>",
                    "ß",
                ]
                return {"type": "string", "enum": chance.sample(words, chance.randint(1, 5))}
            case "integer":
                low = chance.randint(-50, 50)
                return {"type": "integer", "minimum": low, "maximum": low + chance.randint(0, 500)}
            case "number":
                return {"type": "number", "minimum": -1.5, "maximum": chance.choice([0.25, 9.75, 100])}
            case "boolean":
                return {"type": "boolean"}
            case "string":
                return {"type": "string", "maxLength": chance.randint(1, 16)}
            case "array":
                return {"type": "array", "items": schema(depth - 1), "minItems": 0, "maxItems": 3}
            case _:
                return {"additionalProperties": False, **members(depth - 1)}

    def members(depth: int) -> dict[str, Any]:
        names = [f"p{index}" for index in range(chance.randint(0, 3))]
        return {
            "type": "object",
            "properties": {name: schema(depth) for name in names},
            "required": [name for name in names if chance.random() < 0.7],
        }

    return [
        ActionDefinition(name=f"act_{number}_{index}", parameters=members(2))
        for index in range(chance.randint(1, 8))
    ]


def _said(backend: Backend, constraint: Constraint, seed: int) -> str:
    prompt = Prompt((Segment(f"Turn {seed} says "),))
    sampling = Sampling(seed=seed, temperature=1.0, top_k=0, top_p=1.0, max_tokens=LONGEST)
    said: list[str] = []
    for item in backend.generate(Request(prompt=prompt, sampling=sampling, constraint=constraint)):
        if isinstance(item, Piece):
            said.append(item.text)
        else:
            assert isinstance(item, Finish)
    return "".join(said)


class _Forced:
    """The bare runtime under the same guidance and sampler, made to begin its reply with the opening marker."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime_genai as og

        self._encoding = TextEncoding.from_file(folder / "tokenizer.json")
        self._end = int(json.loads((folder / "genai_config.json").read_text())["model"]["eos_token_id"])
        self._guidance = Guidance(self._encoding, stop=self._end)
        self._model: Any = og.Model(str(folder))
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=1024, do_sample=False)
        self._generator: Any = og.Generator(self._model, params)

    def reply(self, constraint: Constraint, seed: int) -> str:
        guide = self._guidance.start(constraint)
        sampler = Sampler(Sampling(seed=seed, temperature=1.0, top_k=0, top_p=1.0))
        opening = self._encoding.encode_text(constraint.opening)
        for token in opening:
            guide.legal()
            guide.accept(token)
        said = list(opening)
        banned = np.array(sorted(self._encoding.special - {self._end}), dtype=np.intp)
        self._generator.rewind_to(0)
        prompt = self._encoding.encode_text(f"Turn {seed} says ")
        self._generator.append_tokens(np.array([*prompt, *opening], dtype=np.int32))
        for _ in range(LONGEST):
            logits = np.array(self._generator.get_logits()[0, -1], dtype=np.float32)
            logits[banned] = -np.inf
            token = int(sampler.pick(logits, guide.legal()))
            if token == self._end:
                break
            guide.accept(token)
            said.append(token)
            self._generator.append_tokens(np.array([token], dtype=np.int32))
        return self._encoding.decode(said)


def _judge(text: str, offer: Offer, tool_format: ToolFormat, tally: Tally) -> None:
    numbers = iter(range(100))
    turn = TurnMachine(offer=offer, tool_format=tool_format, max_calls=2, new_id=lambda: f"a{next(numbers)}")
    tally.turns += 1
    events = [*turn.piece(Piece(text)), *turn.round_over(cut=True)]
    actions = [event for event in events if isinstance(event, Action)]
    for action in actions:
        schema = {"additionalProperties": False, **offer.actions[action.name].schema}
        if action.repaired or list(
            jsonschema.Draft202012Validator(schema).iter_errors(dict(action.arguments))
        ):
            tally.wrong.append(text)
    refused = [event.code for event in events if isinstance(event, Refused)]
    tally.calls += len(actions)
    tally.cut_off += refused == ["unclosed"]
    tally.spoken_only += not actions and not refused
    if refused not in ([], ["unclosed"]):
        tally.wrong.append(text)
