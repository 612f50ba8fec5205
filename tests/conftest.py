"""What holds for all tests."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    import hypothesis

    # A machine that does something else beside says nothing about the code: time is measured in `benchmarks`.
    hypothesis.settings.register_profile("npcsdk", deadline=None)
    hypothesis.settings.load_profile("npcsdk")
