"""Which licences this machine's user has been shown: each is shown once, before the first model under it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from npcsdk.models.catalog import Licence

__all__ = ["remember_shown", "was_shown"]

_FILE = "licences-shown.json"


def was_shown(licence: Licence, folder: Path) -> bool:
    """Whether `remember_shown` was called for it, here."""
    return licence.name in _shown(folder)


def remember_shown(licence: Licence, folder: Path) -> None:
    """Write down that it was shown. A folder that cannot be written means that it is shown again."""
    names = sorted({*_shown(folder), licence.name})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")
    except OSError:
        return


def _shown(folder: Path) -> list[str]:
    try:
        names = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(name) for name in cast("list[Any]", names)] if isinstance(names, list) else []
