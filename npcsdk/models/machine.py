"""What this machine has, as far as the operating system tells: processor, its features, cores, memory, drivers.

Nothing is installed or run for it. What the model runtimes can use, they say themselves (`npcsdk.backends.survey`).
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from npcsdk.models.advice import Device, Machine

__all__ = ["features_of", "limited", "this_machine"]

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_NVIDIA = Path("/proc/driver/nvidia/version")
# A feature in our words -> the flags that all have to be there, as Linux and macOS spell them.
_FLAGS: tuple[tuple[str, frozenset[str]], ...] = (
    ("avx2", frozenset({"avx2"})),
    ("avx512", frozenset({"avx512f", "avx512bw", "avx512vl"})),
    ("avx512_vnni", frozenset({"avx512_vnni"})),
    ("avx512_bf16", frozenset({"avx512_bf16"})),
    ("amx", frozenset({"amx_int8", "amx_tile"})),
    ("neon", frozenset({"asimd"})),
)
_WINDOWS_FEATURES = (("avx2", 40), ("avx512", 41))
"""IsProcessorFeaturePresent's numbers. Windows has none for the others, so there they are unknown, not absent."""


def this_machine(
    devices: tuple[Device, ...], runtimes: Mapping[str, str], broken: Mapping[str, str]
) -> Machine:
    """The machine of this process. The arguments are what the runtimes said, see `Machine`."""
    driver = _driver()
    if driver is not None and not any(device.kind == "cuda" for device in devices):
        devices = (*devices, driver)
    return Machine(
        system=platform.system(),
        processor=_processor(),
        architecture=platform.machine(),
        cores=_cores(),
        memory=_memory(),
        features=_features(),
        devices=devices,
        runtimes=dict(runtimes),
        broken=dict(broken),
    )


def features_of(flags: frozenset[str]) -> frozenset[str]:
    """Our words for a processor's own flags."""
    return frozenset(name for name, needed in _FLAGS if needed <= flags)


def limited(cores: int, quota: str) -> int:
    """Cores under a container's quota, as cgroups write it: "MICROSECONDS PERIOD", or "max PERIOD"."""
    parts = quota.split()
    if len(parts) == 2 and parts[0].isdecimal() and parts[1].isdecimal() and int(parts[1]) > 0:
        return max(1, min(cores, round(int(parts[0]) / int(parts[1]))))
    return cores


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return limited(cores, _read(_QUOTA))


def _memory() -> int:
    if sys.platform == "win32":
        return _windows_memory()
    if sys.platform == "darwin":
        told = _sysctl("hw.memsize")
        return int(told) if told.isdecimal() else 0
    found = re.search(r"^MemTotal:\s+(\d+) kB", _read(_MEMINFO), re.MULTILINE)
    total = int(found[1]) << 10 if found else 0
    for path in _CGROUPS:
        limit = _read(path).strip()
        if limit.isdecimal() and 0 < int(limit) < (total or 1 << 60):
            total = int(limit)
    return total


def _windows_memory() -> int:
    class Status(ctypes.Structure):
        _fields_ = [  # noqa: RUF012
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            ("total", ctypes.c_ulonglong),
            *(
                (name, ctypes.c_ulonglong)
                for name in ("free", "page", "page_free", "virtual", "virtual_free", "more")
            ),
        ]

    status = Status()
    status.length = ctypes.sizeof(Status)
    kernel = cast("Any", ctypes).windll.kernel32
    return int(status.total) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else 0


def _features() -> frozenset[str]:
    if sys.platform == "win32":
        kernel = cast("Any", ctypes).windll.kernel32
        return frozenset(
            name for name, number in _WINDOWS_FEATURES if kernel.IsProcessorFeaturePresent(number)
        )
    if sys.platform == "darwin":
        flags = f"{_sysctl('machdep.cpu.features')} {_sysctl('machdep.cpu.leaf7_features')}".lower().split()
        return features_of(frozenset(flags)) | ({"neon"} if platform.machine() == "arm64" else set())
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _read(_CPUINFO), re.MULTILINE)
    return features_of(frozenset(found[1].split() if found else ()))


def _processor() -> str:
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.processor()
    found = re.search(r"^model name\s*:\s*(.*)$", _read(_CPUINFO), re.MULTILINE)
    return found[1].strip() if found else os.environ.get("PROCESSOR_IDENTIFIER", "") or platform.processor()


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _driver() -> Device | None:
    """NVIDIA's driver: a GPU that could be used, if a runtime for it were installed."""
    if sys.platform == "win32":
        there = (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").is_file()
    else:
        there = _NVIDIA.is_file()
    return Device(backend="driver", kind="cuda", name="NVIDIA GPU") if there else None
