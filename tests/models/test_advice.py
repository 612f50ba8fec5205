"""What a machine is advised to run, and that the advice can be followed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.errors import ModelError
from npcsdk.models.advice import (
    CONVERTED,
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
from npcsdk.models.catalog import CATALOG, EMBEDDED, Size
from npcsdk.models.machine import features_of, limited, this_machine
from npcsdk.models.rules import RULES

GIB = 1 << 30
ALL = dict.fromkeys(("llama_cpp", "onnx_genai", "openai_compat", "openvino_genai", "transformers"), "1.0")
DESKTOP = Machine(
    system="Linux",
    processor="a processor",
    architecture="x86_64",
    cores=8,
    memory=32 * GIB,
    features=frozenset({"avx2"}),
    runtimes=ALL,
)
AVX512 = frozenset({"avx2", "avx512", "avx512_vnni", "avx512_bf16"})


def subject(name: str, *here: str) -> Subject:
    return subject_of(CATALOG[name], dict.fromkeys(here, True))


def best(machine: Machine, name: str, *here: str, characters: int = 1) -> Advice:
    found = first_choice(advise(machine, subject(name, *here), characters=characters))
    assert found is not None
    return found


def gpu(backend: str, kind: str, memory: int = 24 * GIB) -> tuple[Device, ...]:
    return (Device(backend=backend, kind=kind, name="a GPU", memory=memory),)


@pytest.mark.parametrize(
    ("machine", "name", "characters", "expected"),
    [
        (DESKTOP, EMBEDDED, 1, ("onnx_genai", "as shipped", "cpu")),
        (DESKTOP, "nemotron-mini-4b", 1, ("llama_cpp", "Q4_K_M", "cpu")),
        (DESKTOP, "nemotron-mini-4b", 8, ("llama_cpp", "Q4_K_M", "cpu")),
        (replace(DESKTOP, features=AVX512), "nemotron-mini-4b", 1, ("llama_cpp", "Q4_K_M", "cpu")),
        (replace(DESKTOP, features=AVX512), "nemotron-mini-4b", 8, ("openvino_genai", "int8", "cpu")),
        (
            replace(DESKTOP, features=AVX512 | {"amx"}),
            "nemotron-mini-4b",
            1,
            ("openvino_genai", "int8", "cpu"),
        ),
        (
            replace(DESKTOP, devices=gpu("onnx_genai", "cuda")),
            "nemotron-mini-4b",
            1,
            ("onnx_genai", "int4", "cuda"),
        ),
        (
            replace(DESKTOP, devices=gpu("transformers", "cuda")),
            "gemma-2b",
            1,
            ("transformers", "bf16", "cuda"),
        ),
        (
            replace(DESKTOP, devices=gpu("transformers", "cuda", 5 * GIB)),
            "gemma-2b",
            1,
            ("transformers", "8bit", "cuda"),
        ),
        (
            replace(DESKTOP, devices=gpu("transformers", "cuda", 3 * GIB)),
            "gemma-2b",
            1,
            ("transformers", "4bit", "cuda"),
        ),
        (
            replace(DESKTOP, system="Windows", devices=gpu("onnx_genai", "dml", 0)),
            "gemma-2b-it",
            1,
            ("onnx_genai", "int4", "dml"),
        ),
        (
            replace(DESKTOP, system="Darwin", devices=gpu("llama_cpp", "metal", 0)),
            "gemma-2-2b-it-gguf",
            8,
            ("llama_cpp", "Q4_K_M", "metal"),
        ),
        (
            replace(DESKTOP, devices=gpu("openvino_genai", "gpu")),
            "gemma-2-9b-it-ov",
            1,
            ("openvino_genai", "int4", "gpu"),
        ),
    ],
)
def test_the_runtime_follows_from_the_hardware(
    machine: Machine, name: str, characters: int, expected: tuple[str, str, str]
) -> None:
    found = best(machine, name, characters=characters)
    assert (found.backend, found.precision, found.device) == expected
    assert found.why[0]


def test_the_steps_are_those_that_are_still_to_be_done() -> None:
    bare = replace(DESKTOP, runtimes={"onnx_genai": "1"})
    steps = best(bare, "nemotron-mini-4b-gguf").steps
    assert steps == (
        'pip install "npcsdk[llama]"',
        "npcsdk models pull nemotron-mini-4b-gguf",
        "npcsdk play --model nemotron-mini-4b-gguf",
    )
    assert best(DESKTOP, "nemotron-mini-4b-gguf").steps == steps[1:]
    ready = best(DESKTOP, "nemotron-mini-4b-gguf", "nemotron-mini-4b-gguf")
    assert (ready.steps, ready.ready) == (steps[2:], True)
    assert best(DESKTOP, EMBEDDED, EMBEDDED).steps == ("npcsdk play",)


def test_what_nobody_publishes_is_converted() -> None:
    many = best(replace(DESKTOP, features=AVX512), "nemotron-mini-4b", characters=8)
    assert many.steps[:2] == (
        "npcsdk models pull nemotron-mini-4b-hf",
        "npcsdk models convert nemotron-mini-4b-hf ./nemotron-mini-4b-hf-openvino-int8 --to openvino --precision int8",
    )
    assert many.steps[2] == "npcsdk play --model ./nemotron-mini-4b-hf-openvino-int8"
    assert any("convert" in reason for reason in many.why)


def test_a_gpu_that_only_its_driver_knows_needs_another_build() -> None:
    machine = replace(DESKTOP, devices=gpu("driver", "cuda", 0))
    found = best(machine, "nemotron-mini-4b", "nemotron-mini-4b")
    assert found.device == "cuda"
    assert "onnxruntime-genai-cuda" in found.steps[0]
    assert any("does not use" in reason for reason in found.why)


def test_what_does_not_fit_says_both_numbers_and_comes_last() -> None:
    small = replace(DESKTOP, memory=4 * GIB)
    advices = advise(small, subject("gemma-2-9b-it-ov"))
    assert advices
    assert first_choice(advices) is None
    assert all("GiB" in advice.against for advice in advices)
    mixed = advise(replace(DESKTOP, devices=gpu("onnx_genai", "cuda", GIB)), subject("nemotron-mini-4b"))
    assert [bool(advice.against) for advice in mixed] == sorted(bool(advice.against) for advice in mixed)


def test_a_runtime_that_does_not_load_is_not_advised() -> None:
    broken = replace(DESKTOP, broken={"llama_cpp": "libgomp.so.1 is missing"})
    advices = advise(broken, subject("nemotron-mini-4b-gguf"))
    against = [advice.against for advice in advices if advice.backend == "llama_cpp"]
    assert against
    assert all("libgomp" in said for said in against)
    assert first_choice(advices) is None or first_choice(advices).backend != "llama_cpp"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("machine", "model"),
    [
        (DESKTOP, "nemotron-mini-4b"),
        (replace(DESKTOP, memory=2 * GIB), EMBEDDED),
        (replace(DESKTOP, memory=6 * GIB, cores=2), "gemma-2-2b-it-gguf"),
        (replace(DESKTOP, memory=4 * GIB, devices=gpu("onnx_genai", "dml")), "nemotron-mini-4b"),
    ],
)
def test_a_model_is_chosen_for_the_machine_and_can_be_had(machine: Machine, model: str) -> None:
    assert choose_model(machine) == model
    assert first_choice(advise(machine, subject(model))) is not None


machines = st.builds(
    Machine,
    system=st.sampled_from(["Linux", "Windows", "Darwin"]),
    processor=st.text(max_size=5),
    architecture=st.sampled_from(["x86_64", "arm64"]),
    cores=st.integers(1, 256),
    memory=st.integers(0, 1 << 40),
    features=st.frozensets(st.sampled_from(sorted(AVX512 | {"amx", "neon"}))),
    devices=st.lists(
        st.builds(
            Device,
            backend=st.sampled_from([*ALL, "driver"]),
            kind=st.sampled_from(["cuda", "dml", "vulkan", "metal", "rocm", "gpu", "npu"]),
            memory=st.integers(0, 1 << 38),
        ),
        max_size=3,
    ).map(tuple),
    runtimes=st.dictionaries(st.sampled_from(sorted(ALL)), st.sampled_from(["", "1.0"])),
    broken=st.dictionaries(st.sampled_from(sorted(ALL)), st.just("it does not load"), max_size=2),
)
subjects = st.one_of(
    st.sampled_from([name for name, entry in CATALOG.items() if entry.file_format != "server"]).map(subject),
    st.builds(
        Subject,
        name=st.just("mine"),
        architecture=st.sampled_from([*CONVERTED, "OtherForCausalLM"]),
        size=st.one_of(st.none(), st.builds(Size, *(st.integers(1, 10**9) for _ in range(4)))),
        context_length=st.integers(1, 1 << 20),
        forms=st.dictionaries(
            st.sampled_from(["onnx-genai", "openvino", "safetensors", "gguf", "server"]),
            st.builds(Form, model=st.just("./mine"), here=st.booleans()),
            min_size=1,
        ),
    ),
)


@given(machines, subjects, st.integers(1, 64))
def test_advice_can_be_followed_on_any_machine(machine: Machine, asked: Subject, characters: int) -> None:
    advices = advise(machine, asked, characters=characters)
    kinds = {device.kind for device in machine.devices}
    for advice in advices:
        assert advice.steps[-1].startswith("npcsdk play")
        assert advice.ready == (len(advice.steps) == 1 and not advice.against)
        assert advice.device == "cpu" or advice.device in kinds or machine.system == "Windows"
        if not advice.against:
            assert advice.backend not in machine.broken
            assert advice.device != "cpu" or not machine.memory or advice.memory <= machine.memory * 0.5
        if any("convert" in step for step in advice.steps):
            assert asked.architecture in CONVERTED
        if advice.ready:
            assert machine.runtimes[advice.backend]
    assert [bool(advice.against) for advice in advices] == sorted(bool(advice.against) for advice in advices)


@pytest.mark.parametrize("backend", ["onnx_genai", "llama_cpp", "transformers"])
def test_options_of_rules_are_options_that_the_backend_takes(backend: str) -> None:
    import importlib

    from npcsdk.backends.registry import BACKENDS

    module: Any = pytest.importorskip(BACKENDS[backend].partition(":")[0], exc_type=ImportError)
    importlib.import_module(module.__name__)
    for rule in RULES:
        if rule.backend == backend:
            try:
                module._options(rule.options)
            except ModelError as error:
                pytest.fail(f"{rule.precision} on {rule.on}: {error}")


def test_every_row_that_is_downloaded_has_a_size_and_every_format_a_rule() -> None:
    formats = {rule.file_format for rule in RULES}
    for entry in CATALOG.values():
        assert entry.file_format in formats
        if entry.repository:
            assert entry.size is not None
            assert entry.original
            assert entry.size.parameters > 10**9


# The machine.


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2", set()),
        ("avx2 avx512f avx512bw", {"avx2"}),
        ("avx2 avx512f avx512bw avx512vl avx512_bf16", {"avx2", "avx512", "avx512_bf16"}),
        ("amx_tile amx_int8 amx_bf16", {"amx"}),
        ("fp asimd", {"neon"}),
    ],
)
def test_a_processors_flags_in_our_words(flags: str, expected: set[str]) -> None:
    assert features_of(frozenset(flags.split())) == expected


@pytest.mark.parametrize(
    ("quota", "cores"), [("", 8), ("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("junk", 8)]
)
def test_a_containers_quota_counts(quota: str, cores: int) -> None:
    assert limited(8, quota) == cores


def test_this_machine_is_described() -> None:
    machine = this_machine((), {"onnx_genai": "1"}, {})
    assert machine.cores >= 1
    assert machine.memory > GIB // 4
    assert machine.system
    assert machine.runtimes == {"onnx_genai": "1"}


def test_what_rules_say_to_install_exists() -> None:
    root = Path(__file__).resolve().parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for rule in RULES:
        named = re.findall(r"npcsdk\[(\w+)\]", rule.install)
        assert named or "onnxruntime-genai" in rule.install
        assert set(named) <= set(extras), rule.install
