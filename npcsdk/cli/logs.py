"""Structured logs: one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

__all__ = ["log_json", "log_text", "write_json"]


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        data: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            data["exception"] = self.formatException(record.exc_info)
        return json.dumps(data, ensure_ascii=False)


def log_json() -> None:
    """The process's log as JSON lines on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def log_text() -> None:
    """The process's warnings as text on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def write_json(event: str, **fields: Any) -> None:
    """Log an event of the server with its fields."""
    data = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": "info", "event": event}
    given = {name: value for name, value in fields.items() if value not in (None, "", ())}
    sys.stderr.write(json.dumps({**data, **given}, ensure_ascii=False, default=str) + "\n")
    sys.stderr.flush()
