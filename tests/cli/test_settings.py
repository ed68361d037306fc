"""Settings that the command line shares with the edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanwire_cli.failure import Failure
from fanwire_cli.settings import read_settings

FILE = """
[broker]
url = "redis://file:6379/0"
prefix = "shop"
[edge]
path = "/live"
ops_port = 9001
[heartbeat]
interval = 10
[auth]
sources = ["authorization"]
[auth.jwt]
secret_file = "{secret}"
jwks_url = "https://id.example.com/keys"
[auth.claims]
user = "user_id"
"""


def test_environment_wins_over_file_and_foreign_settings_are_passed_over(tmp_path: Path) -> None:
    """An edge's own file and environment serve the command line as they are."""
    (tmp_path / "secret").write_text("s3cret\n")
    file = tmp_path / "fanwire.toml"
    file.write_text(FILE.format(secret=tmp_path / "secret"))
    environment = {
        "FANWIRE_BROKER__URL": "redis://environment:6379/0",
        "FANWIRE_EDGE__PATH": "/ws",
        "FANWIRE_AUTH__JWT__ISSUER": "https://id.example.com/",
        "FANWIRE_TOKEN": "x",
    }

    settings = read_settings(environment, str(file))

    assert settings.broker.url == "redis://environment:6379/0"
    assert settings.broker.prefix == "shop"
    assert settings.edge.ops_port == 9001
    assert settings.auth.jwt.secret == "s3cret"
    assert settings.auth.jwt.issuer == "https://id.example.com/"
    assert settings.auth.claims.user == "user_id"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"s3cret\n", b"s3cret"),
        (b"s3cret\r\n", b"s3cret"),
        (b" s3cret \n\n", b" s3cret \n"),
        (b"s3cret\xff\xfe", b"s3cret\xff\xfe"),
    ],
    ids=["LF", "CRLF", "only one newline", "no UTF-8"],
)
def test_secret_file_is_read_as_edges_read_it(tmp_path: Path, content: bytes, key: bytes) -> None:
    """One newline at the end is no part of the secret, every other byte is."""
    (tmp_path / "secret").write_bytes(content)

    settings = read_settings({"FANWIRE_AUTH__JWT__SECRET_FILE": str(tmp_path / "secret")})

    assert settings.auth.jwt.key == key


@pytest.mark.parametrize(
    ("environment", "content", "text"),
    [
        ({"FANWIRE_BROKER__URLL": "x"}, "", "FANWIRE_BROKER__URLL"),
        ({"FANWIRE_EDGE__OPS_PORT": "many"}, "", "FANWIRE_EDGE__OPS_PORT"),
        ({}, "[broker]\nurll = 'x'", "broker.urll"),
        ({}, "auth = 1", "auth"),
        ({}, "no toml", "is no TOML"),
        ({}, None, "cannot be read"),
        ({"FANWIRE_AUTH__JWT__SECRET_FILE": "/nowhere/at/all"}, "", "cannot be read"),
    ],
    ids=["variable", "number", "name", "section", "syntax", "file", "secret file"],
)
def test_unusable_settings(
    tmp_path: Path, environment: dict[str, str], content: str | None, text: str
) -> None:
    """What cannot be used is one line that names it."""
    file = tmp_path / "fanwire.toml"
    if content is not None:
        file.write_text(content)

    with pytest.raises(Failure) as caught:
        read_settings(environment, str(file))

    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
