"""The backend seam: what dialogue hands to a model runtime, and what comes back.

A `Backend` takes a `Request` and yields `Piece` values as they are generated, then one `Finish`. It knows
nothing of personas, memory or actions. Everything here is a plain value, so that an adapter (or a third
party's) depends on this module alone.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "Backend",
    "CancelFlag",
    "Capabilities",
    "Constraint",
    "Finish",
    "FinishReason",
    "Message",
    "ModelSource",
    "Piece",
    "PiecesAtHand",
    "Prompt",
    "Request",
    "Sampling",
    "Segment",
    "Usage",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of prompt text that is all control or all text.

    ``control`` text is ours and may hold special tokens; other text is encoded with special tokens off,
    so nothing a player or designer wrote can become one. ``ids`` are the tokens that the model itself
    generated for this text: they are used as they are, because encoding the text again may give others.
    """

    text: str
    control: bool = False
    ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, for servers that take messages instead of text."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A whole prompt, twice: as ``segments`` whose texts joined are the exact prompt, and as ``messages``.

    ``tools`` are the offered actions as JSON Schema objects (``name``, ``description``, ``parameters``), for
    servers that take them apart; in ``segments`` they are already spelled out.
    """

    segments: tuple[Segment, ...]
    messages: tuple[Message, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The prompt as one string."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is chosen. ``temperature`` 0 is greedy; ``top_k`` 0 and ``top_p`` 1 switch a cut
    off.

    ``seed`` None draws a fresh one. ``max_tokens`` bounds one generation.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    repetition_penalty: float = 1.0
    seed: int | None = None
    max_tokens: int = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """Free text, in which a call may be opened; after ``opening`` one legal call, then ``closing``, then free
    text again.

    A call is the JSON object ``{"name": NAME, "arguments": ARGUMENTS}`` with one of ``tools`` (name and JSON
    Schema of the arguments). At most ``max_calls`` calls; after the last one only text is legal. With no
    ``tools`` the opening marker itself is illegal.

    ``closing`` may be "": then a call ends with its object, and text after it cannot begin another object.
    Dialects differ further in ``arguments_key``; in ``listed``, one list of calls where others have one call; and
    in ``bare``: a reply may begin with a call without its marker, and with an object in no other case. With
    ``after_name`` a call is NAME, this marker, ARGUMENTS.
    """

    opening: str
    closing: str
    tools: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    max_calls: int = 4
    arguments_key: str = "arguments"
    listed: bool = False
    bare: bool = False
    after_name: str = ""


class CancelFlag:
    """Set once, from any thread, to stop a generation within one piece of work."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask for the stop; idempotent."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One generation.

    ``stop`` strings end it and are never part of a piece. ``session`` names a conversation whose cache is
    worth keeping; ``priority`` is higher for the character that the player is facing.
    """

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    constraint: Constraint | None = None
    cancel: CancelFlag = field(default_factory=CancelFlag)
    session: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Generated text, whole code points only, with the token ids that it is made of (empty where unknown)."""

    text: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts of one generation, and seconds spent in the runtime: ``prefill_s`` up to the first token's
    logits, ``decode_s`` after."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The last value of a generation."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a loaded backend can do. An unsupported knob is ignored; an unsupported feature is refused.

    ``context_length`` counts tokens of prompt and reply together.
    """

    backend: str
    model: str
    context_length: int
    constraints: bool = False
    sessions: bool = False
    token_ids: bool = False
    seeded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that was found: which backend loads it, from where, in which format it is spoken to, and why.

    ``prompt_format`` names a file of `npcsdk.prompt.templates`, ``tool_format`` one of
    `npcsdk.actions.formats`. ``options`` go to the backend as they are (device, cache budget, ...).
    ``chat_template`` is the model's own, in Jinja, where ``prompt_format`` is "jinja"; ``tokens`` are the special
    tokens that its files name (``bos_token``, ``eos_token``, ...).
    """

    name: str
    backend: str
    path: str
    prompt_format: str = "nemotron"
    tool_format: str = "nemotron"
    context_length: int = 4096
    why: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chat_template: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])


@runtime_checkable
class PiecesAtHand(Protocol):
    """An iterator of pieces that can be asked for the next one without waiting for it.

    A runtime that computes many replies in one batch has a piece of each at the same moment; with this, nobody needs a
    thread for each of them. `npcsdk.backends.delivery` makes one.
    """

    def __iter__(self) -> Iterator[Piece | Finish]: ...

    def __next__(self) -> Piece | Finish: ...

    def listen(self, ready: Callable[[], None]) -> None:
        """From now on call ``ready`` whenever there is something to take. From any thread; it does not wait."""
        ...

    def take(self) -> Piece | Finish | None:
        """The next, or None while there is none. The first call begins the generation, which takes its time; no other
        waits. Raises what the iterator would raise."""
        ...


class Backend(ABC):
    """A loaded model. Every method may be called from any thread."""

    capabilities: Capabilities

    @abstractmethod
    def count(self, text: str) -> int:
        """How many tokens ``text`` takes when encoded with special tokens off."""

    @abstractmethod
    def generate(self, request: Request) -> Iterator[Piece | Finish]:
        """Generate until a stop, the length limit or a cancel.

        Closing the iterator early is a cancel: what was computed stays usable. It may be `PiecesAtHand`.

        Raises:
            PromptTooLong: the prompt leaves no room for a reply.
            BackendError: the runtime failed; the backend stays usable.
        """

    def release(self, session: str) -> None:
        """Forget a session's cache. Unknown sessions are ignored."""
        del session

    def memory_bytes(self) -> int:
        """Bytes held by session caches (0 where the runtime keeps none)."""
        return 0

    def close(self) -> None:  # noqa: B027 - nothing to free is a fair default
        """Free the model. Idempotent."""
