"""Random weights held to random actions: what comes out is legal calls or plain speech, in every runtime.

Half of the turns are forced to open a call, so that calls are made at all: the first tokens of the reply are chosen for
the model, and all the rest is its own and the constraint's. OpenVINO chooses tokens itself; there the constraint says
that a reply begins with a call.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from benchmarks.harness import Skipped
from npcsdk.actions.constraint import Offer, make_offer
from npcsdk.actions.formats import KNOWN, ToolFormat, load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends import reply
from npcsdk.backends.base import Backend, Constraint, Finish, Piece, Prompt, Request, Sampling, Segment
from npcsdk.backends.encoding import Encoding
from npcsdk.backends.sampler import Bitmask, Logits, Sampler
from npcsdk.dialogue.turn import TurnMachine
from npcsdk.errors import MissingExtra
from npcsdk.events import Action, Refused
from npcsdk.models.convert import convert

__all__ = ["Tally", "judge", "play", "tiny"]

LONGEST = 120
"""Tokens of a random reply: what is not over by then is cut off, as in a game."""
MOST_CALLS = 2


@dataclass
class Tally:
    """What became of random turns. ``wrong`` are outputs that were neither legal calls nor plain speech."""

    turns: int = 0
    calls: int = 0
    spoken_only: int = 0
    cut_off: int = 0
    wrong: list[str] = field(default_factory=list[str])
    slowest: float = 0.0


def play(backend: Backend, encoding: Encoding, count: int, seed: int = 1) -> tuple[Tally, Tally]:
    """``count`` turns, every second one forced to open a call, in all dialects in turn.

    Args:
        encoding: the backend's.

    Returns:
        The turns as they came, and those that were forced.
    """
    chance = random.Random(seed)
    offers = [make_offer(_generated(chance, number), {}) for number in range(100)]
    free, forced = Tally(), Tally()
    for number in range(count):
        offer = offers[number % len(offers)]
        tool_format = load_format(KNOWN[number // 2 % len(KNOWN)])
        constraint = offer.constraint(tool_format, MOST_CALLS)
        tally = forced if number % 2 else free
        begun = time.perf_counter()
        held = nullcontext()
        if number % 2:
            openvino = backend.capabilities.backend == "openvino_genai"
            held = _tag_first() if openvino else _opening(encoding.encode_text(constraint.opening))
        with held:
            text = _said(backend, constraint, seed=number)
        tally.slowest = max(tally.slowest, time.perf_counter() - begun)
        judge(text, offer, tool_format, tally)
    return free, forced


@contextmanager
def _opening(tokens: list[int]) -> Iterator[None]:
    """While it lasts, replies begin with these tokens."""

    class Forced(Sampler):
        __slots__ = ("_left",)

        def __init__(self, sampling: Sampling) -> None:
            super().__init__(sampling)
            self._left = list(tokens)

        def pick(self, logits: Logits, legal: Bitmask | None = None) -> int:
            if not self._left:
                return super().pick(logits, legal)
            token = self._left.pop(0)
            assert legal is None or (int(legal[token >> 5]) >> (token & 31)) & 1, "opening a call is legal"
            return token

    before = reply.Sampler
    reply.Sampler = Forced  # type: ignore[misc]  # every runtime's replies take their tokens from it
    try:
        yield
    finally:
        reply.Sampler = before  # type: ignore[misc]


@contextmanager
def _tag_first() -> Iterator[None]:
    """While it lasts, OpenVINO's replies begin with a call."""
    from npcsdk.backends import openvino_genai

    before = openvino_genai.generation_config

    def config(*given: Any) -> Any:
        made = before(*given)
        held = made.structured_output_config
        triggered = held.structural_tags_config
        triggered.at_least_one = True
        held.structural_tags_config = triggered
        made.structured_output_config = held
        return made

    openvino_genai.generation_config = config
    try:
        yield
    finally:
        openvino_genai.generation_config = before


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


def judge(text: str, offer: Offer, tool_format: ToolFormat, tally: Tally) -> None:
    numbers = iter(range(100))
    turn = TurnMachine(
        offer=offer, tool_format=tool_format, max_calls=MOST_CALLS, new_id=lambda: f"a{next(numbers)}"
    )
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


def tiny(runtime: str, folder: Path) -> Path:
    """A model of a few thousand random weights for a runtime other than onnxruntime-genai, made once.

    Raises:
        Skipped: a package that making it needs is absent.
    """
    try:
        from tests.backends.tiny import (
            gguf_file,
            hugging_face,
        )  # the tests' own: run from the repository's root

        path = folder / f"random-{runtime}"
        if runtime == "transformers":
            return path if path.is_dir() else hugging_face(path, "nemotron")
        if runtime == "openvino_genai":
            if not path.is_dir():
                convert(str(tiny("transformers", folder)), "openvino", path, precision="fp32")
            return path
        path.mkdir(parents=True, exist_ok=True)
        (path / "npcsdk.json").write_text('{"prompt_format": "nemotron", "tool_format": "nemotron"}')
        return gguf_file(path / "model.gguf", "nemotron")
    except (ImportError, MissingExtra) as error:
        raise Skipped(f"{runtime}: {error}") from error
