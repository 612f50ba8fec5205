"""Game characters that think, remember and act on the player's own machine.

    import npcsdk

    with npcsdk.World() as world:
        for event in world["mara"].say("Good evening!"):
            print(event)

Names are loaded on first use, so that ``import npcsdk`` costs next to nothing and loads no dependency.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it. `tests/test_public.py` pins this list.
_HOME = {
    "Action": "npcsdk.events",
    "ActionDefinition": "npcsdk.actions.schema",
    "ActionError": "npcsdk.errors",
    "ActionStarted": "npcsdk.events",
    "AsyncWorld": "npcsdk.bridge.client",
    "BackendError": "npcsdk.errors",
    "BridgeError": "npcsdk.errors",
    "End": "npcsdk.events",
    "Event": "npcsdk.events",
    "Failed": "npcsdk.events",
    "MemoryStoreError": "npcsdk.errors",
    "MissingExtra": "npcsdk.errors",
    "ModelError": "npcsdk.errors",
    "NpcError": "npcsdk.errors",
    "PromptTooLong": "npcsdk.errors",
    "ProtocolError": "npcsdk.errors",
    "Refused": "npcsdk.events",
    "Text": "npcsdk.events",
    "TurnError": "npcsdk.errors",
    "World": "npcsdk.bridge.client",
    "WorldError": "npcsdk.errors",
    "WorldInvalid": "npcsdk.errors",
    "action": "npcsdk.actions.schema",
    "connect": "npcsdk.bridge.client",
}

__all__ = [  # noqa: RUF022 - __version__ last
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
    "__version__",
]

if TYPE_CHECKING:
    from npcsdk.actions.schema import ActionDefinition, action
    from npcsdk.bridge.client import AsyncWorld, World, connect
    from npcsdk.errors import (
        ActionError,
        BackendError,
        BridgeError,
        MemoryStoreError,
        MissingExtra,
        ModelError,
        NpcError,
        PromptTooLong,
        ProtocolError,
        TurnError,
        WorldError,
        WorldInvalid,
    )
    from npcsdk.events import Action, ActionStarted, End, Event, Failed, Refused, Text


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
