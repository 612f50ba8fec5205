"""Where models lie on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["models_folder"]


def models_folder() -> Path:
    """Where downloaded models lie: ``$NPCSDK_MODELS``, or the platform's place for such data."""
    named = os.environ.get("NPCSDK_MODELS")
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "npcsdk" / "models"
