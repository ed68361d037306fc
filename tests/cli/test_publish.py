"""`fanwire publish`: from the command line to the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fanwire_cli.failure import Failure
from fanwire_cli.publish import outgoing_of, parser
from fanwire_protocol import decode_event, parse_position
from fanwire_publisher import Outgoing
from tests.cli.commands import fanwire
from tests.kit.redis_server import SharedRedis

ORDER = ["orders", "order.updated", '{"status": "paid"}']
TENANT = ["--tenant", "acme"]


def _outgoing(argv: list[str]) -> Outgoing:
    options = parser().parse_args(argv)
    return outgoing_of(options, options.payload)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([*ORDER, *TENANT], {"topic": "orders", "type": "order.updated", "payload": {"status": "paid"}}),
        (["orders", "x", *TENANT], {"payload": None, "to": None, "resource": None}),
        ([*ORDER, *TENANT, "--resource", "orders:42"], {"resource": ("orders", "42")}),
        ([*ORDER, *TENANT, "--user", "u-1"], {"to": ("user", "u-1")}),
        ([*ORDER, *TENANT, "--role", "admin"], {"to": ("role", "admin")}),
        ([*ORDER, *TENANT, "--all"], {"to": ("all",), "tenant": "acme"}),
        (["system", "x", "1", "--system"], {"to": ("all",), "tenant": None, "payload": 1}),
        (
            [*ORDER, *TENANT, "--aggregate", "order:42", "--event-id", "e", "--correlation-id", "c"],
            {"aggregate": ("order", "42"), "event_id": "e", "correlation_id": "c"},
        ),
        ([*ORDER, *TENANT, "--key", "k", "--time", "5"], {"key": "k", "time": 5}),
    ],
)
def test_command_line_becomes_an_event(argv: list[str], expected: dict[str, Any]) -> None:
    """Each option fills its field."""
    outgoing = _outgoing(argv)

    assert {name: getattr(outgoing, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (ORDER, "--tenant --system is required"),
        ([*ORDER, *TENANT, "--system"], "not allowed with"),
        ([*ORDER, *TENANT, "--user", "u", "--all"], "not allowed with"),
        ([*ORDER, "--system"], "belong together"),
        (["system", "x", *TENANT], "belong together"),
        (["system", "x", "--system", "--user", "u"], "reaches everyone"),
        (["_orders", "x", *TENANT], "TOPIC '_orders'"),
        (["a:b", "x", *TENANT], "TOPIC 'a:b'"),
        (["orders", "x", "{", *TENANT], "not valid JSON"),
        (["orders", "x", "NaN", *TENANT], "payload"),
        (["orders", "x", "1", *TENANT, "--resource", "orders"], "orders:42"),
    ],
)
def test_mistakes_are_named(argv: list[str], text: str) -> None:
    """What makes no sense is refused with status 2 before anything is sent."""
    with pytest.raises(Failure) as caught:
        _outgoing(argv)

    assert text in str(caught.value)
    assert caught.value.status == 2


def test_event_is_in_the_log_and_its_position_is_printed(shared_redis: SharedRedis) -> None:
    """The payload is read from stdin with `-`; the printed position is that of the entry."""
    environment = {"FANWIRE_BROKER__URL": shared_redis.url, "FANWIRE_BROKER__PREFIX": shared_redis.prefix}
    argv = ("publish", "orders", "order.updated", "-", *TENANT, "--resource", "orders:42")

    done = fanwire(*argv, environment=environment, text=json.dumps({"status": "paid"}))

    assert (done.returncode, done.stderr) == (0, "")
    position = parse_position(done.stdout.strip())
    ((id_, fields),) = shared_redis.server.execute("XRANGE", f"{shared_redis.prefix}:orders:0", "-", "+")
    assert id_.decode() == position.id
    event = decode_event(dict(fields)[b"e"] if isinstance(fields, dict) else fields[1])
    assert (event.tenant, event.resource, event.payload) == ("acme", ("orders", "42"), {"status": "paid"})


def test_event_for_everyone(shared_redis: SharedRedis) -> None:
    """--system reaches the topic `system`."""
    environment = {"FANWIRE_BROKER__URL": shared_redis.url, "FANWIRE_BROKER__PREFIX": shared_redis.prefix}

    done = fanwire("publish", "system", "maintenance", "{}", "--system", environment=environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert shared_redis.server.execute("XLEN", f"{shared_redis.prefix}:system:0") == 1


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        ((*ORDER, *TENANT, "--url", "redis://:hush@127.0.0.1:1/0"), 1, "redis://127.0.0.1:1/0"),
        ((*ORDER, *TENANT, "--url", "http://127.0.0.1:1"), 1, "http://127.0.0.1:1"),
        ((*ORDER, *TENANT, "--url", "redis://user:hush/word@host"), 1, "/ as %2F"),
        (("orders", "pong", *TENANT), 2, "reserved"),
        (("orders", "x", *TENANT, "--resource", "a b:c"), 2, "resource"),
    ],
    ids=["unreachable", "no broker URL", "password with a slash", "reserved type", "resource"],
)
def test_what_cannot_be_published_is_one_line(argv: tuple[str, ...], status: int, text: str) -> None:
    """The reason and the broker's place are said, never its password, and never in a traceback."""
    done = fanwire("publish", *argv)

    assert done.returncode == status
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hush" not in done.stderr
