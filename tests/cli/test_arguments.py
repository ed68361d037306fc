"""Arguments that several commands share."""

from __future__ import annotations

import argparse

import pytest

from fanwire_cli.arguments import Parser, duration, pair, port, websocket_url
from fanwire_cli.failure import Failure


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("1d", 86_400), ("3600", 3600), ("2m5", 125)],
)
def test_duration(text: str, seconds: int) -> None:
    """A duration is days, hours, minutes and seconds, or plain seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1w", "-1", "1.5h", "1m1h", "٣"])
def test_no_duration(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(argparse.ArgumentTypeError, match="1h30m"):
        duration(text)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "", "8080.0", "٣"])
def test_no_port(text: str) -> None:
    """A port is a number from 1 to 65535."""
    with pytest.raises(argparse.ArgumentTypeError, match="8080"):
        port(text)


def test_pair() -> None:
    """TYPE:ID is cut at the first colon."""
    assert pair("orders:42") == ("orders", "42")
    assert pair("urn:a:b") == ("urn", "a:b")


@pytest.mark.parametrize("text", ["orders", ":42", "orders:", ""])
def test_no_pair(text: str) -> None:
    """Both halves are there."""
    with pytest.raises(argparse.ArgumentTypeError, match="orders:42"):
        pair(text)


@pytest.mark.parametrize("text", ["http://localhost/ws", "ws://", "localhost:8080", "ws://h:99999", "ws://["])
def test_no_websocket_url(text: str) -> None:
    """A URL has the scheme ws or wss, a host and a possible port."""
    with pytest.raises(argparse.ArgumentTypeError, match="ws://localhost:8080/ws"):
        websocket_url(text)


def test_mistake_on_the_command_line_is_one_line_with_status_2() -> None:
    """The parser raises a Failure that names the help instead of printing the usage."""
    parser = Parser(prog="fanwire thing")
    parser.add_argument("--port", type=port)

    with pytest.raises(Failure, match=r"is no port.*`fanwire thing --help`") as caught:
        parser.parse_args(["--port", "none"])

    assert caught.value.status == 2
    assert "\n" not in str(caught.value)
