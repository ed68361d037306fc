"""The command itself: help, unknown commands, errors in one line."""

from __future__ import annotations

import pytest

from fanwire_cli.main import COMMANDS
from tests.cli.commands import fanwire

SECRET = {"FANWIRE_AUTH__JWT__SECRET": "a secret of the tests that has more than 32 bytes"}


@pytest.mark.parametrize("argv", [(), ("--help",), ("help",)])
def test_overview_lists_every_command(argv: tuple[str, ...]) -> None:
    """Without a command it says which ones there are."""
    done = fanwire(*argv)

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


def test_it_says_what_it_is() -> None:
    """For those who report what went wrong."""
    done = fanwire("--version")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fanwire 0.")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "edge"])
def test_every_command_explains_itself(name: str) -> None:
    """`--help` shows the usage and an explanation of each option."""
    done = fanwire(name, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: fanwire {name} ")


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (("nonsense",), 2, "fanwire nonsense: no such command; there are dev, edge, publish"),
        (("non\x1b[2Jsense",), 2, r"fanwire non\u001b[2Jsense: no such command"),
        (("token",), 2, "fanwire token: the following arguments are required: --tenant, --user"),
        (("token", "--tenant", "acme", "--user", "u-1"), 1, "FANWIRE_AUTH__JWT__SECRET is not set"),
        (("tail", "tenant:acme:resource:*"), 2, "FANWIRE_TOKEN"),
        (("tail", "tenant:acme:*", "--token", "t"), 2, "'tenant:acme:*'"),
        (("tail", "tenant:acme:all", "--token", "t", "--url", "http://x"), 2, "is no WebSocket URL"),
        (("doctor", "--config", "/nowhere/at/all"), 1, "cannot be read"),
        (("dev", "--port", "8081"), 2, "--port and --ops-port are both 8081"),
    ],
)
def test_mistake_is_one_line_on_stderr(argv: tuple[str, ...], status: int, text: str) -> None:
    """A mistake has a non-zero exit code and one line, and is no traceback."""
    done = fanwire(*argv)

    assert done.returncode == status
    assert text in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_token_is_printed_alone() -> None:
    """What stands on stdout is the token and nothing else, so that `$(…)` holds it."""
    done = fanwire("token", "--tenant", "acme", "--user", "u-1", "--ttl", "8h", environment=SECRET)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split(".")) == 3
    assert done.stdout.count("\n") == 1
