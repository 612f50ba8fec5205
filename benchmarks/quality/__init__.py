"""The model on held-out worlds and tools: facts, not knowing, tool calls, small talk, identity, free replies.

    python -m benchmarks quality [--model PATH [--like NAME]] [--against PATH] [--wrong] [--show] [--only call]

Every case goes through the whole SDK (see `benchmarks.quality.play`) and is judged by `benchmarks.quality.score`.
"""

from __future__ import annotations

import argparse
import textwrap
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.harness import Row, Setting, Skipped
from benchmarks.quality.cases import Case, all_cases
from benchmarks.quality.play import Player, Reply
from benchmarks.quality.score import right, sane
from npcsdk.backends.registry import load, resolve
from npcsdk.errors import ModelError
from npcsdk.models.catalog import EMBEDDED

__all__ = ["add_arguments", "run"]

SAMPLE = 30
"""Cases of each behaviour when the run is quick."""
THREADS = 2


@dataclass(frozen=True)
class Measure:
    """A row of the table: which cases, how they are decoded, and the bar in percent."""

    key: str
    what: str
    behaviour: str
    bar: float | None
    grammar: bool = True


MEASURES = (
    Measure("fact", "the fact is in the answer when the context has it", "fact", 90),
    Measure("unknown", "says that it does not know when no context has it", "unknown", 85),
    Measure("call_free", "right tool and exactly right arguments, free decoding", "call", 85, grammar=False),
    Measure("call", "right tool and exactly right arguments, with the grammar", "call", 92),
    Measure("chat", "no tool call on small talk with tools offered", "chat", 95),
    Measure("identity", "says who it is, from the persona", "identity", 98),
    Measure("free", "free replies that look sound to a machine (read them: --show)", "free", None),
)


