"""The soak of ``python -m benchmarks.bridge_soak``, in short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks._bridge_soak import fuzz, kill

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at /proc")


def test_bad_frames_are_no_trouble_to_others(tmp_path: Path) -> None:
    outcome = fuzz(tmp_path, 4000, seed=int.from_bytes(os.urandom(4)))
    assert not outcome.failed
    assert outcome.served
    assert outcome.sent == 4000
    assert outcome.refused > 2000


@pytest.mark.parametrize(("what", "times"), [("worker", 3), ("bridge", 2)])
def test_what_was_acknowledged_outlives_a_kill(what: str, times: int, tmp_path: Path) -> None:
    outcome = kill(tmp_path, times, what)
    assert not outcome.failed
    assert (outcome.killed, outcome.lost, outcome.doubled) == (times, 0, 0)
    assert outcome.acknowledged == 3 * times
