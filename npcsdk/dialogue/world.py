"""A world alive: its characters, one model, one memory, and the conversations that are open."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints
from uuid import uuid4

from npcsdk.actions.checks import check_distinct
from npcsdk.actions.formats import load_format
from npcsdk.actions.schema import ActionDefinition
from npcsdk.backends.base import Backend, Capabilities, ModelSource, Sampling
from npcsdk.backends.registry import load, resolve
from npcsdk.dialogue.conversation import Conversation, Limits, Mind
from npcsdk.dialogue.gametime import GameTime
from npcsdk.dialogue.notebook import PRIVATE
from npcsdk.dialogue.npc import Npc, definition_of_entry
from npcsdk.dialogue.summaries import How, Summaries
from npcsdk.errors import ModelError, WorldError
from npcsdk.memory.recall import (
    DEFAULT_EMBEDDER,
    Embedder,
    Experience,
    Fact,
    Forgotten,
    Knowledge,
    Memory,
    Weights,
    group_owner,
    place_of,
)
from npcsdk.memory.recall import WORLD as EVERYBODY
from npcsdk.persona.loader import load_world
from npcsdk.persona.schema import WorldDefinition
from npcsdk.persona.starter import shipped_world
from npcsdk.prompt.templates import template_for
from npcsdk.prompt.untrusted import scrubbed

__all__ = ["World", "open_memory", "open_world"]

_Kind = TypeVar("_Kind")
_OTHERS = 10.0  # seconds that `World.forget` gives the turns of others before it cancels them

logger = logging.getLogger(__name__)


class World:
    """Made by `open_world`. Every method may be called from any thread."""

    def __init__(
        self,
        definition: WorldDefinition,
        backend: Backend,
        memory: Memory,
        source: ModelSource,
        limits: Limits | None = None,
    ) -> None:
        self.definition = definition
        self.source = source
        self._memory = memory
        self._backend = backend
        self._lock = threading.Lock()
        self._actions: dict[str, ActionDefinition] = {}
        self._npcs = {key: Npc(definition, persona) for key, persona in definition.personas.items()}
        self._open: dict[str, Conversation] = {}
        self.add_actions(definition_of_entry(name, entry) for name, entry in definition.actions.items())
        template = template_for(source)
        self._summaries = Summaries(backend, template, _how(source.options.get("summaries", "extract")))
        self._mind = Mind(
            backend=backend,
            template=template,
            tool_format=load_format(source.tool_format),
            memory=memory,
            definitions=self.actions,
            sampling=_values(Sampling, "sampling", source.options.get("sampling")),
            time=GameTime(definition.memory.clock, definition.state),
            summaries=self._summaries,
            limits=limits or _values(Limits, "limits", source.options.get("limits")),
            contexts_in_system=source.options.get("contexts") == "system",
        )

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def npcs(self) -> Mapping[str, Npc]:
        """The characters by id."""
        return self._npcs

    @property
    def capabilities(self) -> Capabilities:
        """What the loaded model's backend can do."""
        return self._backend.capabilities

    def actions(self) -> tuple[ActionDefinition, ...]:
        """The world's actions and those that the game added."""
        with self._lock:
            return tuple(self._actions.values())

    def add_actions(self, definitions: Iterable[ActionDefinition]) -> None:
        """Add the game's own actions; one with the name of an action of the world takes its place.

        Raises:
            ActionError: ``names_differ_in_case``; then none was added.
        """
        with self._lock:
            actions = self._actions | {definition.name: definition for definition in definitions}
            check_distinct(actions)
            self._actions = actions

    def actions_with(self, definitions: Iterable[ActionDefinition]) -> tuple[ActionDefinition, ...]:
        """The world's actions and a client's own, for that client's conversations alone.

        Raises:
            ActionError: ``names_differ_in_case``.
        """
        with self._lock:
            actions = self._actions | {definition.name: definition for definition in definitions}
        check_distinct(actions)
        return tuple(actions.values())

    def open(
        self,
        npc: str,
        *,
        player: str = "player",
        conversation: str | None = None,
        actions: Callable[[], Sequence[ActionDefinition]] | None = None,
    ) -> Conversation:
        """Begin or go on with a conversation.

        Args:
            npc: a character's id.
            player: who speaks with it; memories are kept apart by it.
            conversation: an id to go on with later, also after a restart; None makes a new one.
            actions: asked at each turn for actions that are offered in this conversation only.

        Raises:
            WorldError: ``npc_unknown``, ``conversation_taken``.
        """
        character = self._npc(npc)
        self._conversations()  # lets go of those that are closed
        with self._lock:
            key = conversation or uuid4().hex
            if key.startswith(PRIVATE):
                raise WorldError(
                    f"A conversation cannot be called {key!r}.",
                    hint="Use an id that begins with a letter or a digit.",
                    code="bad_conversation_id",
                )
            known = self._open.get(key)
            if known is not None and not known.closed:
                if known.npc.id != npc or known.player != player:
                    raise WorldError(
                        f"The conversation {key!r} is between {known.npc.id!r} and {known.player!r}.",
                        hint="Use another conversation id.",
                        code="conversation_taken",
                    )
                return known
            self._open[key] = opened = Conversation(
                self._mind,
                character,
                player=player,
                id=key,
                definitions=actions and (lambda: self.actions_with(actions())),
            )
            self._memory.warm(npc)  # so that its first turn need not read the journal
            return opened

    # What a game's director does.

    def save(self, slot: str) -> None:
        """Name this moment, to come back to with `load`."""
        self._memory.save(slot)

    def load(self, slot: str) -> None:
        """Go back to a saved moment: turns that run are cancelled, and conversations are as they were then.

        Raises:
            MemoryStoreError: ``slot_unknown``.
        """
        self._memory.load(slot)
        for conversation in self._conversations():
            conversation.rewind()

    def slots(self) -> list[str]:
        """The names of the saved moments, sorted."""
        return self._memory.slots()

    def delete_slot(self, slot: str) -> None:
        """Forget a saved moment, and by and by what nothing else remembers.

        Raises:
            MemoryStoreError: ``slot_unknown``.
        """
        self._memory.delete_slot(slot)

    def export_slot(self, slot: str, file: Path) -> int:
        """Write a saved moment into a file, to ship inside the game's save; how many records it has.

        Raises:
            MemoryStoreError: ``slot_unknown``, ``save_unwritable``.
        """
        return self._memory.export_slot(slot, file)

    def import_slot(self, file: Path, slot: str | None = None) -> str:
        """Take in such a file, also from another machine: the name to `load`, ``slot`` or the one that it had.

        Raises:
            MemoryStoreError: ``save_unreadable``, ``save_foreign``, ``save_newer``, ``save_damaged``.
        """
        return self._memory.import_slot(file, slot)

    def forget(self, player: str) -> Forgotten:
        """Erase every trace of a player, for good: from memory, saved moments and open conversations.

        Conversations with them begin anew: a turn that runs there is cancelled, and nothing of it is kept. The turns
        of others that run are waited for, since they may speak of the player. Nobody else is disturbed.

        Raises:
            MemoryStoreError: it cannot be done; see `npcsdk.memory.recall.Memory.forget`.
        """
        theirs = [each for each in self._conversations() if each.player == player]
        for conversation in theirs:
            conversation.disown()
        try:
            found = self._memory.forget(player)
        finally:
            running: list[Conversation] = []
            for each in self._conversations():
                if each.player == player:
                    each.rewind()
                elif each.reread():
                    running.append(each)
        deadline = monotonic() + _OTHERS
        for conversation in running:
            conversation.over(max(deadline - monotonic(), 0.0))
        if running:  # what they were made of is gone by now, and so is what they wrote
            late = self._memory.forget(player)
            found = replace(found, records=found.records + late.records)
            for conversation in running:
                conversation.reread()
        return replace(found, conversations=len(theirs))

    def _conversations(self) -> list[Conversation]:
        with self._lock:
            self._open = {key: each for key, each in self._open.items() if not each.gone}
            return list(self._open.values())

    def remember(
        self,
        npc: str,
        text: str,
        *,
        player: str = "",
        importance: float = 0.5,
        at: float | None = None,
        place: str = "",
    ) -> None:
        """A note of the game's: ``npc`` knows from now on that this happened, with ``player`` or by itself ("").

        ``npc`` may be a group of the world, or ``*`` for everybody. ``at`` is game time in seconds, ``place`` where it
        happened.

        Raises:
            WorldError: ``npc_unknown``.
            MemoryStoreError: it cannot be written.
        """
        self._memory.remember(
            Experience(
                npc=self._owner(npc),
                interlocutor=player,
                kind="note",
                origin="game",
                text=scrubbed(text),
                importance=min(max(importance, 0.0), 1.0),
                at=self._mind.time.at() if at is None else at,
                place=scrubbed(place),
            )
        )

    def learn(
        self,
        npc: str,
        subject: str,
        attribute: str,
        value: str,
        *,
        text: str = "",
        player: str = "",
        importance: float = 0.5,
        at: float | None = None,
        place: str = "",
    ) -> None:
        """From now on ``attribute`` of ``subject`` is ``value``, whatever ``npc`` knew of it before.

        ``text`` says it in a sentence; the rest is as for `remember`.

        Raises:
            WorldError: ``npc_unknown``.
            MemoryStoreError: it cannot be written.
        """
        self._memory.learn(
            Fact(
                npc=self._owner(npc),
                interlocutor=player,
                subject=scrubbed(subject),
                attribute=scrubbed(attribute),
                value=scrubbed(value),
                text=scrubbed(text),
                importance=min(max(importance, 0.0), 1.0),
                at=self._mind.time.at() if at is None else at,
                place=scrubbed(place),
            )
        )

    def set_values(self, npc: str, values: Mapping[str, float], *, player: str = "player") -> None:
        """Trust, mood and the like of ``npc`` towards ``player``: part of the state of their conversations.

        They are numbers with names; they are kept, and follow the timeline when a save is loaded.

        Raises:
            WorldError: ``npc_unknown``.
            MemoryStoreError: ``data_invalid``, one of them is no finite number; or it cannot be written.
        """
        self._npc(npc)
        self._memory.set_values(npc, player, values, at=self._mind.time.at())
        for conversation in self._conversations():
            if (conversation.npc.id, conversation.player) == (npc, player):
                conversation.update(values)

    def values(self, npc: str, *, player: str = "player") -> dict[str, float]:
        """What `set_values` has set, on this timeline."""
        self._npc(npc)
        return self._memory.values(npc, player)

    def _owner(self, npc: str) -> str:
        """Whose memory it is, as memory calls it."""
        if npc == "*":
            return EVERYBODY
        if any(group.id == npc for group in self.definition.groups):
            return group_owner(npc)
        return self._npc(npc).id

    def _npc(self, npc: str) -> Npc:
        character = self._npcs.get(npc)
        if character is None:
            raise WorldError(
                f"There is no character {npc!r} in {self.name}.",
                hint=f"It has: {', '.join(sorted(self._npcs))}.",
                code="npc_unknown",
            )
        return character

    def close(self) -> None:
        """Cancel what runs, write what is pending, free the model. Idempotent."""
        with self._lock:
            conversations, self._open = list(self._open.values()), {}
        for conversation in conversations:
            conversation.close()
        self._summaries.close()
        self._memory.close()
        self._backend.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_world(
    folder: Path | None = None,
    *,
    model: str | None = None,
    memory: str | PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> World:
    """Load a world and a model; takes as long as the model takes to load.

    Args:
        folder: a world's folder; None is the world that ships with the package.
        model: what `npcsdk.backends.registry.resolve` takes; None is the embedded model.
        memory: the folder in which memory is kept, or ``http://host:port`` of a Chroma server that holds its
            vectors for several game servers; None keeps it for this run only.
        options: for the backend (threads, device, cache_bytes, ...), and ``sampling``, ``limits`` (see `Limits`),
            ``contexts``, ``tool_format`` (for a model whose dialect is another than was found), ``summaries``
            (``model`` has the model sum up what long conversations lose, ``extract`` never does); for memory
            ``embedder`` (``words``, ``hashing``, ``sentence-transformers:FOLDER``, ``openai:MODEL@URL``, one of another
            package, or an object: see `npcsdk.memory.registry`),
            ``journal`` (the folder of the journal where memory is a server) and ``memory_index`` (another vector
            index by name).

    Raises:
        WorldInvalid, WorldError, ModelError, BackendError, MemoryStoreError.
    """
    definition = load_world(folder or shipped_world())
    source = resolve(model)
    given = _merged(source.options, options or {})
    kept = {name: given.pop(name, None) for name in ("embedder", "journal", "memory_index")}
    source = replace(source, tool_format=str(given.pop("tool_format", source.tool_format)), options=given)
    stored = open_memory(
        definition, memory, journal=kept["journal"], embedder=kept["embedder"], index=kept["memory_index"]
    )
    try:
        backend = load(source)
        try:
            world = World(definition, backend, stored, source)
        except BaseException:
            backend.close()
            raise
    except BaseException:
        stored.close()
        raise
    logger.info("world %s with model %s (%s)", definition.name, source.name, source.why)
    return world


def open_memory(
    definition: WorldDefinition,
    memory: str | PathLike[str] | None,
    *,
    journal: str | PathLike[str] | None = None,
    embedder: str | Embedder | None = None,
    index: str | None = None,
) -> Memory:
    """The memory of a world, kept and recalled as its YAML says; the arguments are as for `open_world`.

    Raises:
        MemoryStoreError: it cannot be opened.
    """
    place = place_of(memory, journal=None if journal is None else Path(journal), world=definition.folder)
    entry = definition.memory
    return Memory.open(
        place.folder,
        definition.lore,
        embedder=embedder or DEFAULT_EMBEDDER,
        index=index or place.index,
        knowledge=Knowledge(definition.groups, definition.hearsay),
        weights=Weights(**entry.recall.model_dump(exclude_none=True)),
        cap=entry.cap,
    )


def _how(given: Any) -> How:
    if given not in ("extract", "model"):
        raise ModelError(
            f"The option `summaries` cannot be {given!r}.",
            hint="Write model to have the model sum up long conversations, or extract.",
            code="bad_option",
        )
    return given


def _merged(models: Mapping[str, Any], users: Mapping[str, Any]) -> dict[str, Any]:
    """What the model brings along, and the user's before it; of ``limits`` and ``sampling`` each by itself."""
    merged = {**models, **users}
    for name in ("limits", "sampling"):
        both = models.get(name), users.get(name)
        if all(isinstance(one, Mapping) for one in both):
            merged[name] = {**cast("Mapping[str, Any]", both[0]), **cast("Mapping[str, Any]", both[1])}
    return merged


def _values(kind: type[_Kind], name: str, options: Any) -> _Kind:
    given = cast("dict[str, Any]", options) if isinstance(options, Mapping) else {}
    known = get_type_hints(kind)
    if options is not None and (not isinstance(options, Mapping) or not given.keys() <= known.keys()):
        raise ModelError(
            f"The option `{name}` cannot be {options!r}.",
            hint=f"Give a mapping with some of {', '.join(known)}.",
            code="bad_option",
        )
    for key, value in given.items():
        choices = get_args(known[key]) if get_origin(known[key]) is Literal else ()
        kinds = (int, float) if known[key] is float else known[key]
        fine = value in choices if choices else isinstance(value, kinds) and not isinstance(value, bool)
        if not fine or (isinstance(value, (int, float)) and key != "seed" and not 0 <= value < math.inf):
            raise ModelError(
                f"The option `{name}` cannot have {key} {value!r}.",
                hint=f"Write one of {', '.join(choices)}." if choices else "Give a number, not below zero.",
                code="bad_option",
            )
    return kind(**given)
