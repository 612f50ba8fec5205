"""Runtimes are asked and measured apart: one that crashes or hangs costs its own answer only."""

from __future__ import annotations

import sys

import pytest

from npcsdk.backends import survey as module
from npcsdk.backends.survey import PACKAGES, QUERIES, measure, measure_apart, read_speed, survey
from tests.backends.toy import toy_backend


def test_the_runtime_that_comes_with_npcsdk_answers() -> None:
    (answer,) = survey(["onnx_genai"])
    assert answer.version
    assert not answer.problem
    assert all(device["kind"] in ("cuda", "dml") for device in answer.devices)


def test_llama_cpp_answers() -> None:
    pytest.importorskip("llama_cpp")
    (answer,) = survey(["llama_cpp"])
    assert not answer.problem


def test_openvino_answers() -> None:
    openvino = pytest.importorskip("openvino")
    from npcsdk.backends.device_queries import openvino_genai

    assert len(openvino_genai()) == sum(name != "CPU" for name in openvino.Core().available_devices)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "code"),
        ("raise SystemExit('no driver')", "no driver"),
        ("import time; time.sleep(60)", "did not answer"),
    ],
)
def test_a_runtime_that_takes_its_process_down_is_named(
    code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMMAND", (sys.executable, "-c", code))
    (answer,) = survey(["onnx_genai"], patience_s=0.3 if "sleep" in code else 60)
    assert said in answer.problem
    assert not answer.devices
    measured = measure_apart(None, patience_s=0.3 if "sleep" in code else 60)
    assert said in measured.problem


def test_a_question_that_fails_inside_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "QUERIES", {**QUERIES, "openai_compat": "x:y"}
    )  # the child has no such question
    monkeypatch.setitem(PACKAGES, "openai_compat", ("pytest",))
    (answer,) = survey(["openai_compat"])
    assert "KeyError" in answer.problem


def test_what_is_not_installed_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "onnx_genai", ("npcsdk-no-such-package",))
    (answer,) = survey(["onnx_genai"])
    assert (answer.version, answer.problem, answer.devices) == ("", "", ())


def test_a_measurement_of_a_loaded_model() -> None:
    backend, runtime = toy_backend()
    measured = measure(backend, 0.5)
    assert (measured.backend, measured.model, measured.load_s, measured.problem) == ("toy", "toy", 0.5, "")
    assert min(measured.prefill, measured.decode, measured.together) > 0
    assert max(runtime.pieces) >= 32
    backend.close()


def test_the_embedded_model_is_measured_apart() -> None:
    measured = measure_apart(None)
    assert (measured.backend, measured.model, measured.problem) == ("onnx_genai", "embedded", "")
    assert min(measured.load_s, measured.prefill, measured.decode, measured.together) > 0


def test_a_model_that_does_not_load_says_why() -> None:
    assert "no_such_option" in measure_apart(None, {"no_such_option": 1}).problem
    assert "nowhere" in measure_apart("./nowhere").problem


def test_memory_is_read_at_some_speed() -> None:
    assert read_speed(8) > 1e7
