"""The conformance suite on the backends that ship, and on the generation loop over a toy model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from npcsdk.backends import registry
from npcsdk.backends.base import Backend
from npcsdk.backends.scripted import ScriptedBackend
from npcsdk.models.catalog import CATALOG, EMBEDDED
from tests.backends.conformance import Conformance
from tests.backends.toy import byte_fallback, toy_backend

SPEECH = "Well met, traveller! The gate is shut till dawn; naïve folk 你好 wait 🗡️. Come back then, and bring silver."


def model_folder() -> str:
    """The model to test: ``$NPCSDK_TEST_MODEL``, or the embedded one."""
    folder = os.environ.get("NPCSDK_TEST_MODEL") or str(CATALOG[EMBEDDED].path)
    if not (Path(folder) / "genai_config.json").is_file():
        pytest.skip(f"there is no model at {folder}")
    return folder


class TestScripted(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = ScriptedBackend(lambda _: SPEECH)
        yield backend
        backend.close()


class TestToy(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend, _ = toy_backend()
        yield backend
        backend.close()


class TestToyByteFallback(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend, _ = toy_backend(tokenizer=byte_fallback(prefix=True))
        yield backend
        backend.close()


class TestOnnxGenai(Conformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        source = registry.resolve(model_folder())
        backend = registry.load(
            replace(source, options={"context_length": 768})
        )  # A small window fills sooner.
        yield backend
        backend.close()
