"""What holds for all tests."""

from __future__ import annotations

import contextlib
import gc
import os

import pytest

with contextlib.suppress(ImportError):
    import hypothesis

    # A machine that does something else beside says nothing about the code: time is measured in `benchmarks`.
    hypothesis.settings.register_profile("npcsdk", deadline=None)
    hypothesis.settings.load_profile("npcsdk")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A whole run takes two processes, each file's tests in one of them, where pytest-xdist is installed and a second
    processor has nothing to do: a busy machine would turn what waits for a moment into failures. `-n0` takes one.
    """
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    alone = (
        option.usepdb or option.collectonly or option.capture == "no" or "PYTEST_XDIST_WORKER" in os.environ
    )
    if whole and not alone and getattr(option, "numprocesses", 0) is None and _idle():
        option.numprocesses, option.dist = 2, "loadfile"


def _idle() -> bool:
    processors = os.cpu_count() or 1
    return processors > 1 and hasattr(os, "getloadavg") and os.getloadavg()[0] < processors


def pytest_collection_finish() -> None:
    """What tests and runtimes have imported stays: a million objects that no collection of garbage has to walk."""
    gc.collect()
    gc.freeze()
