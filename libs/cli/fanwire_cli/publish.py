"""`fanwire publish`: puts one event into the log and prints its position."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

from fanwire_cli.arguments import Parser, pair
from fanwire_cli.broker import UNREADABLE, is_readable, shown_url
from fanwire_cli.failure import Failure
from fanwire_cli.settings import read_settings
from fanwire_protocol import BrokerSettings, InvalidData, InvalidEvent, JsonValue
from fanwire_protocol.codec import decode_json
from fanwire_protocol.keys import SYSTEM_TOPIC, is_topic
from fanwire_publisher import Outgoing, Publisher, PublisherError

__all__ = ["outgoing_of", "parser", "run"]

_MAX_INPUT_BYTES = 16 * 1024 * 1024


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Publish one event and print its position."""
    options = parser().parse_args(argv)
    text = _read_all(sys.stdin.buffer) if options.payload == "-" else options.payload
    outgoing = outgoing_of(options, text)
    broker = read_settings(environment, options.config).broker
    if options.url is not None:
        broker = replace(broker, url=options.url)
    print(asyncio.run(_publish(outgoing, broker)))
    return 0


async def _publish(outgoing: Outgoing, broker: BrokerSettings) -> str:
    if not is_readable(broker.url):
        raise Failure(f"the broker {shown_url(broker.url)} cannot be used: {UNREADABLE}")
    try:
        async with Publisher.from_url(
            broker.url,
            prefix=broker.prefix,
            partitions=broker.partitions,
            retention_seconds=broker.retention_seconds,
            max_entries=broker.max_entries,
            allow_system=outgoing.tenant is None,
        ) as publisher:
            (position,) = await publisher.publish_many([outgoing])
    except InvalidEvent as error:
        raise Failure(f"the event cannot be published: {error}", status=2) from error
    except PublisherError as error:
        raise Failure(f"{error}; the broker is {shown_url(broker.url)}") from error
    except ValueError as error:
        raise Failure(f"the broker {shown_url(broker.url)} cannot be used: {error}") from error
    return str(position)


def outgoing_of(options: argparse.Namespace, text: str | bytes | None) -> Outgoing:
    """Return the event of *options* and the JSON *text*; raises Failure where it makes no sense."""
    if not is_topic(options.topic):
        raise Failure(
            f"TOPIC {options.topic!r} is not 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -, or begins with `_`",
            status=2,
        )
    if options.system != (options.topic == SYSTEM_TOPIC):
        raise Failure(f"--system and the topic `{SYSTEM_TOPIC}` belong together", status=2)
    if options.system and (options.resource or options.user or options.role):
        raise Failure("--system reaches everyone; leave --resource, --user and --role out", status=2)
    return Outgoing(
        options.topic,
        options.type,
        _decode(text),
        tenant=options.tenant,
        resource=options.resource,
        to=_target(options),
        aggregate=options.aggregate,
        time=options.time,
        correlation_id=options.correlation_id,
        event_id=options.event_id,
        key=options.key,
    )


def _decode(text: str | bytes | None) -> JsonValue:
    if text is None:
        return None
    try:
        payload: JsonValue = decode_json(text)
    except InvalidData as error:
        raise Failure(f"the payload cannot be sent: {error}", status=2) from error
    return payload


def _target(options: argparse.Namespace) -> tuple[str, ...] | None:
    if options.user is not None:
        return ("user", options.user)
    if options.role is not None:
        return ("role", options.role)
    return ("all",) if options.all or options.system else None


def _read_all(stream: BinaryIO) -> bytes:
    data = stream.read(_MAX_INPUT_BYTES + 1)
    if len(data) > _MAX_INPUT_BYTES:
        raise Failure(f"the payload is longer than {_MAX_INPUT_BYTES} bytes", status=2)
    return data


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        prog="fanwire publish",
        description="Publish one event and print its position in the log.",
        epilog="""fanwire publish orders order.updated '{"status": "shipped"}' --tenant acme """
        "--resource orders:42",
    )
    made.add_argument("topic", metavar="TOPIC", help="where it is published, for example orders")
    made.add_argument("type", metavar="TYPE", help="the event's type, for example order.updated")
    made.add_argument("payload", nargs="?", metavar="JSON", help="the payload, or - to read it from stdin")
    whose = made.add_mutually_exclusive_group(required=True)
    whose.add_argument("--tenant", help="the tenant that it belongs to")
    whose.add_argument("--system", action="store_true", help="for every tenant; the topic is `system`")
    made.add_argument("--resource", type=pair, metavar="TYPE:ID", help="the resource that it is about")
    whom = made.add_mutually_exclusive_group()
    whom.add_argument("--user", help="send it to this user's connections")
    whom.add_argument("--role", help="send it to everyone who holds this role")
    whom.add_argument("--all", action="store_true", help="send it to everyone of the tenant")
    made.add_argument("--aggregate", type=pair, metavar="TYPE:ID", help="the aggregate that it came from")
    made.add_argument("--event-id", metavar="ID", help="the event's id; a repeated one is delivered once")
    made.add_argument("--correlation-id", metavar="ID", help="what belongs together")
    made.add_argument("--key", help="what conflation compares")
    made.add_argument("--time", type=int, metavar="MS", help="milliseconds since the epoch (default: now)")
    made.add_argument("--url", help="the broker (default: FANWIRE_BROKER__URL)")
    made.add_argument("--config", metavar="FILE", help="TOML file; the environment wins")
    return made
