"""The configuration file of ``npcsdk serve``: YAML, checked, each mistake with its place in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from npcsdk.bridge.access import Access, Role
from npcsdk.bridge.frontend import Limits
from npcsdk.bridge.keys import read_keys
from npcsdk.bridge.zap import check_key
from npcsdk.errors import BridgeError
from npcsdk.memory.places import is_server
from npcsdk.persona.source import decode
from npcsdk.persona.yaml_source import read_yaml
from npcsdk.wire.version import DEFAULT_ADDRESS

__all__ = ["Settings", "read_settings"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClientEntry(_Strict):
    """One client that is let in."""

    key: str = Field(description="its public key")
    role: Role = "play"


class LimitsEntry(_Strict):
    """See `npcsdk.bridge.frontend.Limits`."""

    message_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 20)
    clients: int = Field(default=1000, ge=1)
    conversations: int = Field(default=64, ge=1)
    silence_s: float = Field(default=15.0, ge=2.0)
    messages_per_minute: int = Field(default=6000, ge=60)
    turns_per_minute: int = Field(default=240, ge=1)
    queue: int = Field(default=256, ge=1)
    threads: int = Field(default=16, ge=1, le=512, description="turns that run at the same time")
    backlog_bytes: int = Field(default=4 << 20, ge=1 << 16)


class WorkerEntry(_Strict):
    """One of several workers: a world of its own, or some characters of the world that they share."""

    world: Path | None = None
    model: str | None = None
    memory: str | None = Field(default=None, description="left out: a folder of its name in the common one")
    npcs: list[str] | None = Field(default=None, min_length=1, description="the ids that it answers for")
    options: dict[str, Any] = Field(default_factory=dict)


class Settings(_Strict):
    """What the file may say; a command's options go before it."""

    address: str = DEFAULT_ADDRESS
    world: Path | None = None
    model: str | None = None
    memory: str | None = Field(default=None, description="a folder, or http://host:port of a Chroma server")
    journal: Path | None = Field(default=None, description="with a Chroma server: the journal's folder")
    options: dict[str, Any] = Field(default_factory=dict)
    threads: int | None = Field(default=None, ge=1, le=512, description="of the model's computation")
    keys: Path | None = Field(default=None, description="the server's key file; clients then need keys, too")
    clients: dict[str, ClientEntry] = Field(default_factory=dict)
    role: Role = Field(default="administer", description="what clients may do where no keys are demanded")
    metrics: str | None = Field(default=None, description="host:port for Prometheus")
    log: str = Field(default="text", pattern="^(text|json)$")
    limits: LimitsEntry = LimitsEntry()
    workers: dict[str, WorkerEntry] = Field(default_factory=dict, description="by name; left out: one")

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        shared = [name for name, one in self.workers.items() if one.world is None]
        if len(shared) > 1:
            without = [name for name in shared if self.workers[name].npcs is None]
            if without:
                raise ValueError(f"the worker {without[0]!r} needs a world of its own, or npcs")
            seen: dict[str, str] = {}
            for name in shared:
                for npc in self.workers[name].npcs or ():
                    if npc in seen:
                        raise ValueError(f"{npc!r} is with the workers {seen[npc]!r} and {name!r}")
                    seen[npc] = name
        if any("/" in name or not name for name in self.workers):
            raise ValueError("a worker's name must not be empty or have a slash")
        return self

    def access(self) -> Access:
        """Who is let in.

        Raises:
            BridgeError: a key file or a key is none.
        """
        if self.keys is None:
            return Access(anonymous=self.role)
        keys = read_keys(self.keys)
        clients: dict[str, Role] = {check_key(entry.key): entry.role for entry in self.clients.values()}
        return Access(secret_key=keys.secret, public_key=keys.public, clients=clients)

    def bounds(self) -> Limits:
        """How much clients may do."""
        return Limits(**self.limits.model_dump())


def read_settings(path: Path) -> Settings:
    """Read a configuration file; paths in it are relative to it.

    Raises:
        BridgeError: it cannot be read, or has mistakes (``bad_config``); each is named with line and column.
    """
    try:
        source = decode(path.as_posix(), path.read_bytes())
    except OSError as error:
        raise BridgeError(
            f"The configuration {path} cannot be read: {error.strerror or error}.",
            hint="Check the path.",
            code="bad_config",
        ) from error
    if source.text.strip():
        read_yaml(source)
    problems = [one.render() for one in source.diagnostics]
    value: Any = source.value if source.value is not None else {}
    if not problems:
        try:
            return _resolved(Settings.model_validate(value), path.absolute().parent)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                where = tuple(cast("tuple[Any, ...]", error["loc"]))
                span = source.key_at(where) if error["type"] == "extra_forbidden" else source.value_at(where)
                name = ".".join(map(str, where)) or "the file"
                line = f"{path.as_posix()}:{span.line}:{span.column} {name}: {error['msg']}"
                text = source.line(span.line)
                caret = " " * (span.column - 1) + "^" * max(1, span.length)
                problems.append(f"{line}\n{text}\n{caret}")
    raise BridgeError("\n".join(problems), hint="See examples/serve/npcsdk.yaml.", code="bad_config")


def _resolved(settings: Settings, folder: Path) -> Settings:
    workers = {name: _placed(one, ("world", "memory"), folder) for name, one in settings.workers.items()}
    placed = _placed(settings, ("world", "memory", "journal", "keys"), folder)
    return placed.model_copy(update={"workers": workers})


_ModelT = TypeVar("_ModelT", bound=BaseModel)


def _placed(entry: _ModelT, names: tuple[str, ...], folder: Path) -> _ModelT:
    """With the paths of these names relative to the file's folder."""
    given = {name: getattr(entry, name) for name in names}
    return entry.model_copy(
        update={
            name: str(folder / value) if name == "memory" else folder / value
            for name, value in given.items()
            if value is not None and not is_server(value)
        }
    )
