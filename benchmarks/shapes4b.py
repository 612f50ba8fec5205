"""What this machine gives for the shape of Nemotron Mini 4B itself, in ONNX int4 and GGUF Q8_0, with random weights.

Only when it is asked for by name: making the two files takes minutes and about 10 GB of disk. With ``--quick`` a shape
of four layers takes their place, which shows that it runs.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks._gguf import gguf
from benchmarks.harness import Row, Setting, Skipped
from benchmarks.shapes import B4, Shape, build
from npcsdk.backends import registry
from npcsdk.backends.base import ModelSource
from npcsdk.backends.survey import measure, read_speed
from npcsdk.errors import NpcError
from npcsdk.models.catalog import CATALOG, EMBEDDED

VOCABULARY = 256_000
SMALL = Shape(
    hidden_size=512,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=128,
    intermediate_size=1536,
)
ROOM = 12 << 30
_CACHED = 500_000_000
"""Bytes of weights below which a processor's own caches take part."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("gguf", "onnx"), help="shapes4b: measure this one only")


def run(setting: Setting) -> Iterator[Row]:
    if "shapes4b" not in (setting.option("suite") or ()):
        raise Skipped("takes minutes: ask for it by name, python -m benchmarks shapes4b")
    yield from rows(setting)


def rows(setting: Setting) -> Iterator[Row]:
    """Both files' rows; also a part of the suite ``backends``."""
    shape, vocabulary = (SMALL, 8_192) if setting.quick else (B4, VOCABULARY)
    setting.cache.mkdir(parents=True, exist_ok=True)
    if not setting.quick and shutil.disk_usage(setting.cache).free < ROOM:
        raise Skipped(f"the folder {setting.cache} has not {ROOM >> 30} GB free; name another with --cache")
    speed = read_speed()
    yield Row(
        what="memory is read at",
        measured=speed / 1e9,
        unit="GB/s",
        better="higher",
        note="all cores together",
    )
    absent: list[str] = []
    for work in (_gguf, _onnx):
        if setting.option("format") not in (None, work.__name__[1:]):
            continue
        try:
            yield from work(setting, shape, vocabulary, speed)
        except (Skipped, NpcError, ImportError) as error:
            absent.append(f"{work.__name__[1:]}: {error}")
    if absent:
        raise Skipped("; ".join(absent))


def _gguf(setting: Setting, shape: Shape, vocabulary: int, speed: float) -> Iterator[Row]:
    path = gguf(shape, setting.cache, vocabulary=vocabulary)
    source = ModelSource(name=shape.name, backend="llama_cpp", path=str(path))
    yield from _rows(f"llama.cpp Q8_0, {shape.name}", source, path.stat().st_size, speed)


def _onnx(setting: Setting, shape: Shape, vocabulary: int, speed: float) -> Iterator[Row]:
    tokenizer = CATALOG[EMBEDDED].path
    assert tokenizer is not None
    folder = build(shape, tokenizer, setting.cache, vocabulary=vocabulary)
    source = replace(registry.resolve(str(folder)), name=shape.name)
    size = sum(path.stat().st_size for path in _files(folder))
    yield from _rows(f"onnxruntime-genai int4, {shape.name}", source, size, speed)


def _files(folder: Path) -> Iterator[Path]:
    yield from folder.glob("model.onnx*")


def _rows(name: str, source: ModelSource, size: int, speed: float) -> Iterator[Row]:
    started = time.perf_counter()
    backend = registry.load(source)
    try:
        measured = measure(backend, time.perf_counter() - started)
    finally:
        backend.close()
    row: Callable[..., Row] = lambda what, value, unit, **rest: Row(  # noqa: E731
        what=f"{name}: {what}", measured=value, unit=unit, better=rest.pop("better", "higher"), **rest
    )
    yield row("files", size / 1e9, "GB", better="lower")
    yield row("loading", measured.load_s, "s", better="lower")
    yield row("reading a new prompt of 256 tokens", measured.prefill, "tok/s")
    yield row(
        "one character's reply",
        measured.decode,
        "tok/s",
        floor=speed / size if size > _CACHED else None,
        note="floor: reading all weights from memory once for each token",
    )
    yield row("four characters at once", measured.together, "tok/s")
