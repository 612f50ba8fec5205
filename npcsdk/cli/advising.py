"""What `npcsdk models advise` finds out, and how it says it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from npcsdk.backends.survey import Answer, Measured, measure_apart, read_speed, survey
from npcsdk.errors import NpcError
from npcsdk.models.advice import (
    Advice,
    Device,
    Form,
    Machine,
    Subject,
    advise,
    choose_model,
    first_choice,
    subject_of,
)
from npcsdk.models.catalog import CATALOG, EMBEDDED
from npcsdk.models.identify import identify
from npcsdk.models.machine import this_machine

if TYPE_CHECKING:
    from npcsdk.models.identify import Found

__all__ = ["report", "subject_for"]

_FORMATS = {
    "onnx_genai": "onnx-genai",
    "openvino_genai": "openvino",
    "transformers": "safetensors",
    "llama_cpp": "gguf",
    "openai_compat": "server",
}


def report(model: str | None, characters: int, *, measure: bool, as_json: bool) -> None:
    """Write the advice for a model, or for the model that suits this machine."""
    machine = _machine(survey())
    subject = subject_for(model or choose_model(machine))
    advices = advise(machine, subject, characters=characters)
    best = first_choice(advices)
    now = next((advice for advice in advices if advice.ready), None)
    measured = _measured(advices) if measure else ()
    speed = read_speed() if measure else 0.0
    if as_json:
        facts = {
            "machine": _machine_facts(machine),
            "model": subject.name,
            "characters": characters,
            "chosen": model is None,
            "advice": asdict(best) if best else None,
            "at_hand": asdict(now) if now else None,
            "others": [asdict(advice) for advice in advices if advice not in (best, now)],
        }
        if measure:
            facts["measured"] = [asdict(one) for one in measured]
            facts["memory_bytes_per_s"] = round(speed)
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return
    lines = [_machine_text(machine)]
    if model is None:
        lines.append(f"The model for it: {subject.name}. {CATALOG[subject.name].summary}")
    lines.append("")
    lines += _advice_text(subject, advices, best, now)
    if measure:
        lines += _measured_text(subject, best, measured, speed)
    sys.stdout.write("\n".join(lines) + "\n")


def subject_for(model: str) -> Subject:
    """The model that advice is asked for: a row of the catalogue, or whatever `identify` takes it for.

    Raises:
        ModelError: as `npcsdk.models.identify.identify`.
    """
    entry = CATALOG.get(model)
    if entry is not None and entry.file_format != "server":
        rows = [
            row
            for row in CATALOG.values()
            if row is entry or (row.original and row.original == entry.original)
        ]
        return subject_of(entry, {row.name: _here(row.name) for row in rows})
    found = identify(model)
    form = Form(model=model, here=True)
    return Subject(
        name=found.name,
        architecture=found.architecture,
        size=_size(found),
        context_length=found.context_length,
        forms={_FORMATS.get(found.backend, found.backend): form},
    )


def _size(found: Found) -> Any:
    from npcsdk.models.shape import shape_of

    return shape_of(found)


def _here(name: str) -> bool:
    try:
        identify(name)
    except NpcError:
        return False
    return True


def _machine(answers: Sequence[Answer]) -> Machine:
    devices = tuple(
        Device(
            backend=answer.backend,
            kind=str(device.get("kind", "")),
            name=str(device.get("name", "")),
            memory=int(device.get("memory", 0)),
        )
        for answer in answers
        for device in answer.devices
    )
    return this_machine(
        devices,
        {answer.backend: answer.version for answer in answers},
        {answer.backend: answer.problem for answer in answers if answer.problem},
    )


def _measured(advices: Sequence[Advice]) -> tuple[Measured, ...]:
    """Each form of the model that is here and runs now; the embedded model where there is none."""
    ready = [advice for advice in advices if advice.ready]
    seen: dict[tuple[str, str], Advice] = {}
    for advice in ready:
        seen.setdefault((advice.backend, advice.model), advice)
    if not seen:
        return (measure_apart(None),)
    return tuple(
        measure_apart(None if advice.model == EMBEDDED else advice.model, advice.options)
        for advice in seen.values()
    )


# In words.

_LARGE = 500_000_000
"""Parameters from which on a model is larger than any processor's cache, so that memory bounds its speed."""


