"""Actions: the call parser, the choice of actions for the prompt, constraints, and random weights held to them."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import _held_calls, _random_calls, shapes
from benchmarks._lines import ACTIONS, PAIRS
from benchmarks.harness import Row, Setting, Skipped, interleaved, median
from npcsdk.actions.constraint import make_offer
from npcsdk.actions.formats import KNOWN, load_format
from npcsdk.actions.relevance import ToolSet
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends import registry
from npcsdk.backends.base import Constraint, Prompt, Request, Sampling, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.guidance import Guidance
from npcsdk.errors import MissingExtra, ModelError
from npcsdk.prompt.build import tool_schemas

TINY = shapes.Shape(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
    intermediate_size=128,
    max_position_embeddings=2048,
)


PARTS = ("parser", "choice", "compile", "held-out", "costs", "random")
RUNTIMES = ("onnx_genai", "llama_cpp", "transformers", "openvino_genai")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", choices=PARTS, help="actions: measure this one only")
    parser.add_argument("--random-in", choices=RUNTIMES, help="actions: random weights in this runtime only")


def run(setting: Setting) -> Iterator[Row]:
    asked = setting.option("part")
    wanted = PARTS if asked is None else (asked,)
    if "parser" in wanted:
        yield from _parser(setting)
    try:
        source = registry.resolve(setting.model)
    except ModelError as error:
        raise Skipped(str(error)) from error
    folder = Path(source.path)
    encoding = TextEncoding.from_file(folder / "tokenizer.json")
    if "choice" in wanted:
        yield from _choice(encoding)
    if "compile" in wanted:
        yield from _constraints(encoding, setting)
        yield from _in_openvino(setting)
    if "held-out" in wanted:
        yield from _held_calls.held_out(source, setting)
    if "costs" in wanted:
        yield from _held_calls.costs(shapes.build(shapes.M100, folder, setting.cache), "100M", _many, setting)
    if "random" in wanted:
        yield from _random_weights(shapes.build(TINY, folder, setting.cache), setting)


# -- the parser


def _parser(setting: Setting) -> Iterator[Row]:
    """Seconds for a million characters, in pieces of a token's size, of five kinds."""
    million = 1_000_000
    for name in KNOWN:
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
            "markers after no name": spelled.opening + "".join(spelled.after_name) * 50,
        }
        slowest, kind = 0.0, ""
        for what, text in kinds.items():
            output = (text * (million // max(len(text), 1) + 1))[:million] if text else ""
            if what == "one string":
                output = spelled.opening + '{"a": "' + "x" * million
            for size in (4, million):
                stream = spelled.stream()
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


def _in_openvino(setting: Setting) -> Iterator[Row]:
    """The same where the runtime compiles what it is told: what a reply of one token costs more than without."""
    try:
        backend = registry.load(registry.resolve(str(_random_calls.tiny("openvino_genai", setting.cache))))
    except (Skipped, MissingExtra) as absent:
        yield Row(
            what="compile a new constraint, OpenVINO: not measured", measured=0, unit="ms", note=str(absent)
        )
        return
    fresh = iter(range(1000, 10_000))
    known = _many(999)

    def reply(held: Callable[[], Constraint | None]) -> Callable[[], float]:
        def side() -> float:
            constraint = held()
            begun = time.process_time()
            prompt = Prompt((Segment("Good day. "),))
            for _ in backend.generate(
                Request(prompt=prompt, sampling=Sampling(max_tokens=1, seed=1), constraint=constraint)
            ):
                pass
            return time.process_time() - begun

        return side

    sides = [reply(lambda: None), reply(lambda: _many(next(fresh))), reply(lambda: known)]
    without, new, again = interleaved(*sides, rounds=setting.rounds(12), warm_up=2)
    backend.close()
    note = "beyond a reply of one token without it; "
    yield Row(
        what="compile a new constraint, 32 actions × 200 names, OpenVINO",
        measured=(median(new) - median(without)) * 1000,
        unit="ms",
        bar=30.0,
        note=note + "the grammar's making too",
    )
    yield Row(
        what="start a known constraint, OpenVINO",
        measured=(median(again) - median(without)) * 1000,
        unit="ms",
        note=note + "the runtime looks its own copy up by its whole text",
    )


# -- random weights


def _random_weights(folder: Path, setting: Setting) -> Iterator[Row]:
    count = 200 if setting.quick else 2000
    asked = setting.option("random_in")
    for runtime in RUNTIMES if asked is None else (asked,):
        try:
            model = folder if runtime == "onnx_genai" else _random_calls.tiny(runtime, setting.cache)
            backend = registry.load(replace(registry.resolve(str(model)), options={"threads": 1}))
        except (Skipped, MissingExtra) as absent:
            yield Row(
                what=f"random weights, {runtime}: not measured", measured=0, unit="turns", note=str(absent)
            )
            continue
        begun = time.perf_counter()
        encoding: Any = backend._encoding  # type: ignore[attr-defined]  # of every runtime whose logits we have
        tallies = _random_calls.play(backend, encoding, count)
        took = time.perf_counter() - begun
        backend.close()
        for what, tally in zip(("as they come", "forced to open a call"), tallies, strict=True):
            yield Row(
                what=f"turns of random weights without a wrong call, {runtime}, {what}",
                measured=1 - len(tally.wrong) / tally.turns,
                unit="share",
                bar=1.0,
                better="higher",
                note=f"{tally.turns} turns in all dialects: {tally.calls} legal calls, {tally.spoken_only} only spoken,"
                f" {tally.cut_off} cut off at {_random_calls.LONGEST} tokens inside a call; slowest "
                f"{tally.slowest:.1f} s; {took:.0f} s in all; {tally.wrong[:1]}",
            )
