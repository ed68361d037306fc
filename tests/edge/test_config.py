"""Settings: what wins over what, and what stops the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanwire_edge.config import Settings, check, document_of, load, merge
from fanwire_edge.core.claims import ClaimNames, ClaimRules
from fanwire_protocol.settings import SettingError

SECRET = "a-secret-of-these-tests-that-is-long-enough"
ENVIRONMENT = {"FANWIRE_AUTH__JWT__SECRET": SECRET}


def merged(document: dict[str, Any] | None = None, /, **variables: str) -> Settings:
    """Return the settings of a document and of variables, given without `FANWIRE_`."""
    environment = {**ENVIRONMENT, **{f"FANWIRE_{name}": value for name, value in variables.items()}}
    return merge(document or {}, environment, {})


def test_a_key_is_all_that_an_edge_needs() -> None:
    """The rest has the contract's defaults."""
    settings = merged()

    edge, auth = settings.edge, settings.auth
    assert (edge.host, edge.port, edge.ops_host, edge.ops_port) == ("0.0.0.0", 8080, "127.0.0.1", 8081)
    assert (edge.path, edge.workers, edge.loop, edge.plain_get_status) == ("/ws", 1, "auto", 426)
    assert (settings.heartbeat.interval, settings.heartbeat.timeout) == (30, 60)
    assert (auth.sources, auth.default_tenant) == (("subprotocol", "authorization"), None)
    assert (auth.header, auth.header_prefix, auth.jwt.max_lifetime) == ("Authorization", "Bearer", 86_400)
    assert auth.claims == ClaimNames("sub", "tenant", "roles", "permissions", "channels", "scope")
    assert settings.authorization.mode == "claims"
    assert settings.log.max_bytes == 256 * 1024 * 1024
    delivery = settings.delivery
    assert (delivery.high_water_bytes, delivery.max_behind_bytes, delivery.stall_seconds) == (
        64 * 1024,
        256 * 1024,
        10,
    )
    assert (delivery.max_behind_entries, delivery.max_buffered_bytes) == (1000, 256 * 1024 * 1024)
    assert (settings.limits.max_channels, settings.limits.max_errors) == (512, 10)
    assert (settings.tail.block_ms, settings.tail.count, settings.tail.min_interval_ms) == (2000, 512, 0)
    assert (settings.logging.level, settings.logging.json) == ("INFO", False)
    assert settings.broker.url == "redis://localhost:6379/0"


def test_the_command_line_wins_over_the_environment_and_that_over_the_file() -> None:
    """Each layer keeps what the one above leaves open; None on the command line is not given."""
    document = {"edge": {"host": "file", "port": 1, "ops_port": 2, "max_connections": 3}}
    environment = {**ENVIRONMENT, "FANWIRE_EDGE__HOST": "env", "FANWIRE_EDGE__PORT": "10"}

    edge = merge(document, environment, {"port": 100, "workers": None, "host": None}).edge

    assert (edge.host, edge.port, edge.ops_port, edge.max_connections, edge.workers) == ("env", 100, 2, 3, 1)


def test_settings_travel_to_workers_as_json() -> None:
    """Those that were not given stay so, and secrets arrive, also those that are no UTF-8."""
    settings = merged(
        {"delivery": {"policies": ["tenant:*:resource:logs:* catch_up"]}, "heartbeat": {"interval": 2.5}},
        BROKER__URL="redis://:secret@localhost:1/0",
        AUTH__JWT__SECRET=f"{SECRET}\udcff",
        EDGE__WORKERS="3",
    )

    assert merge(json.loads(json.dumps(document_of(settings))), {}, {}) == settings


@pytest.mark.parametrize(
    ("workers", "pace", "admission", "connections"),
    [(1, 200, (1000, 2000), 10), (4, 50, (250, 500), 3), (200, 1, (5, 10), 1)],
)
def test_each_worker_has_its_share_of_what_an_edge_may_do(
    workers: int, pace: float, admission: tuple[float, float], connections: int
) -> None:
    """Goodbyes and upgrades a second, upgrades at once, and connections, rounded up."""
    edge = merged(EDGE__WORKERS=str(workers), EDGE__MAX_CONNECTIONS="10").edge

    assert edge.drain_limits().per_second == pace
    assert edge.admission() == admission
    assert edge.connection_limit() == connections


