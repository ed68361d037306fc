"""One line of the audit log for one thing that happened: who came, who went, who was refused what.

A line is JSON, in ASCII, shorter than a page: whatever a peer sent, it begins no line of its own, moves no
cursor, and stands in one piece where several processes append to one file. No record has room for a payload
or a credential.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["MAX_LINE_BYTES", "AuditRecord", "line_of"]

# Below what a pipe takes in one piece (PIPE_BUF of Linux).
MAX_LINE_BYTES = 4096
# How long texts may be once they are escaped; all of them together leave room for the rest of the line.
_MAX_TEXT_BYTES = 256
_LONGER = {"channel": 768, "origin": 512}
_CUT = "\\u2026"
# Made once: `json.dumps` with an option makes one for each call.
_as_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What is written of one event, `time` in seconds since the epoch; None is what is not known.

    `event` is `opened`, `closed`, `denied` or `lost`; `where` and `channel` say what was denied, `count`
    stands for so many events that have no line of their own. `code` is a close code, or that of an error.
    """

    time: float
    event: str
    client_id: str | None = None
    user: str | None = None
    tenant: str | None = None
    session: str | None = None
    ip: str | None = None
    origin: str | None = None
    where: str | None = None
    channel: str | None = None
    code: int | str | None = None
    reason: str | None = None
    count: int | None = None


# Who asks for a line finds these in every one of them.
_ALWAYS = ("client_id", "user", "tenant", "session", "ip", "origin")
_LAST = ("code", "reason")
_WHERE_GIVEN = ("where", "channel")


def line_of(record: AuditRecord) -> bytes:
    """Return *record* as one line with its end, at most `MAX_LINE_BYTES`; what is too long ends with `…`."""
    time = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds")
    shown = [f'"time":"{time.removesuffix("+00:00")}Z"', f'"event":{_text(record.event, 64)}']
    shown += [_field(record, name) for name in _ALWAYS]
    shown += [_field(record, name) for name in _WHERE_GIVEN if getattr(record, name) is not None]
    shown += [_field(record, name) for name in _LAST]
    if record.count is not None:
        shown.append(f'"count":{record.count}')
    return f"{{{','.join(shown)}}}\n".encode("ascii")


def _field(record: AuditRecord, name: str) -> str:
    value = getattr(record, name)
    if isinstance(value, str):
        return f'"{name}":{_text(value, _LONGER.get(name, _MAX_TEXT_BYTES))}'
    return f'"{name}":{_as_json(value)}'


def _text(value: str, max_bytes: int) -> str:
    """Return *value* as JSON in ASCII, cut where it is longer than *max_bytes*."""
    # Halves of surrogate pairs are what bytes that are no UTF-8 look like; most readers of JSON refuse them.
    whole = value[: max_bytes + 1].encode("utf-8", "backslashreplace").decode()
    escaped = _as_json(whole)
    if len(escaped) <= max_bytes and len(value) <= max_bytes:
        return escaped
    kept = whole[:max_bytes]
    while len(escaped) > max_bytes - len(_CUT):
        kept = kept[: (max_bytes - len(_CUT)) * len(kept) // (len(escaped) + 1)]
        escaped = _as_json(kept)
    return f'{escaped[:-1]}{_CUT}"'
