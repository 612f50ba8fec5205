"""A runtime that changes this thread's signal stack leaves no trace."""

from __future__ import annotations

import ctypes
import sys

import pytest

from npcsdk.backends.signal_stack import _Stack, kept_signal_stack

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's signal stacks")


def now() -> tuple[int | None, int, int]:
    stack = _Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.address, stack.flags, stack.size


def test_another_stack_is_taken_away_again() -> None:
    memory = ctypes.create_string_buffer(1 << 16)
    before = now()
    with kept_signal_stack():
        other = _Stack(ctypes.addressof(memory), 0, len(memory))
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None) == 0
        assert now() != before
    assert now() == before