def test_a_worker_admits_somebody_at_all() -> None:
    """A share of less than one at once would be a closed door."""
    edge = merged(EDGE__WORKERS="4", EDGE__ADMISSION_BURST="2", EDGE__ADMISSION_PER_SECOND="2").edge

    assert edge.admission() == (0.5, 1)


def test_every_section_is_read_from_the_file_and_from_the_environment() -> None:
    """Lists in variables are JSON, nested sections another `__`."""
    document = {
        "broker": {"url": "redis://:hidden@example/1"},
        "auth": {"jwt": {"issuer": "https://a/", "typ": "at+jwt"}, "claims": {"roles": "realm_access.roles"}},
        "heartbeat": {"interval": 5, "timeout": 7.5},
        "tail": {"count": 7},
    }

    settings = merged(
        document,
        AUTH__SOURCES='["authorization"]',
        AUTH__JWT__AUDIENCE="fanwire",
        AUTH__JWT__ALGORITHMS='["HS512"]',
        AUTH__CLAIMS__USER="uid",
        AUTH__DEFAULT_TENANT="main",
        LOGGING__JSON="true",
    )

    assert settings.auth.sources == ("authorization",)
    assert settings.auth.jwt.algorithms == ("HS512",)
    assert settings.auth.jwt.typ == "at+jwt"
    assert settings.auth.claim_rules() == ClaimRules(
        ClaimNames(user="uid", roles="realm_access.roles"), "https://a/", "fanwire", 86_400, "main"
    )
    assert (settings.heartbeat.interval, settings.heartbeat.timeout) == (5.0, 7.5)
    assert (settings.tail.count, settings.logging.json) == (7, True)


def test_no_secret_is_in_a_repr() -> None:
    """Settings may be printed: neither the key nor the broker's password is among them."""
    shown = repr(merged({"broker": {"url": "redis://:hidden@example/1"}}))

    assert SECRET not in shown
    assert "hidden" not in shown
    assert "port=8080" in shown


@pytest.mark.parametrize("name", ["SECRET", "SECRET_FILE", "PUBLIC_KEY", "PUBLIC_KEY_FILE"])
def test_one_key_of_any_form_is_enough(name: str) -> None:
    """The files are not looked at before they are loaded."""
    settings = merge({}, {f"FANWIRE_AUTH__JWT__{name}": "x"}, {})

    assert getattr(settings.auth.jwt, name.lower()) == "x"


def test_published_keys_are_enough() -> None:
    """Alone, or beside a key that is configured."""
    url = "https://login.example.com:8443/keys?x=1"

    for key in ({}, ENVIRONMENT):
        assert merge({}, {**key, "FANWIRE_AUTH__JWT__JWKS_URL": url}, {}).auth.jwt.jwks_url == url


