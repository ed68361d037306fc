"""What `fanwire dev` prints."""

from __future__ import annotations

import pytest

from fanwire_cli.greeting import Place, event_line, greeting, invocation

PLACE = Place("Redis 7.0.15", "redis://127.0.0.1:1/0", 8080, 8081, "to.ke.n", 12)


@pytest.mark.parametrize(
    ("argv0", "command"),
    [
        (".venv/bin/fanwire", ".venv/bin/fanwire"),
        ("/opt/my tools/fanwire", "'/opt/my tools/fanwire'"),
        ("/lib/fanwire_cli/main.py", "/usr/bin/python -m fanwire_cli.main"),
    ],
)
def test_printed_command_is_the_one_that_runs(argv0: str, command: str) -> None:
    """What is printed can be pasted as it is."""
    assert invocation(argv0, "/usr/bin/python") == command


def test_greeting_names_place_token_and_lines_to_paste() -> None:
    """URL, token, a command and a line for a browser's console; the URL only where it is not the default."""
    text = greeting(PLACE, ".venv/bin/fanwire")

    assert "ws://127.0.0.1:8080/ws" in text
    assert "  .venv/bin/fanwire tail 'tenant:acme:resource:*' --token to.ke.n\n" in text
    assert 'new WebSocket("ws://127.0.0.1:8080/ws", ["bearer", "to.ke.n"])' in text
    elsewhere = Place("Redis 7.0.15", "redis://127.0.0.1:1/0", 9000, 8081, "to.ke.n", 12)
    assert " --url ws://127.0.0.1:9000/ws --token" in greeting(elsewhere, "fanwire")
    assert "to.ke.n" not in repr(PLACE)


def test_event_is_one_line() -> None:
    """Time of day, type, the channel below the tenant, and as much of the payload as fits."""
    line = event_line(
        "2026-02-26T22:00:00.123Z", "order.updated", "tenant:acme:resource:orders:42", {"status": "paid"}
    )

    assert line == '22:00:00.123  order.updated    resource:orders:42     {"status": "paid"}'
    long = event_line("2026-02-26T22:00:00.123Z", "x", "tenant:acme:all", "line\n" * 100)
    assert len(long) == 118
    assert "\n" not in long
