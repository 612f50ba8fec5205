"""What a runtime's own exceptions mean. They come as whatever its native part threw, so their words are looked at."""

from __future__ import annotations

import re

__all__ = ["first_line", "ran_out_of_memory"]

_MEMORY = re.compile(
    r"out of memory|bad[_ ]alloc(?:ation)?\b|not enough memory"
    r"|(?:can\s?not|can't|could not|failed to|unable to) allocate"
    r"|failed allocation|allocation(?:_| of .{1,40} | )fail(?:ed|ure)|alloc_failed|os error 12\b|E_OUTOFMEMORY|8007000E"
    r"|OUT_OF_(?:HOST_|DEVICE_)?MEMORY|more memory than available|exceeded max size of memory"
    # For the stack of a thread.
    r"|resource temporarily unavailable|can't start new thread",
    re.IGNORECASE,
)
_LONGEST = 300


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or one behind it, says that memory ran out: the machine's or a GPU's."""
    seen: set[int] = set()
    behind: BaseException | None = error
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        if isinstance(behind, MemoryError) or type(behind).__name__ == "OutOfMemoryError":
            return True
        if _MEMORY.search(str(behind)):
            return True
        behind = behind.__cause__ or behind.__context__
    return False


def first_line(error: BaseException) -> str:
    """An exception's first line, of a length that can be read; its type where it says nothing."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."
