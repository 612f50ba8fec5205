"""Text to tokens and back, for every adapter that works with token ids. The owner of `tokenizers`.

Two things matter here. Text of players and designers never becomes a control token, however it is spelled or
split: control tokens are recognised in control segments only, by ourselves, and everything else is encoded
with the tokenizer's own recognition of special tokens switched off and checked afterwards. And a token's
bytes are known one by one, so that generated text can be put together without losing a leading space or half
a letter.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer

from npcsdk.backends.base import Prompt
from npcsdk.errors import ModelError

__all__ = ["Encoding", "TextEncoding", "VocabularyEncoding"]

_SPACE = "\u2581"  # SentencePiece writes a space so.


class Encoding(ABC):
    """One model's tokenizer.

    ``control`` holds the ids of all tokens that text may not become, ``special`` those of them that a reply should
    not hold either. ``vocabulary`` is the number of ids that the model has, ``size`` that of the tokenizer.

    Args:
        markers: id -> spelling of the tokens that text may not become.
        token_bytes: what each id adds to a text.
        splitter: finds markers in control text; None where there are none.
    """

    def __init__(
        self,
        *,
        size: int,
        vocabulary: int,
        markers: Mapping[int, str],
        special: Collection[int],
        token_bytes: Sequence[bytes],
        splitter: re.Pattern[str] | None,
    ) -> None:
        self.size = size
        self.vocabulary = vocabulary
        self.control = frozenset(markers)
        self.special = frozenset(special)
        self._ids = {text: number for number, text in markers.items()}
        self._splitter = splitter
        self._bytes = token_bytes
        self._encode_run = lru_cache(maxsize=512)(self._encode_run_uncached)

    def json(self) -> str:
        """The tokenizer as JSON text in Hugging Face's form; "" where it is of another kind."""
        return ""

    def count(self, text: str) -> int:
        """Number of tokens of ``text`` as text."""
        return len(self._encode_run(text, False))

    def token_id(self, text: str) -> int | None:
        """The control token spelled ``text``, if there is one."""
        return self._ids.get(text)

    def encode(self, prompt: Prompt) -> list[int]:
        """The ids of a prompt.

        What stands between control tokens is encoded in one run, as the model saw it in training, though it
        may be several segments; a segment's own ``ids`` end a run and are used as they are.
        """
        ids: list[int] = []
        run: list[str] = []
        after_control = True

        def flush() -> None:
            nonlocal after_control
            if run:
                text = "".join(run)
                run.clear()
                if text:
                    ids.extend(self._encode_run(text, after_control))
                    after_control = False

        for segment in prompt.segments:
            if segment.ids is not None:
                flush()
                ids.extend(segment.ids)
                after_control = False
            elif not segment.control or self._splitter is None:
                run.append(segment.text)
            else:
                start = 0
                for match in self._splitter.finditer(segment.text):
                    run.append(segment.text[start : match.start()])
                    flush()
                    ids.append(self._ids[match.group().strip()])
                    after_control = True
                    start = match.end()
                run.append(segment.text[start:])
        flush()
        return ids

    def encode_text(self, text: str) -> list[int]:
        """The ids of ``text`` as text; none of them is a control token."""
        return list(self._encode_run(text, False))

    def bytes_of(self, token: int) -> bytes:
        """What a generated token adds to the text; nothing for ids that the tokenizer does not have."""
        return self._bytes[token] if 0 <= token < len(self._bytes) else b""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, control tokens spelled out."""
        return b"".join(self.bytes_of(token) for token in ids).decode("utf-8", "replace")

    @abstractmethod
    def _encode_run_uncached(self, text: str, first: bool) -> Sequence[int]:
        """The ids of ``text``; ``first`` says that it stands at the beginning or after a control token."""


class TextEncoding(Encoding):
    """A tokenizer in Hugging Face's form.

    Args:
        tokenizer: a tokenizer of its own: its settings are changed.
        vocabulary: the width of the model's logits; ids from there on do not exist for it.
    """

    def __init__(self, tokenizer: Tokenizer, *, vocabulary: int | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        added = tokenizer.get_added_tokens_decoder()
        # Added tokens that are only white space (Gemma's runs of line breaks) are text; all others are ours.
        markers = {
            number: token for number, token in added.items() if token.content.replace(_SPACE, " ").strip()
        }
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        width = vocabulary or size
        self._prefix = _dummy_prefix(tokenizer)
        super().__init__(
            size=size,
            vocabulary=width,
            markers={number: token.content for number, token in markers.items()},
            special={number for number, token in added.items() if token.special and number < width},
            token_bytes=_token_bytes(tokenizer, markers, width),
            splitter=_splitter(markers.values()),
        )

    @classmethod
    def from_file(cls, path: Path, *, vocabulary: int | None = None) -> TextEncoding:
        """Read a ``tokenizer.json``.

        Raises:
            ModelError: it is missing (``model_not_found``), broken or of an unknown kind (``model_broken``).
        """
        if not path.is_file():
            raise ModelError(
                f"The model's tokenizer is missing: {path}.",
                code="model_not_found",
                hint="Copy the model's whole folder, tokenizer.json included.",
            )
        try:
            return cls(Tokenizer.from_file(str(path)), vocabulary=vocabulary)
        except Exception as error:  # `tokenizers` raises plain Exception.
            raise ModelError(
                f"The model's tokenizer {path} cannot be read: {error}.",
                code="model_broken",
                hint="Copy the model's folder again.",
            ) from error

    @classmethod
    def from_text(cls, text: str, where: Path, *, vocabulary: int | None = None) -> TextEncoding:
        """Read what a ``tokenizer.json`` holds, kept in the file ``where``.

        Raises:
            ModelError: it is broken or of an unknown kind (``model_broken``).
        """
        try:
            return cls(Tokenizer.from_str(text), vocabulary=vocabulary)
        except Exception as error:  # `tokenizers` raises plain Exception.
            raise ModelError(
                f"The tokenizer in {where} cannot be read: {error}.",
                code="model_broken",
                hint="Convert or download the file again.",
            ) from error

    def json(self) -> str:
        return self._tokenizer.to_str()

    def _encode_run_uncached(self, text: str, first: bool) -> Sequence[int]:
        dummy, scheme = self._prefix
        if scheme and first and not (scheme == "metaspace" and text.startswith(" ")):
            text = dummy + text
        return tuple(self._safe(text))

    def _safe(self, text: str) -> list[int]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = encoding.ids
        if self.control.isdisjoint(ids):
            return ids
        # Markers that are not declared special are recognised all the same, and merges can build one. Encode the
        # halves apart.
        for (start, end), number in zip(encoding.offsets, ids, strict=True):
            if number in self.control:
                if (
                    end - start < 2
                ):  # One character that exists as a control token only cannot be said as text.
                    return self._safe(text[:start]) + self._safe(text[max(end, start + 1) :])
                middle = (start + end) // 2
                return self._safe(text[:middle]) + self._safe(text[middle:])
        raise AssertionError("unreachable")


class VocabularyEncoding(Encoding):
    """A tokenizer that a runtime keeps to itself: known by its tokens and a function that encodes text.

    Args:
        tokens: the bytes of every id.
        markers: id -> spelling of the tokens that text may not become.
        special: those that a reply may not hold either.
        tokenize: the ids of a text, of which none should be special.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        markers: Mapping[int, str],
        special: Collection[int],
        tokenize: Callable[[str], list[int]],
    ) -> None:
        spelled = sorted((text for text in markers.values() if text), key=len, reverse=True)
        super().__init__(
            size=len(tokens),
            vocabulary=len(tokens),
            markers=markers,
            special=special,
            token_bytes=tokens,
            splitter=re.compile("|".join(map(re.escape, spelled))) if spelled else None,
        )
        self._spelled = markers
        self._tokenize = tokenize
        # SentencePiece puts a space before a text, which belongs at the beginning and after control tokens only. Where
        # it does, runs that begin elsewhere are encoded after a line break, which joins with nothing.
        first = b"".join(tokens[number] for number in tokenize("a"))
        self._lead = tokenize("\n") if first.startswith(b" ") else []

    def _encode_run_uncached(self, text: str, first: bool) -> Sequence[int]:
        if not text:
            return ()
        if self._lead and not first:
            ids = self._safe("\n" + text)
            if ids[: len(self._lead)] == self._lead:
                return tuple(ids[len(self._lead) :])
        return tuple(self._safe(text))

    def _safe(self, text: str) -> list[int]:
        ids = self._tokenize(text)
        found = next((number for number in ids if number in self.control), None)
        if found is None:
            return ids
        # Some markers are recognised all the same, and merges can build one. Encode the halves apart.
        spelling = self._spelled[found]
        at = text.find(spelling) if spelling else -1
        if at < 0:  # the token for what cannot be spelled
            return [number for number in ids if number not in self.control]
        if len(spelling) < 2:  # One character that exists as a control token only cannot be said as text.
            return self._rest(text[:at]) + self._rest(text[at + 1 :])
        middle = at + len(spelling) // 2
        return self._safe(text[:middle]) + self._safe(text[middle:])

    def _rest(self, text: str) -> list[int]:
        return self._safe(text) if text else []