@dataclass
class Outcome:
    """The cases of one measure with their replies."""

    played: list[tuple[Case, Reply]] = field(default_factory=list[tuple[Case, Reply]])

    @property
    def percent(self) -> float:
        return 100 * sum(right(case, reply) for case, reply in self.played) / max(len(self.played), 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The suite's own options."""
    group = parser.add_argument_group("quality")
    group.add_argument(
        "--against", metavar="MODEL", help="a full-precision folder of the same model: points lost"
    )
    group.add_argument(
        "--like", metavar="NAME", help="give --model what the catalogue gives this model: for its checkpoints"
    )
    group.add_argument("--wrong", action="store_true", help="print the cases that went wrong")
    group.add_argument("--show", action="store_true", help="print the free replies, to be read one by one")
    group.add_argument(
        "--contexts", choices=("turn", "system"), default="turn", help="where the passages stand"
    )
    group.add_argument("--only", action="append", choices=[m.key for m in MEASURES], help="this row alone")


def run(setting: Setting) -> Iterator[Row]:
    only = setting.option("only")
    chosen = [measure for measure in MEASURES if not only or measure.key in only]
    outcomes: dict[str, Outcome] = {}
    with _player(setting.model, setting.option("like")) as player:
        for measure in chosen:
            outcomes[measure.key] = outcome = _measure(player, measure, setting)
            yield _row(measure, outcome, setting)
            if measure.key == "call":
                yield _valid(outcome)
            _print(measure, outcome, setting)
        if player.decode_s:
            yield Row(
                what="speed: tokens a second in the runtime, after the first",
                measured=player.generated / player.decode_s,
                unit="tokens/s",
                bar=400,
                better="higher",
                note=f"{player.generated} tokens over all cases, {THREADS} threads",
            )
        if player.folder.is_dir():
            yield _size(player.folder)
    if setting.option("against"):
        yield from _points_lost(outcomes, chosen, setting)


def _points_lost(outcomes: dict[str, Outcome], chosen: Sequence[Measure], setting: Setting) -> Iterator[Row]:
    # Both with the same help of the SDK: what is compared is the weights.
    with _player(setting.option("against"), setting.option("like") or setting.model or EMBEDDED) as player:
        for measure in chosen:
            whole = _measure(player, measure, setting).percent
            yield Row(
                what=f"points lost against full precision: {measure.key}",
                measured=whole - outcomes[measure.key].percent,
                unit="points",
                bar=None if measure.bar is None else 2.0,
                note=f"full precision {whole:.1f} %",
            )


@contextmanager
def _player(model: str | None, like: str | None) -> Iterator[Player]:
    """``like``: the model whose options of the catalogue this one is played with besides its own."""
    try:
        source = resolve(model)
        options = {**(resolve(like).options if like else {}), **source.options}
        source = replace(source, options={**options, "threads": THREADS})
        backend = load(source)
    except ModelError as error:
        raise Skipped(str(error)) from error
    try:
        yield Player(backend, source)
    finally:
        backend.close()


def _measure(player: Player, measure: Measure, setting: Setting) -> Outcome:
    cases = [case for case in all_cases() if case.behaviour == measure.behaviour]
    if setting.quick:
        step = max(1, len(cases) // SAMPLE)
        cases = cases[::step][:SAMPLE]
    # Neighbours share a character and its tools, so that the runtime computes them once.
    cases.sort(key=lambda case: (case.world.name, case.npc, case.tools))
    placement = setting.option("contexts") or "turn"
    outcome = Outcome()
    for case in track(cases, measure.key, console=Console(stderr=True), transient=True):
        outcome.played.append((case, player.play(case, grammar=measure.grammar, placement=placement)))
    return outcome


def _row(measure: Measure, outcome: Outcome, setting: Setting) -> Row:
    system = setting.option("contexts") == "system"
    return Row(
        what=measure.what + (", contexts in the system block" if system else ""),
        measured=outcome.percent,
        unit="%",
        bar=measure.bar,
        better="higher",
        note=f"{len(outcome.played)} cases",
    )


def _valid(outcome: Outcome) -> Row:
    made = sum(len(reply.actions) for _, reply in outcome.played)
    refused = sum(len(reply.refused) for _, reply in outcome.played)
    return Row(
        what="calls that are valid, with the grammar",
        measured=100 * made / max(made + refused, 1),
        unit="%",
        bar=100,
        better="higher",
        note=f"{made + refused} calls",
    )


def _size(folder: Path) -> Row:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Row(
        what="size in the wheel",
        measured=packed.tell() / 1e6,
        unit="MB",
        bar=16,
        note=f"{on_disk / 1e6:.2f} MB unpacked",
    )


def _kinds(case: Case) -> list[str]:
    """What a case is an example of, for the shares by kind."""
    terse = case.line[:1].islower() or len(case.line.split()) < 5
    kinds = ["terse or lower case" if terse else "whole sentences"]
    if case.behaviour in ("fact", "unknown"):
        kinds.append(f"{len(case.contexts)} passages")
    if case.tools:
        kinds.append(f"{len(case.tools)} tools")
    if case.tool:
        schema = case.world.actions[case.tool].parameters
        for name in case.arguments:
            entry = schema[name]
            kinds.append("target" if entry.source else "choice" if entry.enum else entry.type)
        kinds.append(f"{len(case.arguments)} arguments")
    return list(dict.fromkeys(kinds))


def _shares(outcome: Outcome) -> str:
    """How many were right of each kind of case."""
    counts: dict[str, list[bool]] = {}
    for case, reply in outcome.played:
        for kind in _kinds(case):
            counts.setdefault(kind, []).append(right(case, reply))
    return "; ".join(f"{kind} {sum(given)}/{len(given)}" for kind, given in sorted(counts.items()))


def _print(measure: Measure, outcome: Outcome, setting: Setting) -> None:
    if setting.option("wrong"):
        print(f"\n[{measure.key}] right: {_shares(outcome)}")
    for case, reply in outcome.played:
        shown = measure.key == "free" and setting.option("show")
        if not shown and not (setting.option("wrong") and not right(case, reply)):
            continue
        print(f"\n[{measure.key}] {case.id}  {case.persona.name}, {case.persona.role}")
        for context in case.contexts:
            print(textwrap.shorten(f"  context: {context}", 240))
        if case.tools:
            print(f"  tools: {', '.join(case.tools)}   now: {dict(case.now)}")
        print(f"  player: {case.line}")
        print(
            f"  reply:  {reply.text!r} {reply.calls}"
            + ("" if reply.reason == "stop" else f" ({reply.reason})")
        )
        if measure.key == "free" and sane(reply):
            print(f"  at first sight: {sane(reply)}")
        wanted = f"{case.tool}({case.arguments})" if case.tool else ", ".join(case.needs)
        if wanted:
            print(f"  wanted: {wanted}")
