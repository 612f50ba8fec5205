"""``python -m benchmarks.bridge_soak``: a million bad frames, the worker killed 100 times, the bridge 50 times.

Exit code 1 when a client that did nothing wrong noticed, or something acknowledged was lost or doubled. A short form
runs with the tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks._bridge_soak import fuzz, kill


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge_soak", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--worker", type=int, default=100, help="how often the worker is killed")
    parser.add_argument("--bridge", type=int, default=50, help="how often the bridge is killed")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder)
        for name, soak in (
            (f"{given.frames} frames", lambda: fuzz(memory, given.frames, given.seed)),
            (f"{given.worker} kills of the worker", lambda: kill(memory, given.worker, "worker")),
            (f"{given.bridge} kills of the bridge", lambda: kill(memory, given.bridge, "bridge")),
        ):
            began = time.monotonic()
            (memory / "log").write_bytes(b"")
            outcome = soak()
            print(f"{name}: {time.monotonic() - began:.0f} s {asdict(outcome)}", flush=True)
            bad = (
                bad
                or bool(outcome.failed)
                or getattr(outcome, "lost", 0) > 0
                or getattr(outcome, "doubled", 0) > 0
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
