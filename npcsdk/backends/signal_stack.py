"""Gives a thread its own signal stack back after a native library has put another in its place.

OpenVINO's CPU plugin gives the thread that creates it an alternate signal stack, and frees that memory when it is
destroyed; on another thread it does so without a word to the first. A signal that the first thread then gets, Ctrl-C
for one, is delivered onto memory that is gone, and the process dies of a segmentation fault.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["kept_signal_stack"]

_DISABLE = 2  # SS_DISABLE: signals come on the thread's ordinary stack


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextmanager
def kept_signal_stack() -> Generator[None]:
    """What happens within leaves this thread's alternate signal stack as it was. Without effect except on Linux."""
    if not sys.platform.startswith("linux"):
        yield
        return
    library = ctypes.CDLL(None)
    before = _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        # The kernel refuses one that has become too small for this processor's registers: better none than that.
        if library.sigaltstack(ctypes.byref(before), None) != 0:
            library.sigaltstack(ctypes.byref(_Stack(None, _DISABLE, 0)), None)
