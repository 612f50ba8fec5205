"""The public names: a tested list, loaded on first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import npcsdk

PUBLIC = [
    "Action",
    "ActionDefinition",
    "ActionError",
    "ActionStarted",
    "AsyncWorld",
    "BackendError",
    "BridgeError",
    "End",
    "Event",
    "Failed",
    "MemoryStoreError",
    "MissingExtra",
    "ModelError",
    "NpcError",
    "PromptTooLong",
    "ProtocolError",
    "Refused",
    "Text",
    "TurnError",
    "World",
    "WorldError",
    "WorldInvalid",
    "action",
    "connect",
]


def test_the_public_surface_is_this_list() -> None:
    assert sorted(npcsdk.__all__) == sorted([*PUBLIC, "__version__"])
    for name in PUBLIC:
        assert getattr(npcsdk, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_this"):
        npcsdk.nothing_like_this  # noqa: B018


def test_import_loads_no_dependency() -> None:
    """`import npcsdk` must cost next to nothing in a game's start-up."""
    code = (
        "import sys, npcsdk; "
        "heavy = {'numpy', 'zmq', 'msgpack', 'yaml', 'pydantic', 'chromadb', 'onnxruntime_genai', 'typer', 'rich'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
