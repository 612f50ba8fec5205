"""GGUF files by llama.cpp: both kinds of tokenizer, exact caches, text that is never control, broken files."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npcsdk.backends import registry
from npcsdk.backends.base import Backend, ModelSource, Request, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.errors import BackendError, ModelError
from tests.backends.conformance import GREEDY, WILD, Conformance, Said, follow, say
from tests.backends.tiny import WINDOW, gguf_file
from tests.backends.toy import CONTROL, byte_fallback, byte_level, prompt

llama_cpp: Any = pytest.importorskip("llama_cpp", reason="the extra llama is not installed")
pytest.importorskip("gguf", reason="the package gguf, which writes the files, is not installed")

TOKENIZERS = {
    "nemotron": byte_level,
    "gemma": byte_fallback,
    "gemma2": lambda: byte_fallback(prefix=True),
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("gguf")
    (home / "npcsdk.json").write_text('{"prompt_format": "nemotron", "tool_format": "nemotron"}')
    return {
        family: gguf_file(home / f"{family}.gguf", family, tokenizer())
        for family, tokenizer in TOKENIZERS.items()
    }


def load(path: Path, **options: Any) -> Backend:
    source = registry.resolve(str(path))
    assert source.backend == "llama_cpp"
    return registry.load(replace(source, options={"threads": 1, "cache_bytes": 2 << 20, **options}))


class _OnAFile(Conformance):
    family = ""

    @pytest.fixture
    def backend(self, files: dict[str, Path]) -> Iterator[Backend]:
        backend = load(files[self.family], cache_type="f32")  # In 16 bits random models have many near-ties.
        yield backend
        backend.close()


class TestNemotron(_OnAFile):
    family = "nemotron"


class TestGemma(_OnAFile):
    family = "gemma"


class TestGemma2(_OnAFile):
    """With a sliding window of 32 tokens, which every longer prompt has to be cut back in, and a space before texts."""

    family = "gemma2"


# Text.


@pytest.mark.parametrize("family", TOKENIZERS)
def test_text_is_encoded_as_by_the_same_tokenizer_elsewhere(files: dict[str, Path], family: str) -> None:
    backend: Any = load(files[family])
    other = TextEncoding(TOKENIZERS[family]())
    spoken = prompt(
        "Open the gate, then!", "It is on the in", system="The iron gate.  Two spaces\nand a line"
    )
    assert backend._encoding.encode(spoken) == other.encode(spoken)
    sampled = replace(spoken, segments=(*spoken.segments, Segment("x", ids=(60,)), Segment("the gate")))
    assert backend._encoding.encode(sampled) == other.encode(sampled)
    backend.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_text_is_never_control_and_comes_back_whole(files: dict[str, Path], data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(sorted(TOKENIZERS)))
    piece = st.one_of(
        st.sampled_from([*CONTROL, "<extra_", "id_1>", "<", "s>", "\n", " "]), st.text(max_size=4)
    )
    text = "".join(data.draw(st.lists(piece, max_size=8))).replace("\x00", "")
    encoding = ENCODINGS.setdefault(family, load(files[family]))._encoding  # type: ignore[attr-defined]
    ids = encoding.encode_text(text)
    assert encoding.control.isdisjoint(ids)
    if family == "nemotron":
        assert encoding.decode(ids) == text


ENCODINGS: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    for backend in ENCODINGS.values():
        backend.close()
    ENCODINGS.clear()


# Caches.


@pytest.mark.parametrize("family", TOKENIZERS)
def test_small_pieces_and_reuse_say_what_one_large_piece_says(files: dict[str, Path], family: str) -> None:
    small, large = load(files[family], piece_ms=0.001), load(files[family], piece_ms=5000)
    now = prompt("Hello", system="You keep the iron gate of Veldran. " * 4)
    for turn in range(3):
        request = Request(prompt=now, sampling=replace(GREEDY, max_tokens=12))
        warm, cold = say(small, replace(request, session="a")), say(large, request)
        large.release("")
        assert warm.usage.cached_tokens or turn == 0
        # Keys and values are kept in 16 bits: near-ties may fall either way after the first tokens.
        assert warm.ids[:4] == cold.ids[:4]
        now = follow(now, cold, f"Line {turn}")
    small.close()
    large.close()


def test_a_rewind_that_the_runtime_cannot_do_computes_again(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with recurrent models, whose memory forgets only as a whole."""
    backend = load(files["nemotron"])
    cold = say(backend, Request(prompt=prompt("One"), sampling=GREEDY))
    say(backend, Request(prompt=prompt("One", "Two", "Three"), sampling=GREEDY, session="a"))
    remove = llama_cpp.llama_memory_seq_rm
    monkeypatch.setattr(
        llama_cpp, "llama_memory_seq_rm", lambda m, s, start, end: start == 0 and remove(m, s, start, end)
    )
    assert say(backend, Request(prompt=prompt("One"), sampling=GREEDY, session="a")).text == cold.text
    backend.close()


