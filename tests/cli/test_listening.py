"""Ports of the loopback interface."""

from __future__ import annotations

import socket

from fanwire_cli.listening import any_free_port, is_free, next_free_port


def test_taken_port_is_noticed_and_another_one_offered() -> None:
    """A port with a listener on any address is not free; the one offered is above it and free."""
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((host, any_free_port())) as server:
            port = server.getsockname()[1]

            assert not is_free(port)
            other = next_free_port(port, [port + 1])

            assert other > port + 1
            assert is_free(other)


def test_any_free_port_is_free() -> None:
    """The port can be listened on."""
    with socket.create_server(("127.0.0.1", any_free_port())):
        pass
