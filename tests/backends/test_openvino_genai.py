"""OpenVINO GenAI on small models of the real architectures, converted by npcsdk when the tests begin."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Backend, CancelFlag, Constraint, Piece, Prompt, Request, Segment
from npcsdk.backends.openvino_facts import step_tokens
from npcsdk.errors import BackendError, ModelError
from npcsdk.models.convert import convert
from tests.backends.conformance import GREEDY, WILD, Conformance, long_prompt, say
from tests.backends.tiny import hugging_face, smaller
from tests.backends.toy import byte_fallback, byte_level, prompt

for package in ("torch", "transformers", "openvino", "openvino_genai", "openvino_tokenizers"):
    pytest.importorskip(package, reason="models are made and converted here", exc_type=ImportError)

FULL = {"precision": "f32", "cache_type": "f32", "threads": 1, "cache_bytes": 1 << 22}
NEAR = 1e-3


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders of each family: as Hugging Face has it, and converted in full precision."""
    place = tmp_path_factory.mktemp("openvino")
    for family in ("nemotron", "gemma", "gemma2"):
        tokenizer = byte_level if family == "nemotron" else byte_fallback
        folder = hugging_face(place / family, family, tokenizer())
        convert(str(folder), "openvino", place / f"{family}-ov", precision="fp32")
    return place


def load(folder: Path, **options: Any) -> Backend:
    return registry.load(replace(registry.resolve(str(folder)), options={**FULL, **options}))


class TestNemotron(Conformance):
    @pytest.fixture
    def backend(self, made: Path) -> Iterator[Backend]:
        backend = load(made / "nemotron-ov")
        yield backend
        backend.close()


class TestGemma2(Conformance):
    @pytest.fixture
    def backend(self, made: Path) -> Iterator[Backend]:
        backend = load(made / "gemma2-ov")
        yield backend
        backend.close()


@pytest.mark.parametrize("family", ["nemotron", "gemma", "gemma2"])
def test_it_says_what_transformers_says(made: Path, family: str) -> None:
    """Greedily, 64 tokens. Gemma 2 without the soft cap of attention, which the paged attention does not have; its
    window of 32 tokens is far exceeded."""
    import torch
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        made / family, local_files_only=True, attn_implementation="eager"
    ).eval()
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    backend: Any = load(made / f"{family}-ov")
    backend._engine._dropped = frozenset()  # Tokens without a text are compared too.
    request = Request(
        prompt=prompt("Hello", "Good day!", "Who are you? " * 8), sampling=replace(GREEDY, max_tokens=64)
    )
    ids = backend._encoding.encode(request.prompt)
    said = say(backend, request)
    with torch.inference_mode():
        logits = model(torch.tensor([[*ids, *said.ids]])).logits[0, len(ids) - 1 :]
    for at, token in enumerate(said.ids):
        best = int(logits[at].argmax())
        apart = float(logits[at, best] - logits[at, token])
        assert apart < NEAR, f"token {at}: {token}, not {best}, {apart} apart"
    assert len(said.ids) > 3
    backend.close()