def _splitter(markers: Collection[AddedToken]) -> re.Pattern[str] | None:
    """Finds control tokens in control text, the longest first, with the white space that they swallow."""
    spelled = [
        (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
        for token in sorted(markers, key=lambda token: -len(token.content))
    ]
    return re.compile("|".join(spelled)) if spelled else None


def _state(part: Any) -> dict[str, Any]:
    return {} if part is None else cast("dict[str, Any]", json.loads(part.__getstate__()))


def _parts(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The members of a ``Sequence``, or the one part itself."""
    for key in ("normalizers", "pretokenizers", "decoders"):
        if key in state:
            return [inner for part in state[key] for inner in _parts(part)]
    return [state] if state else []


def _dummy_prefix(tokenizer: Tokenizer) -> tuple[str, str]:
    """Take away the space that SentencePiece models put before a text, and say what it was.

    It belongs at the beginning and after control tokens only, and we encode runs that begin elsewhere.
    """
    normalizer, splitter = _state(tokenizer.normalizer), _state(tokenizer.pre_tokenizer)
    found: tuple[str, str] = ("", "")
    for part in _parts(normalizer):
        if part["type"] == "Prepend":
            found = (str(part["prepend"]).replace(_SPACE, " "), "prepend")
            part["prepend"] = ""
    for part in _parts(splitter):
        if part["type"] == "Metaspace" and part.get("prepend_scheme", "always") != "never":
            found = (" ", "metaspace")
            part["prepend_scheme"] = "never"
        elif part["type"] == "ByteLevel" and part.get("add_prefix_space"):
            found = (" ", "metaspace")
            part["add_prefix_space"] = False
    if found[1]:
        content = cast("dict[str, Any]", json.loads(tokenizer.to_str()))
        content["normalizer"], content["pre_tokenizer"] = _without_empty(normalizer) or None, splitter or None
        changed = Tokenizer.from_str(json.dumps(content))
        tokenizer.normalizer, tokenizer.pre_tokenizer = changed.normalizer, changed.pre_tokenizer  # pyright: ignore
    return found


def _without_empty(state: dict[str, Any]) -> dict[str, Any]:
    if state.get("type") == "Prepend" and not state["prepend"]:
        return {}
    if "normalizers" in state:
        return state | {"normalizers": [part for part in map(_without_empty, state["normalizers"]) if part]}
    return state


def _token_bytes(tokenizer: Tokenizer, markers: dict[int, AddedToken], vocabulary: int) -> list[bytes]:
    """The bytes of every id.

    Raises:
        ValueError: the tokenizer's decoder is neither byte-level nor SentencePiece's.
    """
    kinds = {part["type"] for part in _parts(_state(tokenizer.decoder))}
    if "ByteLevel" in kinds:
        table = _byte_level_alphabet()

        def piece_bytes(piece: str) -> bytes:
            try:
                return bytes(table[char] for char in piece)
            except KeyError:
                return piece.encode()

    elif kinds & {"Metaspace", "Replace", "ByteFallback", "Fuse"}:

        def piece_bytes(piece: str) -> bytes:
            if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
                return bytes((int(piece[3:5], 16),))
            return piece.replace(_SPACE, " ").encode()

    else:
        raise ValueError(f"its decoder {sorted(kinds)} is not byte-level and not SentencePiece's")
    result = [b""] * vocabulary
    for piece, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number < vocabulary:
            result[number] = markers[number].content.encode() if number in markers else piece_bytes(piece)
    return result


def _byte_level_alphabet() -> dict[str, int]:
    """Character -> byte, as byte-level tokenizers write bytes: printable ones as themselves, the rest from
    U+0100 on."""
    table: dict[str, int] = {}
    shifted = 0
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte <= 0xFF:
            table[chr(byte)] = byte
        else:
            table[chr(0x100 + shifted)] = byte
            shifted += 1
    return table
