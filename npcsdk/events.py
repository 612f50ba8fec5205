"""What comes out of a turn: frozen values, the same in Python, on the wire and in ``--json`` output.

A turn is a stream of events that ends with exactly one `End` or `Failed`:

    (Text | ActionStarted | Action | Refused)* (End | Failed)

Offsets count Unicode code points of the turn's spoken text from its beginning, so that an action keeps
its place in what was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar, Literal, TypeAlias

__all__ = [
    "Action",
    "ActionStarted",
    "Dropped",
    "End",
    "Event",
    "Explanation",
    "Failed",
    "Recalled",
    "Refused",
    "StopReason",
    "Text",
    "Timings",
    "Tokens",
    "Withheld",
    "Written",
    "event_from_dict",
    "event_to_dict",
]

StopReason: TypeAlias = Literal["stop", "length", "cancelled", "rounds"]
"""Why a turn ended: the character finished; the length limit; someone cancelled; too many action rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of speech, never cut inside a code point; ``offset`` is where it begins."""

    event: ClassVar[str] = "text"
    text: str
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStarted:
    """The character begins an action whose arguments are still being generated: time to begin an animation.

    An `Action` or a `Refused` with the same ``id`` follows. When the turn ends without either, nothing came of it.
    Not every action is announced: a game that ignores this event misses nothing.
    """

    event: ClassVar[str] = "action_started"
    id: str
    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A checked action for the game to carry out; ``returns`` tells whether the turn waits for a result.

    ``repaired``: the model misspelled the call, and what it meant was clear.
    """

    event: ClassVar[str] = "action"
    id: str
    name: str
    arguments: Mapping[str, Any]
    offset: int = 0
    returns: Literal["nothing", "result"] = "nothing"
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call that the model made and that was not allowed to reach the game; ``message`` says why.

    ``code``: ``unknown_action``, ``bad_arguments``, ``malformed``, ``unclosed``, ``too_many``, or ``vetoed`` (by the
    game's own hook); ``raw`` is what the model wrote. ``id`` is that of the `ActionStarted` which announced it, ""
    when none did.
    """

    event: ClassVar[str] = "refused"
    name: str
    code: str
    message: str
    offset: int = 0
    raw: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A passage that stood in the prompt: where it comes from, its score and why it was chosen."""

    source: str
    text: str
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Something that did not fit the token budget: what it was, and how many tokens it would have taken."""

    what: str
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token counts of a turn, summed over its rounds: in the prompt, reused from the cache, computed, generated."""

    prompt: int = 0
    cached: int = 0
    computed: int = 0
    generated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds: recall; the SDK's own work; the line's arrival to the first token; the whole turn."""

    recall_ms: float = 0.0
    sdk_ms: float = 0.0
    first_token_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """An action that the character could not use this turn, and why."""

    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A call as the model wrote it, and in words what became of it."""

    raw: str
    became: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why the character could do what it did: for people who look into a turn, and for tests of a world.

    ``constraint`` says in words what the model was held to, "" when the runtime cannot hold it. ``tool_changes``
    counts how often the actions in the prompt have changed in the conversation: each time costs a computation of
    the whole prompt.
    """

    offered: tuple[str, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    constraint: str = ""
    calls: tuple[Written, ...] = ()
    tool_changes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The turn is over; ``text`` is all that was said.

    ``actions`` are the ids of the actions that the game was given. ``retracted`` are those that the character had begun
    when the turn was cancelled and that the game was not given: they have not happened.
    """

    event: ClassVar[str] = "end"
    reason: StopReason
    text: str = ""
    actions: tuple[str, ...] = ()
    retracted: tuple[str, ...] = ()
    tokens: Tokens = field(default_factory=Tokens)
    timings: Timings = field(default_factory=Timings)
    recalled: tuple[Recalled, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    explanation: Explanation = field(default_factory=Explanation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The turn ended with an error; ``text`` is what had been said before it."""

    event: ClassVar[str] = "error"
    code: str
    message: str
    hint: str = ""
    text: str = ""


Event: TypeAlias = Text | ActionStarted | Action | Refused | End | Failed

_KINDS: dict[str, type[Event]] = {
    kind.event: kind for kind in (Text, ActionStarted, Action, Refused, End, Failed)
}


def event_to_dict(event: Event) -> dict[str, Any]:
    """The event as plain data, its kind under ``event``: what travels and what ``--json`` prints."""
    if isinstance(event, Text):  # the hot path: one for each token
        return {"event": "text", "text": event.text, "offset": event.offset}
    return {"event": event.event, **asdict(event)}


def event_from_dict(data: Mapping[str, Any]) -> Event:
    """The inverse of `event_to_dict`. Unknown fields are ignored, so that a newer peer can add some.

    Raises:
        KeyError: an unknown kind of event, or a field without default is missing.
    """
    kind = _KINDS[data["event"]]
    fields = {one.name: data[one.name] for one in dataclass_fields(kind) if one.name in data}
    if kind is End:
        fields["tokens"] = _known(Tokens, fields.get("tokens", {}))
        fields["timings"] = _known(Timings, fields.get("timings", {}))
        fields["actions"] = tuple(fields.get("actions", ()))
        fields["retracted"] = tuple(fields.get("retracted", ()))
        fields["recalled"] = tuple(_known(Recalled, item) for item in fields.get("recalled", ()))
        fields["dropped"] = tuple(_known(Dropped, item) for item in fields.get("dropped", ()))
        fields["explanation"] = _explanation(fields.get("explanation", {}))
    try:
        return kind(**fields)
    except TypeError as error:
        raise KeyError(f"{data['event']}: {error}") from error


def _explanation(data: Mapping[str, Any]) -> Explanation:
    lists: dict[str, Any] = {
        "offered": tuple(data.get("offered", ())),
        "withheld": tuple(_known(Withheld, item) for item in data.get("withheld", ())),
        "calls": tuple(_known(Written, item) for item in data.get("calls", ())),
    }
    return _known(Explanation, {**data, **lists})


def _known(kind: Any, data: Mapping[str, Any]) -> Any:
    return kind(**{name: data[name] for name in kind.__dataclass_fields__ if name in data})
