"""Holds a model to legal calls: which tokens may come next under a `Constraint`. The owner of `llguidance`.

A constraint becomes a grammar: free text, in which the opening marker can only be followed by one JSON object
that satisfies a tool's schema and by the closing marker, then free text again. Compiled grammars are kept and
copied. A new one can be compiled while the prompt is computed: the engine needs no Python meanwhile, and it is in
force from the first token on.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, cast

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from npcsdk.backends.base import Constraint
from npcsdk.backends.encoding import Encoding
from npcsdk.backends.sampler import Bitmask
from npcsdk.errors import BackendError, ModelError

__all__ = ["Guidance", "Guide", "grammar"]

_CACHED = 16
_LONG = 8
"""A list of more names than this is worth sharing."""
_LARGE = 100_000
"""Code points of a grammar that takes longer to compile than a prompt may take to compute: nobody else's tokens shall
wait for it."""
# The spelling that models were trained on, and no room for a model to wander off in white space.
_JSON_STYLE: dict[str, Any] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}


class Guide:
    """The legal next tokens of one generation. ``compiled`` may still be in the making; the first use waits for it."""

    __slots__ = ("_compiled", "_ends", "_mask", "_matcher", "_pointer", "_size", "_stop")

    def __init__(self, compiled: Future[LLMatcher], width: int, stop: int, ends: Collection[int]) -> None:
        self._compiled = compiled
        self._matcher: LLMatcher | None = None
        self._mask: Bitmask = np.zeros((width + 31) // 32, dtype=np.int32)
        self._pointer = self._mask.ctypes.data
        self._size = self._mask.nbytes
        self._stop = stop
        self._ends = [end for end in ends if end != stop]

    def wait(self) -> LLMatcher:
        """Wait until the constraint is in force."""
        self._matcher = self._compiled.result().deep_copy()
        return self._matcher

    def legal(self) -> Bitmask:
        """The mask of tokens that may come next, in the form that `sampler` takes; valid until the next call.

        Tokens that end the reply are legal together: where the text may end.

        Raises:
            BackendError: what `Guidance.start` raises, for a guide that was begun with `Guidance.begin`.
        """
        matcher = self._matcher
        if matcher is None:
            matcher = self.wait()
        matcher.unsafe_compute_mask_ptr(self._pointer, self._size)
        if self._ends and (int(self._mask[self._stop >> 5]) >> (self._stop & 31)) & 1:
            for end in self._ends:
                self._mask[end >> 5] |= np.uint32(1 << (end & 31)).astype(np.int32)
        return self._mask

    def accept(self, token: int) -> None:
        """The token that was chosen.

        Raises:
            BackendError: code ``constraint_failed``, when the engine gives up (a schema beyond its limits).
        """
        matcher = self._matcher
        if matcher is None:
            matcher = self.wait()
        if not matcher.consume_token(token):
            raise BackendError(
                f"The constraint failed: {matcher.get_error() or 'an illegal token was chosen'}.",
                code="constraint_failed",
                hint="Make the actions' schemas simpler.",
            )


class Guidance:
    """Constraints for one tokenizer. Thread-safe.

    Args:
        encoding: the model's tokenizer.
        stop: the token that ends a reply; it is legal wherever free text is.
    """

    def __init__(self, encoding: Encoding, *, stop: int) -> None:
        self._encoding = encoding
        self._stop = stop
        self._width = max(encoding.vocabulary, encoding.size)
        try:
            self._tokenizer = LLTokenizer(_described(encoding, stop), n_vocab=self._width, eos_token=stop)
        except Exception as error:  # Whatever the native part says.
            raise ModelError(
                f"The model's tokenizer cannot be constrained: {error}.",
                code="model_broken",
                hint="Copy the model's folder again.",
            ) from error
        self._lock = threading.Lock()
        self._compiled: deque[tuple[Constraint, Future[LLMatcher]]] = deque(maxlen=_CACHED)

    def start(self, constraint: Constraint, ends: Collection[int] = ()) -> Guide:
        """A guide from the beginning of a reply. ``ends`` are further tokens that end it.

        Raises:
            BackendError: code ``constraint_unsupported``, for a schema that cannot be held.
        """
        guide = self.begin(constraint, ends, behind=False)
        guide.wait()
        return guide

    def begin(self, constraint: Constraint, ends: Collection[int] = (), *, behind: bool = True) -> Guide:
        """The same, but a new constraint is compiled behind the caller's back, and the guide's first use waits for it.

        What `start` raises is raised there.

        Args:
            behind: False: compile it in this thread. A very large one is anyway.
        """
        with self._lock:
            for known, compiled in self._compiled:
                # Comparing costs microseconds, making a key of large schemas would cost a millisecond.
                if known is constraint or known == constraint:
                    return Guide(compiled, self._width, self._stop, ends)
            future: Future[LLMatcher] = Future()
            entry = (constraint, future)
            self._compiled.appendleft(entry)
        try:
            text = grammar(constraint, self._encoding.token_id)
            if not behind or len(text) > _LARGE or not _in_a_thread(self._compile, text, entry):
                self._compile(text, entry)
        except BaseException as error:  # nobody may wait for what does not come
            self._fail(entry, error)
            raise
        return Guide(future, self._width, self._stop, ends)

    def _compile(self, text: str, entry: tuple[Constraint, Future[LLMatcher]]) -> None:
        try:
            matcher = LLMatcher(self._tokenizer, text, log_level=0)
            if matcher.is_error():
                raise self._unsupported(entry[0], matcher.get_error())
        except BaseException as error:
            self._fail(entry, error)
        else:
            entry[1].set_result(matcher)

    def _unsupported(self, constraint: Constraint, said: str) -> BackendError:
        """The error that names the actions which cannot be held, of all that are offered."""
        names = [
            name
            for name, schema in constraint.tools
            if LLMatcher(
                self._tokenizer,
                grammar(replace(constraint, tools=((name, schema),)), self._encoding.token_id),
                log_level=0,
            ).is_error()
        ]
        what = f"The parameters of {', '.join(names)}" if names else "The actions offered"
        return BackendError(
            f"{what} cannot be made a constraint: {said.partition(chr(10))[0]}",
            code="constraint_unsupported",
            hint="Keep to plain JSON Schema in parameters: types, enum, minimum, maximum, maxLength.",
        )

    def _fail(self, entry: tuple[Constraint, Future[LLMatcher]], error: BaseException) -> None:
        """What could not be compiled is not kept, so that a later turn is told so too."""
        with self._lock:
            self._compiled = deque((one for one in self._compiled if one is not entry), maxlen=_CACHED)
        if not entry[1].done():
            entry[1].set_exception(error)


def _in_a_thread(work: Callable[..., None], *arguments: Any) -> bool:
    """Whether a thread could be had that does it. It is no daemon: the interpreter must not end under native code."""
    try:
        threading.Thread(target=work, args=arguments, name="npcsdk-constraint").start()
    except RuntimeError:  # there are too many, or the interpreter is about to end
        return False
    return True


class _Tokens:
    """A tokenizer as the engine takes one that is not in Hugging Face's form."""

    bos_token_id = None

    def __init__(self, encoding: Encoding, stop: int) -> None:
        self.eos_token_id = stop
        self.tokens = [encoding.bytes_of(number) for number in range(encoding.vocabulary)]
        self.special_token_ids = sorted(encoding.control)
        self._encoding = encoding

    def __call__(self, text: bytes) -> list[int]:
        return self._encoding.encode_text(text.decode("utf-8", "replace"))


