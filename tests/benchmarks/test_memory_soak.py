"""The soak of ``python -m benchmarks.memory_soak``, in short: the store outlives a writer that is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks._kills import soak

KILLS = int(os.environ.get("NPCSDK_SOAK_KILLS", "5"))


@pytest.mark.timeout(60 + 30 * KILLS)
def test_what_was_acknowledged_outlives_every_kill(tmp_path: Path) -> None:
    outcome = soak(tmp_path / "store", KILLS, seed=7)
    assert outcome.wrong == []
    assert outcome.kills == KILLS
    assert outcome.acknowledged > 0