@pytest.mark.parametrize(
    ("document", "variables", "message"),
    [
        ({}, {"AUTH__SOURCES": "[]"}, "auth.sources: is empty, and an unauthenticated edge does not start"),
        ({}, {"AUTH__SOURCES": '["bearer"]'}, "auth.sources: 'bearer' is no source"),
        (
            {},
            {"AUTH__SOURCES": '["subprotocol", "cookie"]'},
            "origins.allowed: is empty, and a cookie counts",
        ),
        ({}, {"AUTH__SOURCES": '["none"]'}, "auth.sources: 'none' is no source"),
        ({}, {"AUTH__SOURCES": "subprotocol"}, "FANWIRE_AUTH__SOURCES: .* is no JSON list"),
        ({}, {"AUTH__ENABLED": "false"}, "FANWIRE_AUTH__ENABLED: no such setting"),
        ({}, {"AUTH__JWT__PUBLIC_KEY": "pem"}, "auth.jwt: secret and public_key are set together"),
        ({}, {"AUTH__JWT__SECRET_FILE": "f"}, "auth.jwt: secret and secret_file are set together"),
        ({}, {"AUTH__JWT__ISSUER": ""}, "auth.jwt.issuer: is empty"),
        ({}, {"AUTH__JWT__AUDIENCE": ""}, "auth.jwt.audience: is empty"),
        ({}, {"AUTH__JWT__REQUIRE": '["iat", ""]'}, "auth.jwt.require: names a claim without a name"),
        ({}, {"AUTH__JWT__JWKS_URL": "http://id.test/keys"}, "auth.jwt.jwks_url: is no https URL"),
        ({}, {"AUTH__JWT__JWKS_URL": "https://u:hidden@id.test/"}, "auth.jwt.jwks_url: is no https URL"),
        ({}, {"AUTH__JWT__JWKS_URL": "https://id.test/#a"}, "auth.jwt.jwks_url: is no https URL"),
        ({}, {"AUTH__JWT__JWKS_URL": ""}, "auth.jwt.jwks_url: is no https URL"),
        (
            {"auth": {"jwt": {"jwks_url": "https://id.test/keys", "jwks_max_age": 600}}},
            {"AUTH__JWT__JWKS_MAX_STALE": "599"},
            "auth.jwt.jwks_max_stale: 599 is below auth.jwt.jwks_max_age, .* 7200",
        ),
        ({}, {"AUTH__JWT__TYP": "any"}, "FANWIRE_AUTH__JWT__TYP: 'any' is none of JWT, at"),
        ({}, {"AUTH__JWT__MAX_LIFETIME": "0"}, "FANWIRE_AUTH__JWT__MAX_LIFETIME: 0 is below 1"),
        (
            {},
            {"AUTH__JWT__MAX_LIFETIME": "2592001"},
            "FANWIRE_AUTH__JWT__MAX_LIFETIME: 2592001 is above 2592000",
        ),
        ({}, {"AUTH__JWT__SECRETS": "x"}, "did you mean 'secret'"),
        ({}, {"AUTH__DEFAULT_TENANT": ""}, "auth.default_tenant: '' is no tenant"),
        ({}, {"AUTH__DEFAULT_TENANT": "a:b"}, "auth.default_tenant: 'a:b' is no tenant"),
        ({}, {"AUTH__HEADER": "X Token"}, "auth.header: 'X Token' is no HTTP token"),
        ({}, {"AUTH__HEADER_PREFIX": ""}, "auth.header_prefix: '' is no HTTP token"),
        ({}, {"AUTH__CLAIMS__TENANT": ""}, "auth.claims.tenant: is empty; for example tenant"),
        ({}, {"EDGE__WORKERS": "257"}, "FANWIRE_EDGE__WORKERS: 257 is above 256"),
        ({}, {"EDGE__WORKERS": "0"}, "FANWIRE_EDGE__WORKERS: 0 is below 1"),
        ({}, {"EDGE__PORT": "8081"}, "edge.ops_port: 8081 is edge.port too; for example 8082"),
        ({}, {"EDGE__PORT": "65536"}, "FANWIRE_EDGE__PORT: 65536 is above 65535"),
        ({}, {"EDGE__PATH": "ws"}, "edge.path: 'ws' is no path"),
        ({}, {"EDGE__PATH": "/ws/{name}"}, "edge.path: .* is no path"),
        ({}, {"EDGE__PATH": "/healthz"}, "edge.path: '/healthz' is no path of its own"),
        ({}, {"EDGE__PLAIN_GET_STATUS": "200"}, "edge.plain_get_status: 200 is none of 400, 426"),
        ({}, {"EDGE__LOOP": "gevent"}, "FANWIRE_EDGE__LOOP: 'gevent' is none of auto, uvloop, asyncio"),
        ({}, {"EDGE__UPGRADE_SECONDS": "NaN"}, "FANWIRE_EDGE__UPGRADE_SECONDS"),
        ({"edge": {"drain_seconds": float("inf")}}, {}, "edge.drain_seconds"),
        ({"heartbeat": {"timeout": 30}}, {}, "heartbeat.timeout: 30 is not above .* for example 60"),
        ({"heartbeat": {"interval": 10**400}}, {}, "heartbeat.interval"),
        ({}, {"DELIVERY__MAX_BEHIND_BYTES": "1024"}, "delivery.max_behind_bytes: 1024 is below .* 262144"),
        ({}, {"DELIVERY__MAX_BUFFERED_BYTES": "1"}, "DELIVERY__MAX_BUFFERED_BYTES: 1 is below 65536"),
        (
            {"delivery": {"high_water_bytes": 131_072, "max_buffered_bytes": 131_071}},
            {},
            "delivery.max_buffered_bytes: 131071 is below delivery.high_water_bytes, .* 536870912",
        ),
        ({}, {"DELIVERY__POLICIES": '["x drop_oldest"]'}, "delivery.policies: 'x drop_oldest' is no rule"),
        ({}, {"AUTHORIZATION__MODE": "none"}, "authorization.mode: 'none' is none of claims, http, owner"),
        ({}, {"AUTHORIZATION__MODE": ""}, "authorization.mode: '' is none of claims, .* example claims,http"),
        (
            {},
            {"AUTHORIZATION__MODE": "claims, claims"},
            "authorization.mode: names somebody twice; for example",
        ),
        (
            {},
            {"AUTHORIZATION__MODE": "claims,http"},
            "authorization.routes: is empty, so that 'http' .* example",
        ),
        (
            {},
            {"AUTHORIZATION__MODE": "owner"},
            "authorization.owners: is empty, so that 'owner' of .* example",
        ),
        (
            {},
            {"AUTHORIZATION__MODE": "callable"},
            "authorization.callable: is not set; .* shop.realtime:may_read",
        ),
        ({}, {"ORIGINS__REQUIRED": "true"}, "origins.required: is true, and origins.allowed is empty"),
        ({}, {"EDGE__TRUSTED_PROXIES": '["10.0.0.1/8"]'}, "edge.trusted_proxies: '10.0.0.1/8' is no network"),
        (
            {},
            {"EDGE__TRUSTED_PROXIES": '["proxy"]'},
            "edge.trusted_proxies: 'proxy' is no .* example 10.0.0.0/8",
        ),
        ({"heartbeet": {"interval": 1}}, {}, "heartbeet: no such section; did you mean 'heartbeat'"),
        ({"zzz": {"allowed": ["https://a"]}}, {}, "zzz: no such section; known here: broker"),
        ({}, {"ZZZ__ALLOWED": '["https://a"]'}, "FANWIRE_ZZZ__ALLOWED: no such section"),
        ({"auth": {"jwt": "secret"}}, {}, r"auth.jwt: is a section, \[auth.jwt\]"),
    ],
)
def test_what_cannot_work_stops_the_start(
    document: dict[str, Any], variables: dict[str, str], message: str
) -> None:
    """One line names the setting and what would work, and shows no secret."""
    with pytest.raises(SettingError, match=message) as caught:
        merged(document, **variables)

    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "origin", ["null", "*", "https://a/", "https://A", "https://a:443", "app.example.com"]
)
def test_an_origin_that_no_browser_sends_stops_the_start(origin: str) -> None:
    """It would never match, and somebody would wonder why."""
    with pytest.raises(
        SettingError, match=r"origins\.allowed: .* is sent by no browser.* example https://app"
    ):
        merged(ORIGINS__ALLOWED=json.dumps(["https://b", origin]))


