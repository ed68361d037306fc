"""Log lines: a constant event name and fields, as text or as JSON (STYLE "Logging")."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["configure"]

# What every LogRecord has; anything else was given as a field.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Lines(logging.Formatter):
    """One line per event: values are JSON, so that no input can begin a line of its own."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        head = {"time": time, "level": record.levelname, "event": record.getMessage()}
        if self._as_json:
            return json.dumps(head | {"logger": record.name} | fields, default=repr)
        shown = " ".join(f"{name}={json.dumps(value, default=repr)}" for name, value in fields.items())
        return f"{time} {record.levelname:<7} {json.dumps(record.getMessage())[1:-1]} {shown}".rstrip()


def configure(level: str, *, as_json: bool) -> None:
    """Send all log lines of the process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=as_json))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # aiohttp's own lines may show what a peer sent, a token among it; what matters of it we count.
    for name in ("aiohttp.web", "aiohttp.websocket", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").addFilter(_is_no_peer_fault)


def _is_no_peer_fault(record: logging.LogRecord) -> bool:
    """Tell whether a line of aiohttp is about us: one about broken HTTP quotes the header that broke it."""
    problem = record.exc_info[1] if record.exc_info else None
    return not isinstance(problem, HttpProcessingError)
