"""What every converter shares: how progress is told, and the small files that go along with a model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from npcsdk.models.convert.checkpoint import Checkpoint

__all__ = ["SIDE_FILES", "Report", "copy_side_files"]

Report: TypeAlias = Callable[[str, float], None]
"""Told what is being done, and how much is done, from 0 to 1."""

SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "npcsdk.json",
    "LICENSE",
    "NOTICE",
)
"""Files of a Hugging Face folder that a converted one keeps as they are, where they exist."""


def copy_side_files(checkpoint: Checkpoint, out: Path, *, without: tuple[str, ...] = ()) -> None:
    """Copy `SIDE_FILES`: the tokenizer, how the model is spoken to, and under what terms it is had."""
    for name in SIDE_FILES:
        path = checkpoint.folder / name
        if name not in without and path.is_file() and not (out / name).exists():
            shutil.copy(path, out / name)
