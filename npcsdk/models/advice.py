"""Which runtime and precision suit a machine: a pure function over the table in `npcsdk.models.rules`.

What a machine has is found out by `npcsdk.models.machine`, and what each runtime reports by
`npcsdk.backends.survey`; nothing here looks at the machine itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from npcsdk.models.catalog import CATALOG, EMBEDDED, CatalogEntry, Size
from npcsdk.models.rules import AS_SHIPPED, RULES, Rule

__all__ = [
    "Advice",
    "Device",
    "Form",
    "Machine",
    "Subject",
    "advise",
    "choose_model",
    "first_choice",
    "subject_of",
]

CONVERTED = ("NemotronForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM")
"""Architectures that `npcsdk models convert` brings from Hugging Face's files into the other forms."""

_SHARE = {"cpu": 0.5, "gpu": 0.8}
"""Of all memory, what a model may take: a game needs the rest. On a GPU the game's part is its own affair."""
_OVERHEAD = 300 << 20
_TARGETS = {"onnx-genai": "onnx", "gguf": "gguf", "openvino": "openvino"}
_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a runtime can compute on, by its own account.

    ``backend`` is the one that reported it, or "driver" where only a driver was found that no runtime here uses.
    ``kind`` is "cuda", "dml", "vulkan", "metal", "rocm", "gpu" (OpenVINO's) or "npu"; ``memory`` is in bytes, 0 where
    unknown.
    """

    backend: str
    kind: str
    name: str = ""
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to run on.

    Attributes:
        system: "Linux", "Windows" or "Darwin".
        cores: that this process may use.
        memory: bytes that this process may use.
        features: of the processor: "avx2", "avx512", "avx512_bf16", "avx512_vnni", "amx", "neon"; empty where unknown.
        runtimes: backend -> version of what it needs; "" where that is not installed.
        broken: backend -> why its runtime does not load.
    """

    system: str
    processor: str
    architecture: str
    cores: int
    memory: int
    features: frozenset[str] = frozenset()
    devices: tuple[Device, ...] = ()
    runtimes: Mapping[str, str] = field(default_factory=dict[str, str])
    broken: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form in which a model can be had: the argument that names it, and whether it is on this machine."""

    model: str
    here: bool
    precision: str = ""
    gated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model that advice is asked for. ``forms`` is file format -> how it is had in that format."""

    name: str
    architecture: str
    size: Size | None
    context_length: int
    forms: Mapping[str, Form]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One way to run a model here.

    Attributes:
        ready: nothing has to be installed, fetched or converted.
        memory: bytes that it takes, its cache included; 0 where the model's size is not known.
        steps: commands that lead there, in order; the last one talks to a character.
        against: why it cannot be had here; "" where it can.
    """

    backend: str
    precision: str
    device: str
    model: str
    options: Mapping[str, str]
    why: tuple[str, ...]
    steps: tuple[str, ...]
    ready: bool
    memory: int = 0
    against: str = ""


def advise(machine: Machine, subject: Subject, *, characters: int = 1) -> tuple[Advice, ...]:
    """Every way to run ``subject``, the best first; what this machine cannot do comes last and says why.

    Args:
        characters: how many speak at once.
    """
    made = [advice for rule in RULES if (advice := _apply(rule, machine, subject, characters)) is not None]
    return tuple(sorted(made, key=lambda advice: bool(advice.against)))  # stable: the table's order


def choose_model(machine: Machine) -> str:
    """The catalogue's model for a machine, where the user names none."""
    best = max((device.memory for device in machine.devices if device.kind in ("cuda", "dml")), default=0)
    memory = machine.memory
    if best >= 5 << 30 or (memory >= 8 << 30 and machine.cores >= 4):
        return "nemotron-mini-4b"
    if memory >= 6 << 30 and machine.cores >= 2:
        return "gemma-2-2b-it-gguf"
    return EMBEDDED


def subject_of(
    entry: CatalogEntry, here: Mapping[str, bool], catalog: Mapping[str, CatalogEntry] = CATALOG
) -> Subject:
    """A row of the catalogue with its other forms. ``here`` says of each row's name whether it is on this machine."""
    rows = [entry]
    if entry.original:
        rows += [row for row in catalog.values() if row.original == entry.original and row is not entry]
    forms: dict[str, Form] = {}
    for row in rows:
        form = Form(
            model=row.name,
            here=here.get(row.name, False),
            precision=_published(row),
            gated=row.gated,
        )
        forms.setdefault(row.file_format, form)
    return Subject(
        name=entry.name,
        architecture=entry.architecture,
        size=entry.size,
        context_length=entry.context_length,
        forms=forms,
    )


def _published(row: CatalogEntry) -> str:
    """The precision that a row's files have, where they have one."""
    if row.file_format == "gguf":
        return next((name for name in ("Q4_K_M", "Q8_0") if any(name in file for file in row.files)), "")
    return {"onnx-genai": "int4", "openvino": "int4"}.get(row.file_format, "") if row.repository else ""


def _apply(rule: Rule, machine: Machine, subject: Subject, characters: int) -> Advice | None:
    """What a rule says here; None where it is not about this machine or model at all."""
    large = subject.size is None or subject.size.parameters >= 1_000_000_000
    if rule.large is not None and rule.large != large:
        return None
    if rule.many is not None and rule.many != (characters > 1):
        return None
    if not rule.needs <= machine.features or rule.lacks & machine.features:
        return None
    form, convert = _form(rule, subject)
    if form is None:
        return None
    device = _device(rule, machine)
    if rule.on != "cpu" and device is None and not _may_have(rule, machine):
        return None
    why = [rule.why]
    steps: list[str] = []
    against = machine.broken.get(rule.backend, "")
    if against:
        against = f"its runtime is installed and does not load: {against}"
    memory = _memory(rule, subject, characters)
    room = machine.memory * _SHARE["cpu"] if rule.on == "cpu" else 0.0  # 0: unknown
    if device is not None and device.memory:
        room = device.memory * _SHARE["gpu"]
    if not against and memory and room and memory > room:
        against = f"it takes about {_gib(memory)}, and {_gib(room)} are to be had on the {_place(rule)}"
    installed = bool(machine.runtimes.get(rule.backend))
    usable = installed and (rule.on == "cpu" or (device is not None and device.backend == rule.backend))
    if not usable:
        steps.append(rule.install)
        if installed and device is not None:
            why.append(f"what is installed of it does not use the {device.name or rule.on} that is here")
        elif device is None and rule.on != "cpu":
            why.append("whether this machine has such a GPU is known once it is installed")
    name = form.model
    if not form.here:
        if form.gated:
            why.append("its publisher wants the terms accepted first; `models pull` says how")
        steps.append(f"npcsdk models pull {name}")
    if convert:
        bits = {"Q8_0": "int8"}.get(rule.precision, rule.precision)
        out = f"./{PurePath(name).name}-{convert}-{bits}"
        steps.append(
            f"npcsdk models convert {_quoted(name)} {_quoted(out)} --to {convert} --precision {bits}"
        )
        name = out
        why.append(f"nobody publishes it in this form; `models convert` makes it from {form.model}")
    ready = not steps and not against
    steps.append("npcsdk play" if name == EMBEDDED else f"npcsdk play --model {_quoted(name)}")
    return Advice(
        backend=rule.backend,
        precision=rule.precision,
        device=rule.on,
        model=name,
        options=dict(rule.options),
        why=tuple(why),
        steps=tuple(steps),
        ready=ready,
        memory=memory,
        against=against,
    )


def _form(rule: Rule, subject: Subject) -> tuple[Form | None, str]:
    """The files that a rule can use: published ones, or Hugging Face's and what to convert them to."""
    form = subject.forms.get(rule.file_format)
    if form is not None and (form.precision in ("", rule.precision) or rule.precision == AS_SHIPPED):
        return form, ""
    # What is made for the processor is not for a GPU of another maker, and k-quants are llama.cpp's own tool's.
    if rule.precision in (AS_SHIPPED, "Q4_K_M") or (rule.on != "cpu" and rule.backend != "openvino_genai"):
        return None, ""
    source = subject.forms.get("safetensors")
    target = _TARGETS.get(rule.file_format, "")
    if source is not None and target and subject.architecture in CONVERTED:
        return source, target
    return None, ""


def _device(rule: Rule, machine: Machine) -> Device | None:
    found = [device for device in machine.devices if device.kind == rule.on]
    own = [device for device in found if device.backend == rule.backend]
    return max(own or found, key=lambda device: device.memory, default=None)


def _may_have(rule: Rule, machine: Machine) -> bool:
    """Where nobody can say whether the device is there until its runtime is installed."""
    return rule.on == "dml" and machine.system in rule.systems


def _memory(rule: Rule, subject: Subject, characters: int) -> int:
    if subject.size is None or not rule.bits:
        return 0
    element = 4 if rule.backend == "onnx_genai" and rule.on == "cpu" else 2
    caches = min(characters, _CHARACTERS)
    cache = subject.size.cache_bytes(min(subject.context_length, 4096), element) * caches
    return int(subject.size.parameters * rule.bits / 8) + cache + _OVERHEAD


def _place(rule: Rule) -> str:
    return "processor" if rule.on == "cpu" else "GPU"


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _gib(size: float) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def first_choice(advices: Sequence[Advice]) -> Advice | None:
    """The first that can be had."""
    return next((advice for advice in advices if not advice.against), None)