def test_every_source_can_be_switched_on() -> None:
    """With what it needs."""
    sources = ["cookie", "query", "api_key", "in_band", "authorization", "subprotocol"]

    settings = merged(
        AUTH__SOURCES=json.dumps(sources),
        AUTH__API_KEY__REDIS="true",
        AUTH__REJECT="close",
        ORIGINS__ALLOWED='["https://app.example.com", "capacitor://localhost"]',
        ORIGINS__REQUIRED="true",
        EDGE__TRUSTED_PROXIES='["10.0.0.0/8", "::1"]',
        AUTHORIZATION__MODE="claims, callable",
        AUTHORIZATION__CALLABLE="shop.realtime:may_read",
    )

    assert settings.auth.sources == tuple(sources)
    assert settings.authorization.mode == "claims, callable"


def test_an_edge_without_a_key_does_not_start() -> None:
    """The line tells how to make one."""
    with pytest.raises(SettingError, match="unauthenticated edge does not start") as caught:
        check(Settings())

    assert "FANWIRE_AUTH__JWT__SECRET to the output of `openssl rand -hex 32`" in str(caught.value)
    assert "FANWIRE_AUTH__JWT__PUBLIC_KEY_FILE" in str(caught.value)
    assert "FANWIRE_AUTH__JWT__JWKS_URL" in str(caught.value)