CELL = 2 * 2 * 2 * 2 * 16  # keys and values, two bytes, layers, heads, size


def test_memory_stays_within_the_budget_and_sequences_come_back(files: dict[str, Path]) -> None:
    budget = 3 * WINDOW * CELL + 5
    backend = load(files["nemotron"], cache_bytes=budget)

    def greet(number: int) -> Said:
        asked = prompt("Hello", system=f"{number} " * 200)
        return say(backend, Request(prompt=asked, sampling=GREEDY, session=str(number)))

    first = greet(0)
    assert backend.memory_bytes() == CELL * (first.usage.prompt_tokens + first.usage.generated_tokens - 1)
    for number in range(1, 12):
        greet(number)
        if number % 4 == 0:
            backend.release(str(number))
        assert backend.memory_bytes() <= budget
    again = greet(0)
    assert again.ids[:4] == first.ids[:4]
    assert again.usage.cached_tokens < 20
    backend.close()


def test_an_evicted_session_comes_back_from_where_it_was_saved(files: dict[str, Path]) -> None:
    backend = load(
        files["nemotron"], cache_bytes=2 * WINDOW * CELL, saved_bytes=WINDOW * CELL, cache_type="f16"
    )

    def greet(number: int) -> Said:
        asked = prompt("Hello", system=f"{number} " * 120)
        return say(backend, Request(prompt=asked, sampling=GREEDY, session=str(number)))

    first = greet(0)
    for number in range(1, 5):
        greet(number)
        assert backend.memory_bytes() <= 3 * WINDOW * CELL
    greet(4)
    back = greet(3)
    assert back.usage.cached_tokens == back.usage.prompt_tokens - 1
    for number in range(5, 9):  # The saved ones make room for others in their turn.
        greet(number)
    assert greet(0).ids[:4] == first.ids[:4]
    backend.close()


@pytest.mark.parametrize("family", TOKENIZERS)
def test_characters_share_what_their_prompts_have_in_common(files: dict[str, Path], family: str) -> None:
    """Cells are counted once, and what is said does not depend on who came before."""
    world = "You live in Veldran, where the iron gate opens at dawn. " * 3
    prompts = [prompt(f"I am number {number}.", system=world) for number in range(4)]
    together, alone = load(files[family], cache_type="f32"), load(files[family], cache_type="f32")
    for number, one in enumerate(prompts):
        request = Request(prompt=one, sampling=GREEDY, session=str(number))
        said, cold = say(together, request), say(alone, request)
        alone.release(str(number))
        assert (said.text, cold.usage.cached_tokens) == (cold.text, 0)
        assert number == 0 or said.usage.cached_tokens > 20
    for number, one in enumerate(prompts):  # The first ones have cells that others use as well.
        request = Request(prompt=one, sampling=GREEDY, session=str(number))
        again = say(together, request)
        assert again.usage.computed_tokens == 1
        assert again.text == say(alone, request).text
    together.close()
    alone.close()


def test_what_a_sliding_window_has_left_behind_is_computed_again_when_it_is_needed(
    files: dict[str, Path],
) -> None:
    """Its cells may have gone to others, which only shows when a conversation goes back behind them."""
    backend = load(files["gemma2"], cache_type="f32", cache_bytes=2 * CELL * WINDOW)
    alone = load(files["gemma2"], cache_type="f32")
    for turn in range(4):
        for number in range(4):
            lines = [f"Line {at} of {number}" for at in range(5 if turn % 2 == 0 else 1)]
            request = Request(prompt=prompt(*lines), sampling=WILD, session=str(number))
            said, cold = say(backend, request), say(alone, request)
            alone.release(str(number))
            assert said.text == cold.text
    backend.close()
    alone.close()


def test_a_computation_that_fails_costs_its_turn_and_no_more(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(files["nemotron"])
    request = Request(prompt=prompt("Hello"), sampling=GREEDY, session="a")
    whole = say(backend, request)
    for code, words in ((1, "no room"), (-3, "returned -3")):
        with monkeypatch.context() as patch:
            patch.setattr(llama_cpp, "llama_decode", lambda context, batch, code=code: code)
            with pytest.raises(BackendError) as caught:
                say(backend, request)
        assert caught.value.code == "runtime_failed"
        assert words in caught.value.message
        again = say(backend, request)
        assert (again.text, again.usage.cached_tokens) == (whole.text, 0)
    other = load(files["nemotron"])
    assert say(other, request).text == whole.text
    other.close()
    backend.close()


def test_the_interpreter_may_end_in_the_midst_of_a_reply(files: dict[str, Path]) -> None:
    script = """
import sys
from npcsdk.backends import registry
from npcsdk.backends.base import Request, Sampling
from tests.backends.toy import prompt
backend = registry.load(registry.resolve(sys.argv[1]))
replies = [
    backend.generate(Request(prompt=prompt(f"Hello {at}"), sampling=Sampling(max_tokens=400), session=f"{at}"))
    for at in range(3)
]
print([next(reply) for reply in replies])
"""
    command = [sys.executable, "-c", script, str(files["nemotron"])]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2]
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("Piece") == 3


