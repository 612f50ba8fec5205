"""The error tree: codes for programs, messages and hints for people, across processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from npcsdk import errors
from npcsdk.errors import NpcError

TREE = [getattr(errors, name) for name in errors.__all__]


def test_the_module_lists_every_error_that_it_defines() -> None:
    defined = {
        name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, NpcError)
    }
    assert defined == set(errors.__all__)


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.default_code for kind in TREE]
    assert len(set(codes)) == len(codes)
    assert all("default_code" in vars(kind) for kind in TREE)


@pytest.mark.parametrize("kind", TREE)
def test_code_message_and_hint_survive_pickle_and_copy(kind: type[NpcError]) -> None:
    error = kind("The gate is stuck.", hint="Oil it.", code="gate_stuck")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert (twin.message, twin.hint, twin.code) == ("The gate is stuck.", "Oil it.", "gate_stuck")
        assert str(twin) == str(error)


@pytest.mark.parametrize("kind", TREE)
def test_without_a_code_the_kind_gives_one(kind: type[NpcError]) -> None:
    assert kind("m").code == kind.default_code
    assert kind("m", code="own").code == "own"
    assert isinstance(kind("m"), NpcError)


def test_an_error_reads_as_message_and_hint() -> None:
    assert str(NpcError("The gate is stuck.", hint="Oil it.")) == "The gate is stuck. Oil it."
    assert str(NpcError("The gate is stuck.")) == "The gate is stuck."