def _machine_text(machine: Machine) -> str:
    features = ", ".join(sorted(machine.features)) or "no features that are known"
    memory = f"{machine.memory / (1 << 30):.1f} GiB" if machine.memory else "memory unknown"
    gpus = {
        device.name or device.kind: f"{device.name or device.kind} ({device.backend}: {device.kind})"
        for device in machine.devices
    }
    here = [f"{name} {version}" for name, version in machine.runtimes.items() if version]
    lines = [
        f"This machine: {machine.processor or machine.architecture}, {machine.cores} cores ({features}), {memory}; "
        + (", ".join(gpus.values()) or "no GPU that an installed runtime can use"),
        f"Installed: {', '.join(here) or 'no runtime'}",
    ]
    lines += [f"Does not load: {name}: {problem}" for name, problem in machine.broken.items()]
    return "\n".join(lines)


def _machine_facts(machine: Machine) -> dict[str, Any]:
    return asdict(machine) | {"features": sorted(machine.features)}


def _advice_text(
    subject: Subject, advices: Sequence[Advice], best: Advice | None, now: Advice | None
) -> list[str]:
    if best is None:
        lines = [f"Nothing here can run {subject.name}:"]
        lines += [f"  {_title(advice)}: {advice.against}" for advice in advices]
        return [*lines, "Choose a smaller model: `npcsdk models list`."]
    lines = [f"Run {subject.name} with {_title(best)}."]
    lines += [f"  because {reason}" for reason in best.why]
    if best.memory:
        lines.append(f"  it takes about {best.memory / (1 << 30):.1f} GiB")
    if best.options:
        lines.append(f"  options: {', '.join(f'{key}={value}' for key, value in best.options.items())}")
    lines += [f"Next: {best.steps[0]}", *(f"then: {step}" for step in best.steps[1:])]
    if now is None:
        lines += ["", "What runs at once, without any of that: the embedded model: npcsdk play"]
    elif now is not best:
        lines += ["", f"What runs at once, without any of that: {_title(now)}: {now.steps[-1]}"]
    others = [advice for advice in advices if advice not in (best, now)]
    if others:
        lines += ["", "Other ways:"]
        lines += [f"  {_title(advice)}: {advice.against or advice.why[0]}" for advice in others]
    return lines


def _title(advice: Advice) -> str:
    place = "the processor" if advice.device == "cpu" else advice.device.upper()
    return f"{advice.backend}, {advice.precision}, on {place}"


def _measured_text(
    subject: Subject, best: Advice | None, measured: Sequence[Measured], speed: float
) -> list[str]:
    lines = ["", "Measured:"]
    for one in measured:
        if one.problem:
            lines.append(f"  {one.model} on {one.backend or 'its backend'}: {one.problem}")
            continue
        lines.append(
            f"  {one.model} on {one.backend}: loads in {one.load_s:.1f} s; reads {one.prefill:,.0f} tokens a second, "
            f"says {one.decode:,.0f}; four at once {one.together:,.0f} together"
        )
    if speed:
        lines.append(f"  memory is read at {speed / 1e9:.1f} GB a second")
        large = subject.size is not None and subject.size.parameters >= _LARGE
        if best is not None and subject.size is not None and large and best.device == "cpu":
            cache = subject.size.cache_bytes(min(subject.context_length, 4096))
            weights = max(best.memory - cache - (300 << 20), 1)
            lines.append(
                f"  so {subject.name} says at most {speed / weights:,.1f} tokens a second with {_title(best)}"
            )
    return lines