def _described(encoding: Encoding, stop: int) -> str | TokenizerWrapper:
    return encoding.json() or TokenizerWrapper(_Tokens(encoding, stop))


def grammar(constraint: Constraint, token_id: Any = None) -> str:
    """The constraint as an llguidance grammar in Lark.

    Args:
        constraint: what is legal.
        token_id: a function from a marker to its id, for models whose markers are control tokens: a control
            token never
            matches text in a grammar and has to be named by number.
    """

    def marker(text: str) -> str:
        number = token_id(text) if token_id is not None else None
        return f"<[{number}]>" if number is not None else json.dumps(text, ensure_ascii=False)

    free = (
        rf"/(.|\n)*/ & ~/(.|\n)*{_escape(constraint.opening)}(.|\n)*/" if constraint.opening else r"/(.|\n)*/"
    )
    first = free + (r" & ~/\s*\{(.|\n)*/" if constraint.bare else "")
    if not constraint.tools or constraint.max_calls < 1 or not constraint.opening:
        return f"start: TEXT\nTEXT: {first}\n"
    # Where nothing closes a call, text after it must not look like one more.
    after = free + ("" if constraint.closing else r" & ~/\s*[{,;](.|\n)*/")
    opening = marker(constraint.opening)
    gap = "" if constraint.after_name else "GAP "
    body = gap + "object" + (f" GAP {marker(constraint.closing)}" if constraint.closing else "")
    begun = f"(before {body} | object)" if constraint.bare else f"before {body}"
    more = 0 if constraint.listed else constraint.max_calls - 1
    again = f" (between {body}){{0,{more}}}" if more else ""
    lines = [
        f"start: TEXT | {begun}{again} NEXT",
        r"GAP: /[ \n]?/",
        f"TEXT: {first}",
        f"NEXT: {after}",
    ]
    if constraint.after_name:
        lines += _named_calls(constraint, marker(constraint.after_name))
    else:
        lines.append(f"object: %json {json.dumps(_calls_schema(constraint), ensure_ascii=False)}")
    # A marker of text ends the same lexeme that the text before it began; one that is a token stands alone.
    for rule, text in (("before", "TEXT"), ("between", "NEXT")):
        if opening.startswith("<["):
            lines.append(f"{rule}: {text} {opening}")
        else:
            lines += [f"{rule}: {rule.upper()}", f"{rule.upper()}: {text} {opening}"]
    return "\n".join(lines) + "\n"


