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
# Made once: `json.dumps` with an option makes one for each call.
_as_json = json.JSONEncoder(default=repr).encode


class _Lines(logging.Formatter):
    """One line per event: values are JSON, so that no input can begin a line of its own."""

    def __init__(self, *, as_json: bool, worker: int | None) -> None:
        super().__init__()
        self._as_json = as_json
        self._process = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = self._process | {
            name: value for name, value in vars(record).items() if name not in _STANDARD
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        head = {"time": time, "level": record.levelname, "event": record.getMessage()}
        if self._as_json:
            return _as_json(head | {"logger": record.name} | fields)
        shown = " ".join(f"{name}={_as_json(value)}" for name, value in fields.items())
        return f"{time} {record.levelname:<7} {_as_json(record.getMessage())[1:-1]} {shown}".rstrip()


def configure(level: str, *, as_json: bool, worker: int | None = None) -> None:
    """Send all log lines of the process to standard error.

    Where several processes write there, each line says which *worker* it is of, 0 being the supervisor.
    """
    # No line shows where in the code it was written, or by which thread: it is not found out for each.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=as_json, worker=worker))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # aiohttp's own lines may show what a peer sent, a token among it; what matters of it we count.
    for name in ("aiohttp.web", "aiohttp.websocket", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("aiohttp.server").addFilter(_is_no_peer_fault)


def _is_no_peer_fault(record: logging.LogRecord) -> bool:
    """Tell whether a line of aiohttp is about us: one about broken HTTP quotes the header that broke it."""
    problem = record.exc_info[1] if record.exc_info else None
    return not isinstance(problem, HttpProcessingError)