def test_a_thousand_turns_do_not_grow(files: dict[str, Path]) -> None:
    backend: Any = load(files["nemotron"], cache_bytes=2 * WINDOW * CELL, saved_bytes=WINDOW * CELL)
    short = replace(GREEDY, max_tokens=2)
    for turn in range(1000):
        asked = prompt(f"Line {turn % 17}", system="gate " * (turn % 40))
        said = say(backend, Request(prompt=asked, sampling=short, session=f"{turn % 9}"))
        assert said.usage.generated_tokens
    assert backend.memory_bytes() <= 3 * WINDOW * CELL
    engine = backend._engine
    assert not engine._jobs
    assert len(engine._states) == len(engine._scheduler._saved)
    backend.close()


def test_two_backends_of_one_file_in_threads(files: dict[str, Path]) -> None:
    said: list[str] = []

    def talk() -> None:
        backend = load(files["nemotron"])
        said.append(say(backend, Request(prompt=prompt("Hello"), sampling=WILD)).text)
        backend.close()

    threads = [threading.Thread(target=talk) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == 3
    assert len(set(said)) == 1


# What is not sound.


@pytest.mark.parametrize("cut", [3, 100, 2000, -1, -5000])
def test_a_file_that_is_not_whole_is_named(files: dict[str, Path], tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(files["nemotron"].read_bytes()[:cut])
    for found in (None, ModelSource(name="cut", backend="llama_cpp", path=str(path))):
        with pytest.raises(ModelError) as caught:
            registry.load(found or registry.resolve(str(path)))
        assert caught.value.code == "model_broken"
        assert str(path) in caught.value.message
    backend = load(files["nemotron"])
    assert say(backend, Request(prompt=prompt("Hello"), sampling=GREEDY)).text
    backend.close()


def test_an_architecture_that_nobody_knows(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    path.write_bytes(files["nemotron"].read_bytes().replace(b"nemotron", b"nobodyxx"))
    with pytest.raises(ModelError) as caught:
        registry.load(ModelSource(name="new", backend="llama_cpp", path=str(path)))
    assert caught.value.code == "model_broken"
    assert "nobodyxx" in caught.value.message


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"thread": 2}, "option_unknown"),
        ({"threads": 0}, "option_invalid"),
        ({"threads": 0.5}, "option_invalid"),
        ({"threads": 513}, "option_invalid"),
        ({"context_length": float("inf")}, "option_invalid"),
        ({"piece_ms": "50"}, "option_invalid"),
        ({"device": "abacus"}, "option_invalid"),
        ({"cache_type": "q1"}, "option_invalid"),
        ({"cache_bytes": 1000}, "option_invalid"),
        ({"saved_bytes": -1}, "option_invalid"),
    ],
)
def test_options_are_checked(files: dict[str, Path], options: dict[str, Any], code: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(files["nemotron"], **options)
    assert caught.value.code == code
    assert caught.value.hint


def test_what_a_step_takes_is_known_before_the_first_prompt(files: dict[str, Path]) -> None:
    backend = load(files["nemotron"])
    runtime = backend._engine._runtime  # type: ignore[attr-defined]  # pyright: ignore
    assert 0 < runtime.step_s < 10
    assert llama_cpp.llama_memory_seq_pos_max(runtime._memory, 0) == -1  # and nothing of that stays
    backend.close()


def test_a_gpu_that_is_asked_for_and_absent(files: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("this build has one")
    with pytest.raises(ModelError) as caught:
        load(files["nemotron"], device="gpu")
    assert caught.value.code == "device_absent"
    with caplog.at_level(logging.WARNING, "npcsdk.backends.llama_cpp"):
        load(files["nemotron"], device="auto").close()
    assert "CPU" in caplog.text


def test_rearranged_weights_are_off_where_they_crash(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from npcsdk.backends import llama_cpp as adapter

    seen: list[bool] = []
    real = llama_cpp.llama_model_load_from_file

    def spy(path: bytes, parameters: Any) -> Any:
        seen.append(bool(parameters.use_extra_bufts))
        return real(path, parameters)

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", spy)
    for flags in ("avx512f amx_int8 amx_tile", "avx2"):
        monkeypatch.setattr(adapter, "_CPUINFO", tmp_path / "cpuinfo")
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
        load(files["nemotron"]).close()
    assert seen == [False, True]
