"""What holding a model to a constraint costs a turn, and what it brings: the right action at the right target."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.backends import _longer, _prompt
from benchmarks.harness import Row, Setting, interleaved, median, paired_ratio
from benchmarks.quality.cases import Case, all_cases
from benchmarks.quality.play import Player, Reply
from benchmarks.quality.score import right_arguments
from npcsdk.backends import registry
from npcsdk.backends.base import Backend, Constraint, Finish, ModelSource, Piece, Prompt, Request, Sampling

__all__ = ["costs", "held_out"]

CACHED = 1000
REPLY = 48


def costs(
    folder: Path, name: str, constraint: Callable[[int], Constraint], setting: Setting
) -> Iterator[Row]:
    """First token of a warm turn and decoding, without a constraint, under a known one and under a new one.

    Args:
        constraint: the constraint of a turn, by its number.
    """
    backend = registry.load(registry.resolve(str(folder)))
    base = _prompt(backend, CACHED)
    fresh = iter(range(1, 10_000))
    known = constraint(0)
    prompts = itertools.cycle(_alike(backend, base))

    def measured(held: Callable[[], Constraint | None]) -> Callable[[], float]:
        def side() -> float:
            request = Request(
                prompt=next(prompts),
                sampling=Sampling(max_tokens=2, seed=1),
                constraint=held(),
                session="warm",
            )
            begun = time.perf_counter()
            first = 0.0
            for item in backend.generate(request):
                if isinstance(item, Piece) and not first:
                    first = time.perf_counter() - begun
            return first

        return side

    sides = [measured(lambda: None), measured(lambda: known), measured(lambda: constraint(next(fresh)))]
    without, again, new = interleaved(*sides, rounds=setting.rounds(25), warm_up=3)
    for what, times in (("a known constraint", again), ("a new constraint", new)):
        yield Row(
            what=f"first token of a warm turn under {what}, {name}",
            measured=paired_ratio(times, without) * median(without) * 1000,
            floor=median(without) * 1000,
            unit="ms",
            bar=1.05,
            note="32 actions, 200 targets each; floor: the same turn without",
        )
    speech = interleaved(
        lambda: _per_token(backend, None, base),
        lambda: _per_token(backend, known, base),
        rounds=setting.rounds(15),
        warm_up=2,
    )
    yield Row(
        what=f"a token of speech under a constraint, {name}",
        measured=paired_ratio(speech[1], speech[0]) * median(speech[0]) * 1000,
        floor=median(speech[0]) * 1000,
        unit="ms",
        bar=1.05,
        note="floor: the same without; decoding alone",
    )
    backend.close()


def _alike(backend: Backend, base: Prompt) -> tuple[Prompt, Prompt]:
    """Two next turns of equally many tokens, each of which differs from the other in its first."""
    encoding: Any = backend._encoding  # type: ignore[attr-defined]
    found: dict[int, tuple[Prompt, int]] = {}
    shared = len(encoding.encode(base))
    for number in range(1, 1000):
        prompt = _longer(backend, base, number)
        ids = encoding.encode(prompt)
        other, first = found.setdefault(len(ids), (prompt, ids[shared]))
        if first != ids[shared]:
            return other, prompt
    raise AssertionError("no two turns are of one length")


def _per_token(backend: Backend, held: Constraint | None, prompt: Any) -> float:
    sampling = Sampling(max_tokens=REPLY, seed=7)
    request = Request(prompt=prompt, sampling=sampling, constraint=held, session="decode")
    for item in backend.generate(request):
        if isinstance(item, Finish):
            return item.usage.decode_s / max(item.usage.generated_tokens - 1, 1)
    raise AssertionError("no finish")


def held_out(source: ModelSource, setting: Setting) -> Iterator[Row]:
    """The held-out cases of `benchmarks.quality` that aim at something in this turn's state."""
    cases = [case for case in all_cases() if case.behaviour == "call" and _targets(case)]
    if setting.quick:
        cases = cases[:: max(1, len(cases) // 12)]
    cases.sort(key=lambda case: (case.world.name, case.npc, case.tools))
    backend = registry.load(replace(source, options={**source.options, "threads": 2}))
    try:
        player = Player(backend, source)
        played = [(case, player.play(case)) for case in cases]
    finally:
        backend.close()
    wrong = [case.id for case, reply in played if not _aimed(case, reply)]
    yield Row(
        what="held-out tools, the turn's state as enums: right action and target",
        measured=1 - len(wrong) / len(played),
        unit="share",
        bar=0.92,
        better="higher",
        note=f"{len(played)} cases of the suite `quality`; wrong: {', '.join(wrong[:3])}",
    )


def _targets(case: Case) -> list[str]:
    """The arguments that name something in the state."""
    parameters = case.world.actions[case.tool].parameters
    return [name for name in case.arguments if parameters[name].source]


def _aimed(case: Case, reply: Reply) -> bool:
    if [action.name for action in reply.actions] != [case.tool]:
        return False
    given = reply.actions[0].arguments
    wanted = {name: case.arguments[name] for name in _targets(case)}
    return right_arguments({name: given[name] for name in wanted if name in given}, wanted, set())
