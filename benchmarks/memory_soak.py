"""``kill -9`` while memories are written: is everything that was acknowledged there, once, and the index right?

    python -m benchmarks.memory_soak [--kills 200] [--seed 1] [--folder DIR]

Exit code 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks._kills import soak


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory_soak", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the store here (default: a folder that is removed)")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        outcome = soak(
            given.folder or Path(name) / "store",
            given.kills,
            seed=given.seed,
            report=partial(print, flush=True),
        )
    for what in outcome.wrong:
        print(what)
    print(
        f"{outcome.kills} kills ({outcome.early} before the store was open) in {time.monotonic() - began:.0f} s: "
        f"{outcome.acknowledged} writes acknowledged, {outcome.unacknowledged} more found whole, "
        f"{len(outcome.wrong)} things wrong; the index agreed after {outcome.slowest:.1f} s at most"
    )
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