def test_seeds_hold_when_many_speak_at_once(made: Path) -> None:
    backend = load(made / "nemotron-ov")
    requests = [
        Request(prompt=prompt(f"Who are you? {at}"), sampling=replace(WILD, seed=at)) for at in range(6)
    ]
    alone = [say(backend, request).text for request in requests]
    together = [""] * len(requests)

    def talk(at: int) -> None:
        together[at] = say(backend, requests[at]).text

    threads = [threading.Thread(target=talk, args=(at,)) for at in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    backend.close()
    assert together == alone


def test_a_common_beginning_is_computed_once(made: Path) -> None:
    """Of characters who begin together. Counted in steps of 32 tokens."""
    backend: Any = load(made / "nemotron-ov", batch_tokens=32)
    pipeline = backend._engine._pipeline
    steps: list[int] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(pipeline, name)

        def step(self) -> None:
            steps.append(1)
            pipeline.step()

    backend._engine._pipeline = Counted()
    common = long_prompt(110)
    size = len(backend._encoding.encode(common))
    start, said = threading.Barrier(6), [""] * 6

    def talk(at: int) -> None:
        start.wait()
        more = Prompt((*common.segments, Segment(f"{at}")))
        said[at] = say(backend, Request(prompt=more, sampling=replace(GREEDY, max_tokens=2))).text

    threads = [threading.Thread(target=talk, args=(at,)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    alone = sum(steps)
    more = Prompt((*common.segments, Segment("3")))
    assert say(backend, Request(prompt=more, sampling=replace(GREEDY, max_tokens=2))).text == said[3]
    backend.close()
    assert alone < 3 * size / 32  # Six times that, computed by each.


def test_a_thousand_turns_do_not_grow(made: Path) -> None:
    """Neither the pages, nor what is known of them, nor the process; nor where listeners leave in the middle."""
    backend: Any = load(made / "nemotron-ov", cache_bytes=1 << 19)
    engine, pipeline = backend._engine, backend._engine._pipeline
    short = replace(GREEDY, max_tokens=2)
    sizes: list[int] = []
    for turn in range(1000):
        asked = prompt(f"Line {turn % 17}", system="gate " * (turn % 40))
        request = Request(prompt=asked, sampling=short, session=f"{turn % 9}")
        if turn % 7:
            assert say(backend, request).usage.generated_tokens
        else:
            left = backend.generate(replace(request, sampling=replace(WILD, max_tokens=40)))
            next(left)
            left.close()
        if sys.platform == "linux" and turn % 100 == 99:
            status = Path("/proc/self/status").read_text()
            sizes.append(int(status.partition("VmRSS:")[2].split()[0]))
    known, most = len(engine._beginnings._known), engine._beginnings._most
    backend.close()
    assert known <= most
    assert not engine._beginnings._computing
    assert not engine._waiting
    assert not pipeline.has_non_finished_requests()
    assert not sizes or sizes[-1] - sizes[1] < 8_000, sizes  # kB; 130 are measured


def test_a_cancel_does_not_wait_for_a_reply(made: Path) -> None:
    backend = load(made / "nemotron-ov", batch_tokens=32)
    flag = CancelFlag()
    other = backend.generate(Request(prompt=prompt("Talk."), sampling=replace(WILD, max_tokens=300)))
    assert isinstance(next(iter(other)), Piece)
    flag.set()
    assert say(backend, Request(prompt=long_prompt(150), sampling=WILD, cancel=flag)).reason == "cancelled"
    other.close()  # type: ignore[attr-defined]
    backend.close()
    with pytest.raises(BackendError) as caught:
        say(backend, Request(prompt=prompt("Hm?"), sampling=GREEDY))
    assert caught.value.code == "backend_closed"


def test_a_call_that_is_opened_is_legal(made: Path) -> None:
    """A byte opens the call here, so that a model of random weights does open some."""
    import json

    backend = load(made / "nemotron-ov")
    schema = {
        "type": "object",
        "properties": {
            "count": {"type": "integer", "minimum": 2, "maximum": 9},
            "target": {"enum": ["iron gate", "postern"]},
            "word": {"type": "string", "maxLength": 40},
        },
        "required": ["count", "target", "word"],
        "additionalProperties": False,
    }
    constraint = Constraint(opening="e", closing="!", tools=(("open_gate", schema),))
    calls: list[str] = []
    for seed in range(12):
        request = Request(
            prompt=prompt("Open it!"),
            sampling=replace(WILD, seed=seed, max_tokens=200),
            constraint=constraint,
            stop=("!",),
        )
        said = say(backend, request)
        _, opened, body = said.text.partition("e")
        if opened and said.reason == "stop":
            calls.append(body)
    backend.close()
    assert calls
    for body in calls:
        call = json.loads(body)
        assert call["name"] == "open_gate"
        assert 2 <= call["arguments"]["count"] <= 9
        assert call["arguments"]["target"] in ("iron gate", "postern")
        assert len(call["arguments"]["word"]) <= 40
        assert "\ufffd" not in call["arguments"]["word"]  # what half a character is read as


# What is wrong with a folder or an option.


@pytest.mark.parametrize(
    "name", ["openvino_model.bin", "openvino_tokenizer.xml", "tokenizer.json", "config.json"]
)
def test_a_missing_file_is_named(made: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(made / "nemotron-ov", folder)
    source = replace(registry.resolve(str(folder)), options=FULL)
    (folder / name).unlink()
    with pytest.raises(ModelError) as caught:
        registry.load(source)
    assert (caught.value.code, name in caught.value.message) == ("model_not_found", True)


def test_a_broken_model_is_said_to_be_broken(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(made / "nemotron-ov", folder)
    (folder / "openvino_model.xml").write_text("<net")
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.code == "model_broken"
    load(made / "nemotron-ov").close()


def test_a_tokenizer_of_another_model_is_refused(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(made / "gemma-ov", folder)
    shutil.copy(made / "nemotron" / "tokenizer.json", folder / "tokenizer.json")
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.code == "tokenizer_mismatch"
    shutil.copy(made / "gemma-ov" / "tokenizer.json", folder / "tokenizer.json")
    smaller(folder / "tokenizer.json")
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.code == "tokenizer_mismatch"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"device": "gpu.7"}, "device_absent"),
        ({"device": "npu"}, "device_unsupported"),
        ({"precision": "f8"}, "option_invalid"),
        ({"cache_bytes": 1000}, "option_invalid"),
        ({"speed": 2}, "option_unknown"),
    ],
)
def test_what_cannot_be_had_is_refused(made: Path, options: dict[str, Any], code: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(made / "nemotron-ov", **options)
    assert caught.value.code == code


def test_auto_falls_back_to_the_processor_and_says_so(
    made: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from npcsdk.backends import openvino_genai

    class Core:
        available_devices = ("CPU",)

    monkeypatch.setattr(openvino_genai.openvino, "Core", Core)
    with caplog.at_level(logging.WARNING):
        load(made / "nemotron-ov", device="auto").close()
    assert "no GPU" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="the runtime knows there how much memory is left")
@pytest.mark.parametrize(
    ("megabytes", "threads", "tokens"), [(1, 1, 256), (64, 1, 64), (64, 2, 160), (400, 1, 32)]
)
def test_a_step_is_as_long_as_others_can_wait(
    tmp_path: Path, megabytes: int, threads: int, tokens: int
) -> None:
    with (tmp_path / "openvino_model.bin").open("wb") as weights:
        weights.truncate(megabytes << 20)
    assert step_tokens(tmp_path, "CPU", threads) == tokens
    assert step_tokens(tmp_path, "GPU", threads) == 256


def test_a_cache_larger_than_the_machine(made: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(made / "nemotron-ov", cache_bytes=1 << 45)
    assert caught.value.code == "out_of_memory"
    assert "cache_bytes" in caught.value.hint
    assert ".hpp" not in caught.value.message
    load(made / "nemotron-ov").close()


def test_a_signal_after_the_model_is_gone_is_harmless(made: Path) -> None:
    """The runtime frees a signal stack that it gave to the loading thread: here, in a process of its own."""
    code = (
        "import signal, sys; from dataclasses import replace; from npcsdk.backends import registry\n"
        "import faulthandler; faulthandler.enable()\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "registry.load(replace(registry.resolve(sys.argv[1]), options={'cache_bytes': 1 << 22})).close()\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made / "nemotron-ov")], capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "interrupted\n", (done.returncode, done.stderr)


def test_nothing_is_reported_to_anybody() -> None:
    """OpenVINO tells Google Analytics when it is imported, from a forked process, where its reporter is installed."""
    for module in ("npcsdk.backends.openvino_genai", "npcsdk.models.convert.to_openvino"):
        code = (
            f"import {module}, sys; print(sys.modules.get('openvino_telemetry'), 'openvino' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
        )
        assert done.stdout == "None True\n"
