"""`python -m benchmarks [SUITE...]`: measure, print tables, write JSON. Exit code 1 when a bar is missed."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
from collections.abc import Container, Iterator
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.markup import escape

import benchmarks
from benchmarks.harness import RESULTS, Row, Setting, Skipped, show, write


def suites(asked: Container[str]) -> dict[str, ModuleType]:
    """Every module or package in this package that has a function ``run``; only the ``asked`` ones if any is there.

    So a suite that needs what is not installed here does not stand in the way of another.
    """
    names = [info.name for info in pkgutil.iter_modules(benchmarks.__path__) if not info.name.startswith("_")]
    named = [name for name in names if name in asked]
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in named or names}
    return {name: module for name, module in modules.items() if callable(getattr(module, "run", None))}


def main(arguments: list[str] | None = None) -> int:
    found = suites(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("suite", nargs="*", help=f"any of: {', '.join(found)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs, not how fast")
    parser.add_argument("--model", help="measure this model instead of the embedded one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON files")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(
            os.environ.get("NPCSDK_BENCHMARK_CACHE", Path(tempfile.gettempdir()) / "npcsdk-benchmarks")
        ),
        help="folder for built models",
    )
    for module in found.values():
        if hasattr(module, "add_arguments"):
            module.add_arguments(parser)
    given = parser.parse_args(arguments)
    for name in given.suite:
        if name not in found:
            parser.error(f"no suite is called {name!r}; there are: {', '.join(found)}")
    console = Console(width=None if sys.stdout.isatty() else 130)
    setting = Setting(quick=given.quick, cache=given.cache, model=given.model, options=vars(given))
    missed = 0
    for name in given.suite or found:
        rows: list[Row] = []
        iterator: Iterator[Row] = found[name].run(setting)
        try:
            for row in iterator:
                rows.append(row)
                verdict = {True: "pass", False: "FAIL", None: ""}[row.passed]
                console.print(f"[dim]{len(rows)}. {escape(row.what)} {verdict}[/dim]", highlight=False)
        except Skipped as skipped:
            console.print(f"{name}: skipped: {skipped}", markup=False)
        if not rows:
            continue
        show(name, rows, console)
        if not given.quick:
            part = bool(setting.option("runtime"))
            console.print(f"[dim]{write(name, rows, given.results, part=part)}[/dim]")
        missed += sum(row.passed is False for row in rows)
    if missed:
        console.print(f"[red]{missed} bar{'s' if missed > 1 else ''} missed[/red]")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