def test_sections_of_other_programs_and_other_variables_are_no_mistake() -> None:
    """One file and one environment may serve a publisher and an api beside the edge."""
    settings = merged({"api": {"port": 1}, "publisher": {}}, API__PORT="9", TEST_LONG="1", TOKEN="t")

    assert settings == merged()
    assert merge({}, {**ENVIRONMENT, "PATH": "/bin", "X__Y": "1"}, {}) == merged()


def test_two_free_ports_may_both_be_asked_for() -> None:
    """Port 0 is a port that the system chooses."""
    assert merged(EDGE__PORT="0", EDGE__OPS_PORT="0").edge.port == 0


def test_load_reads_the_file_the_environment_and_the_files_of_keys(tmp_path: Path) -> None:
    """The newline that ends a key's file is no part of it, and the name gives way to the content."""
    key_file = tmp_path / "secret"
    key_file.write_bytes(b" s\xff " + SECRET.encode() + b"\r\n")
    config = tmp_path / "edge.toml"
    config.write_text(f'[auth.jwt]\nsecret_file = "{key_file}"\n[edge]\nport = 9\n')

    settings = load({"config": str(config), "ops_port": "12"}, {"FANWIRE_EDGE__HOST": "h"})

    assert (settings.edge.host, settings.edge.port, settings.edge.ops_port) == ("h", 9, 12)
    jwt = settings.auth.jwt
    assert jwt.secret is not None
    assert jwt.secret.encode("utf-8", "surrogateescape") == b" s\xff " + SECRET.encode()
    assert jwt.secret_file is None
    assert SECRET not in repr(settings)
    check(settings)


def test_load_reads_a_public_key_and_needs_no_file_of_settings(tmp_path: Path) -> None:
    """A variable that names the key's file is enough."""
    key_file = tmp_path / "key.pem"
    key_file.write_text("-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n")

    jwt = load({"config": None}, {"FANWIRE_AUTH__JWT__PUBLIC_KEY_FILE": str(key_file)}).auth.jwt

    assert jwt.public_key == "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"
    assert (jwt.public_key_file, jwt.secret) == (None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--config: cannot read .*edge.toml: No such file"),
        (b"[edge\n", "--config: .*edge.toml is no TOML file"),
        (b"\xff", "--config: .*edge.toml is no TOML file"),
    ],
)
def test_a_file_of_settings_that_cannot_be_read_stops_the_start(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """Never are the defaults taken in its place."""
    path = tmp_path / "edge.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingError, match=message):
        load({"config": path}, ENVIRONMENT)


@pytest.mark.parametrize("name", ["SECRET_FILE", "PUBLIC_KEY_FILE"])
def test_a_key_s_file_that_cannot_be_read_stops_the_start(tmp_path: Path, name: str) -> None:
    """The line names the setting and the file."""
    with pytest.raises(SettingError, match=f"auth.jwt.{name.lower()}: cannot read .*absent: No such file"):
        load({}, {f"FANWIRE_AUTH__JWT__{name}": str(tmp_path / "absent")})