def _named_calls(constraint: Constraint, after_name: str) -> list[str]:
    """Rules for calls whose names stand before their arguments."""
    calls = [
        f"{json.dumps(name)} {after_name} arguments_{number}"
        for number, (name, _) in enumerate(constraint.tools)
    ]
    lines = [f"object: {' | '.join(calls)}"]
    for number, (_, schema) in enumerate(constraint.tools):
        shared = _Definitions()
        arguments = {"type": "object", **shared.moved(schema), "x-guidance": _JSON_STYLE}
        if shared.all:
            arguments["$defs"] = shared.all
        lines.append(f"arguments_{number}: %json {json.dumps(arguments, ensure_ascii=False)}")
    return lines


def _calls_schema(constraint: Constraint) -> dict[str, Any]:
    key = constraint.arguments_key
    shared = _Definitions()
    calls: dict[str, Any] = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": name}, key: {"type": "object", **shared.moved(arguments)}},
                "required": ["name", key],
                "additionalProperties": False,
            }
            for name, arguments in constraint.tools
        ]
    }
    if constraint.listed:
        calls = {"type": "array", "items": calls, "minItems": 1, "maxItems": constraint.max_calls}
    return {**calls, "$defs": shared.all, "x-guidance": _JSON_STYLE}


class _Definitions:
    """What schemas share, moved to where a reference finds it once they are parts of a larger schema.

    Besides their own definitions these are long lists of names: with many actions that aim at the same targets
    each list is compiled once.
    """

    def __init__(self) -> None:
        self.all: dict[str, Any] = {}
        self._lists: dict[tuple[str, ...], str] = {}

    def moved(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        own: dict[str, str] = {}
        for name in arguments.get("$defs", {}):
            own[f"#/$defs/{name}"] = f"d{len(self.all)}"
            self.all[own[f"#/$defs/{name}"]] = True
        for name, schema in arguments.get("$defs", {}).items():
            self.all[own[f"#/$defs/{name}"]] = self._moved(schema, own)
        return {key: self._moved(value, own) for key, value in arguments.items() if key != "$defs"}

    def _moved(self, value: Any, own: Mapping[str, str]) -> Any:
        if isinstance(value, list):
            return [self._moved(item, own) for item in cast("list[Any]", value)]
        if not isinstance(value, Mapping):
            return value
        schema = cast("Mapping[str, Any]", value)
        names: Any = schema.get("enum")
        if isinstance(names, list | tuple) and len(cast("list[Any]", names)) > _LONG:
            words = cast("list[Any]", names)
            if all(isinstance(word, str) for word in words):
                return {"$ref": f"#/$defs/{self._list(tuple(words))}"}
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference in own:
            return {**schema, "$ref": f"#/$defs/{own[reference]}"}
        return {key: self._moved(item, own) for key, item in schema.items()}

    def _list(self, words: tuple[str, ...]) -> str:
        name = self._lists.get(words)
        if name is None:
            name = self._lists[words] = f"d{len(self.all)}"
            self.all[name] = {"type": "string", "enum": list(words)}
        return name


def _escape(text: str) -> str:
    """``text`` inside a Lark regular expression."""
    return "".join(c if c.isalnum() or c in "<>_ " else "\\n" if c == "\n" else "\\" + c for c in text)
