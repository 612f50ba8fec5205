"""Text that other people wrote, made safe to stand in a prompt.

Special tokens cannot come from text (backends encode text segments with them switched off), but the markers
that a model learned as plain text (``<toolcall>``, ``<context>``, ``[INST]``, ...) can be typed by anybody. So in
everything that is not ours the character that begins a marker is replaced by a look-alike that begins none.
The rule looks at one character and its successor only: nothing can be smuggled past it in halves, because the
halves begin no marker either.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["is_only_control", "neutralise", "one_line", "scrubbed"]

# "<" and its full-width forms (which some tokenizers normalise to it), before anything that can begin a tag, or last
# in the field, where our own text might complete one.
_ANGLE = re.compile(r"[<\uFE64\uFF1C](?=[A-Za-z/!|_\uFF21-\uFF5A]|\Z)")
_BRACKET = re.compile(r"\[(?=/?[A-Z_]{2,}\]|/?[A-Z_]*\Z)")
_HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs: no text, and no tokenizer takes them
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff\ufff9-\ufffb]")
_TAG = re.compile(r"[<\uFE64\uFF1C\u2039][^<>\u2039]*>|\[/?[A-Z_]+\]")
_SPACE = re.compile(r"\s+")


def neutralise(text: str) -> str:
    """``text`` without control characters and with every beginning of a marker defused.

    Ordinary text stays as it is, also ``a < b`` and ``<3``.
    """
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = scrubbed(text)
    return _BRACKET.sub("\u2045", _ANGLE.sub("\u2039", text))


def scrubbed(text: str) -> str:
    """``text`` with U+FFFD for every half of a surrogate pair: something that can be encoded."""
    return _HALVES.sub("\ufffd", text)


@lru_cache(maxsize=2048)  # a persona's fields are the same every turn
def one_line(text: str) -> str:
    """`neutralise`, and every run of white space one space: for fields that stand inside a line of ours."""
    return _SPACE.sub(" ", neutralise(text)).strip()


def is_only_control(text: str) -> bool:
    """Whether nothing is left of ``text`` without tags and control characters."""
    return not _TAG.sub("", _CONTROLS.sub("", text)).strip()
