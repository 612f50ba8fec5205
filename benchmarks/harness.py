"""What every suite of benchmarks shares: rows, interleaved timing, the table and the JSON file.

A suite is a module of this package with a function ``run(setting: Setting) -> Iterator[Row]``. It may raise `Skipped`.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

__all__ = ["Row", "Setting", "Skipped", "interleaved", "machine", "show", "write"]

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "onnxruntime-genai",
    "llama-cpp-python",
    "numpy",
    "tokenizers",
    "llguidance",
    "chromadb",
    "pyzmq",
    "pydantic",
)


class Skipped(Exception):
    """A suite, or the rest of it, cannot be measured here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How to measure.

    ``quick`` asks for few rounds: to see that a suite runs, not for figures. ``cache`` is a folder for what is costly
    to make and not part of the repository. ``model`` is a model to measure instead of the embedded one. ``options`` are
    what suites asked the command line for, in their own ``add_arguments(parser)``.
    """

    quick: bool = False
    cache: Path = Path()
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def option(self, name: str) -> Any:
        """What was given for a suite's own option; None when it was not."""
        return self.options.get(name)

    def rounds(self, full: int) -> int:
        """Rounds to measure: ``full``, or a fifth (two at least) when quick."""
        return max(2, full // 5) if self.quick else full


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    ``measured`` and ``floor`` are in ``unit``. The ratio is measured/floor; with ``bar`` it decides, as an upper bound
    when ``better`` is "lower" and as a lower one when it is "higher". Without a floor, ``bar`` holds for the
    measured value itself. Without a bar the row is for information.
    """

    what: str
    measured: float
    unit: str
    floor: float | None = None
    bar: float | None = None
    better: Literal["lower", "higher"] = "lower"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.measured / self.floor if self.floor else None

    @property
    def passed(self) -> bool | None:
        if self.bar is None:
            return None
        value = self.measured if self.floor is None else self.ratio
        if value is None:
            return None
        return value <= self.bar if self.better == "lower" else value >= self.bar


def interleaved(
    *sides: Callable[[], float], rounds: int, warm_up: int = 1, order: Literal["abba", "abab"] = "abba"
) -> list[list[float]]:
    """Run each side once a round, in changing order, so that what disturbs the machine disturbs all of them.

    Every side returns its own measurement. The result has one list for each side, in the order given.
    """
    for _ in range(warm_up):
        for side in sides:
            side()
    results: list[list[float]] = [[] for _ in sides]
    for round_ in range(rounds):
        places = list(range(len(sides)))
        if order == "abba" and round_ % 2:
            places.reverse()
        for place in places:
            gc.collect()
            results[place].append(sides[place]())
    return results


def timed(work: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the rounds' own ratios: steadier than the ratio of medians on a machine that others use."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    packages: dict[str, str] = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else []
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in load],
        "python": platform.python_version(),
        "packages": packages,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def show(suite: str, rows: Iterable[Row], console: Console) -> None:
    """Print a suite's rows as a table."""
    table = Table(title=suite, title_justify="left", header_style="bold")
    for name in ("what", "floor", "measured", "ratio", "bar", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right", overflow="fold")
    for row in rows:
        sign = "≤" if row.better == "lower" else "≥"
        unit = "×" if row.floor is not None else row.unit
        table.add_row(
            row.what + (f"\n[dim]{row.note}[/dim]" if row.note else ""),
            "—" if row.floor is None else _number(row.floor, row.unit),
            _number(row.measured, row.unit),
            "—" if row.ratio is None else f"{row.ratio:.3f} ×",
            "—" if row.bar is None else f"{sign} {row.bar:g} {unit}",
            {True: "[green]pass[/green]", False: "[red]FAIL[/red]", None: ""}[row.passed],
        )
    console.print(table)


def write(suite: str, rows: Sequence[Row], folder: Path = RESULTS, *, part: bool = False) -> Path:
    """Write a suite's rows and the machine as JSON.

    Args:
        part: these are some of the suite's rows; what the file says of the others stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{suite}.json"
    here = machine()
    new = [{**asdict(row), "ratio": row.ratio, "passed": row.passed, "at": here["at"]} for row in rows]
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if part and path.is_file() else []
    measured = {row["what"] for row in new}
    content = {
        "suite": suite,
        "machine": here,
        "rows": [*(row for row in known if row["what"] not in measured), *new],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
