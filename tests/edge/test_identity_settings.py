"""Which verifiers an edge builds of its settings, and what stops its start (PROTOCOL §2, §9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanwire_edge.adapters.outbound import Outbound
from fanwire_edge.config import merge
from fanwire_edge.settings import Settings
from fanwire_edge.verifiers import Verifiers, build_outbound, build_verifiers
from fanwire_protocol.settings import SettingError
from tests.edge.test_settings_start import refused
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import SECRET

ORIGIN = '["https://app.example.com"]'
INTROSPECTION = {"AUTH__VERIFIER": "introspection", "AUTH__INTROSPECTION__URL": "https://api.example.com/me"}
JWT = {"AUTH__JWT__SECRET": SECRET}
SESSION = {"AUTH__SOURCES": '["cookie"]', "AUTH__COOKIE__HOLDS": "session", "ORIGINS__ALLOWED": ORIGIN}
PRIVATE = "https://u:short-secret@a/me"
IN_BOTH = {"AUTH__COOKIE__SESSION_URL": "https://a/me", "AUTH__COOKIE__SESSION_KEY": "s:{id}"}
KEYS = {"AUTH__SOURCES": '["api_key"]', "AUTH__API_KEY__REDIS": "true"}


def merged(variables: dict[str, str]) -> Settings:
    return merge({}, {f"FANWIRE_{name}": value for name, value in variables.items()}, {})


def built(variables: dict[str, str]) -> Verifiers:
    settings = merged(variables)
    outbound: Outbound = build_outbound(settings.outbound)
    return build_verifiers(settings, outbound)


@pytest.mark.parametrize(
    ("variables", "sources"),
    [
        (JWT, {"subprotocol", "authorization", "in_band"}),
        ({**JWT, "AUTH__SOURCES": '["in_band"]'}, {"in_band"}),
        ({**JWT, "AUTH__SOURCES": '["query"]'}, {"query", "in_band"}),
        (INTROSPECTION, {"subprotocol", "authorization", "in_band"}),
        (
            {"AUTH__VERIFIER": "callable", "AUTH__CALLABLE": "os:getenv"},
            {"subprotocol", "authorization", "in_band"},
        ),
        ({**JWT, "AUTH__SOURCES": '["cookie"]', "ORIGINS__ALLOWED": ORIGIN}, {"cookie", "in_band"}),
        ({**SESSION, "AUTH__COOKIE__SESSION_URL": "http://api:8000/me"}, {"cookie"}),
        ({**SESSION, "AUTH__COOKIE__SESSION_KEY": "session:{id}"}, {"cookie"}),
        (KEYS, {"api_key"}),
        (
            {**KEYS, **JWT, "AUTH__SOURCES": '["api_key", "authorization"]'},
            {"api_key", "authorization", "in_band"},
        ),
    ],
    ids=lambda value: " ".join(sorted(value.values())) if isinstance(value, dict) else None,
)
async def test_each_source_has_its_verifier_and_no_other_has_one(
    variables: dict[str, str], sources: set[str]
) -> None:
    """A token is never asked about among sessions or keys, nor a key among tokens; nothing else is needed."""
    made = built(variables)

    assert made.by_source.keys() == sources
    keys = made.by_source.pop("api_key", None)
    # Whatever carries tokens has the same verifier, and keys have another one.
    assert len(set(map(id, made.by_source.values()))) <= 1
    assert all(verifier is not keys for verifier in made.by_source.values())
    for companion in made.companions:
        await companion.close()


WRONG: list[tuple[str, dict[str, str], str]] = [
    ("no route to ask", {"AUTH__VERIFIER": "introspection"}, "auth.introspection.url"),
    ("no URL", {**INTROSPECTION, "AUTH__INTROSPECTION__URL": "api/me"}, "auth.introspection.url"),
    (
        "a URL with a password",
        {**INTROSPECTION, "AUTH__INTROSPECTION__URL": PRIVATE},
        "auth.introspection.url",
    ),
    ("no function", {"AUTH__VERIFIER": "callable"}, "auth.callable"),
    ("cookies without origins", {**JWT, "AUTH__SOURCES": '["cookie"]'}, "origins.allowed"),
    ("a cookie without a name", {**JWT, **SESSION, "AUTH__COOKIE__NAME": "a b"}, "auth.cookie.name"),
    ("sessions nowhere", SESSION, "auth.cookie.session_url"),
    ("sessions twice", {**SESSION, **IN_BOTH}, "auth.cookie"),
    (
        "sessions without an id",
        {**SESSION, "AUTH__COOKIE__SESSION_KEY": "session"},
        "auth.cookie.session_key",
    ),
    ("sessions among all keys", {**SESSION, "AUTH__COOKIE__SESSION_KEY": "{id}"}, "auth.cookie.session_key"),
    ("keys nowhere", {"AUTH__SOURCES": '["api_key"]'}, "auth.api_key"),
    ("keys in no header", {**KEYS, "AUTH__API_KEY__HEADER": "X API"}, "auth.api_key.header"),
    ("tokens beside keys", {**KEYS, "AUTH__SOURCES": '["api_key", "query"]'}, "auth.jwt"),
]


@pytest.mark.parametrize(("_", "variables", "name"), WRONG, ids=[row[0] for row in WRONG])
def test_what_would_let_nobody_in_stops_the_start(_: str, variables: dict[str, str], name: str) -> None:
    """With one line that names the setting."""
    with pytest.raises(SettingError) as caught:
        merged(variables)

    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert "short-secret" not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"AUTH__VERIFIER": "callable", "AUTH__CALLABLE": "fanwire_no_such:verify"}, "auth.callable"),
        ({"AUTH__SOURCES": '["api_key"]', "AUTH__API_KEY__FILE": "FILE"}, "auth.api_key.file"),
    ],
    ids=["function", "keys"],
)
async def test_a_wrong_function_or_file_of_keys_stops_the_process(
    shared_redis: SharedRedis, tmp_path: Path, settings: dict[str, Any], name: str
) -> None:
    """Exit status 2 and one line."""
    keys = tmp_path / "keys.toml"
    _write(keys, '[[key]]\nid = "short-secret"\nkey = "short-secret"\n')
    if "AUTH__API_KEY__FILE" in settings:
        settings = {**settings, "AUTH__API_KEY__FILE": str(keys)}

    assert (await refused(shared_redis, settings)).startswith(f"fanwire edge: {name}: ")


def _write(path: Path, text: str) -> None:
    path.write_text(text)
