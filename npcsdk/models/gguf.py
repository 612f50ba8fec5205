"""The head of a GGUF file: what the model in it is, and whether all of it is there. Nothing of the weights is read."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from npcsdk.errors import ModelError

__all__ = ["GgufHead", "read_gguf"]

_MAGIC = b"GGUF"
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONG = 1 << 20  # bytes of one text; a chat template has some ten thousand
_LISTED = 64  # arrays longer than this (a vocabulary) are passed over
# Tensor type -> (values in a block, bytes of a block). Types that are not here are not checked for size.
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
}


@dataclass(frozen=True, slots=True)
class GgufHead:
    """What a file says of itself.

    ``values`` are its settings without long lists; ``tokens`` the special tokens by name (``bos_token``, ...).
    """

    path: Path
    architecture: str
    name: str
    context_length: int
    chat_template: str
    tokens: Mapping[str, str]
    values: Mapping[str, Any]


class _Broken(Exception):
    pass


def read_gguf(path: Path) -> GgufHead:
    """Read a file's head and see that its weights are all there.

    Raises:
        ModelError: ``model_broken``: it is no GGUF, of an unknown version, damaged, or shorter than it should be;
            ``model_not_found``: a part of a model in several files is missing.
    """
    try:
        with path.open("rb") as file:
            head = _Reader(file, path.stat().st_size).head(path)
    except _Broken as error:
        raise ModelError(
            f"{path} is not a whole GGUF file: {error}.",
            code="model_broken",
            hint="The download was probably cut off. Download the file again and compare its size.",
        ) from None
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror or error}.",
            code="model_broken",
            hint="Check the file and its permissions.",
        ) from error
    count = head.values.get("split.count")
    if isinstance(count, int) and count > 1:
        stem = path.name.rsplit("-of-", 1)[0].rsplit("-", 1)[0]
        for number in range(1, min(count, 1000) + 1):
            part = path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf")
            if not part.is_file():
                raise ModelError(
                    f"The model is in {count} files, and {part} is missing.",
                    code="model_not_found",
                    hint="Put all parts into one folder.",
                )
    return head


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._order = "<"

    def head(self, path: Path) -> GgufHead:
        if self._bytes(4) != _MAGIC:
            raise _Broken("it does not begin with GGUF")
        version = self._number("I")
        if version > 0xFFFF:  # written on a big-endian machine
            self._order = ">"
            version = int.from_bytes(int(version).to_bytes(4, "little"), "big")
        if version not in (2, 3):
            raise _Broken(f"its version {version} is unknown")
        tensors, settings = self._number("Q"), self._number("Q")
        if tensors > 1_000_000 or settings > 1_000_000:
            raise _Broken(f"it claims {tensors} tensors and {settings} settings")
        special: dict[str, int] = {}
        values: dict[str, Any] = {}
        tokens: dict[int, str] = {}
        vocabulary_at: int | None = None
        for _ in range(settings):
            key, kind = self._text(), self._number("I")
            if key == "tokenizer.ggml.tokens" and kind == _ARRAY:
                vocabulary_at = self._file.tell()
            value = self._value(kind)
            if value is not None:
                values[key] = value
            if key.startswith("tokenizer.ggml.") and key.endswith("_token_id") and isinstance(value, int):
                special[key.removeprefix("tokenizer.ggml.").removesuffix("_id")] = value
        self._check_size(tensors, int(values.get("general.alignment", 32)) or 32)
        if vocabulary_at is not None:
            tokens = self._some_tokens(vocabulary_at, set(special.values()))
        architecture = str(values.get("general.architecture", ""))
        if not architecture:
            raise _Broken("it does not name its architecture")
        length = values.get(f"{architecture}.context_length")
        return GgufHead(
            path=path,
            architecture=architecture,
            name=str(values.get("general.name") or path.stem),
            context_length=length if isinstance(length, int) and length > 0 else 4096,
            chat_template=str(values.get("tokenizer.chat_template", "")),
            tokens={name: tokens[number] for name, number in special.items() if number in tokens},
            values=values,
        )

    def _check_size(self, tensors: int, alignment: int) -> None:
        end = 0
        for _ in range(tensors):
            name = self._text()
            dimensions = self._number("I")
            if dimensions > 8:
                raise _Broken(f"its tensor {name!r} has {dimensions} dimensions")
            count = math.prod(self._number("Q") for _ in range(dimensions))
            kind, offset = self._number("I"), self._number("Q")
            per_block, block = _BLOCKS.get(kind, (1, 0))
            end = max(end, offset + -(-count // per_block) * block)
        start = -(-self._file.tell() // alignment) * alignment
        if tensors and start + end > self._size:
            raise _Broken(f"it has {self._size} bytes of {start + end}")

    def _some_tokens(self, at: int, wanted: set[int]) -> dict[int, str]:
        self._file.seek(at)
        kind, count = self._number("I"), self._number("Q")
        found: dict[int, str] = {}
        if kind == _STRING and wanted:
            for number in range(min(count, max(wanted) + 1)):
                text = self._text()
                if number in wanted:
                    found[number] = text
        return found

    def _value(self, kind: int, depth: int = 0) -> Any:
        """A setting, or None for a list that is too long to be of interest."""
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY or depth > 4:
            raise _Broken(f"it has a setting of the unknown kind {kind}")
        inner, count = self._number("I"), self._number("Q")
        if inner in _NUMBERS:
            width = struct.calcsize(f"={_NUMBERS[inner]}")
            if count > _LISTED:
                self._skip(width * count)
                return None
            return [self._number(_NUMBERS[inner]) for _ in range(count)]
        if inner == _STRING and count > _LISTED:
            for _ in range(count):
                self._skip(self._number("Q"))
            return None
        if count > _LISTED * 1000:
            raise _Broken(f"it has a list of {count} lists")
        return [self._value(inner, depth + 1) for _ in range(count)]

    def _number(self, letter: str) -> Any:
        form = self._order + letter
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _text(self) -> str:
        length = self._number("Q")
        if length > _LONG:
            raise _Broken(f"it claims a text of {length} bytes")
        return self._bytes(length).decode("utf-8", "replace")

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise _Broken(f"it ends after {self._size} bytes, in the middle of its head")
        return data

    def _skip(self, count: int) -> None:
        if self._file.tell() + count > self._size:
            raise _Broken(f"it ends after {self._size} bytes, in the middle of its head")
        self._file.seek(count, 1)
