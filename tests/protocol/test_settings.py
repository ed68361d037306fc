"""Settings from a document and the environment."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from fanwire_protocol.settings import BrokerSettings, SettingError, load_settings, setting


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """A section within a section."""

    secret: str | None = setting(None, "32 random bytes", secret=True)
    leeway_seconds: float = setting(1.0, "0.5", minimum=0.0, maximum=10.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Auth:
    """A section with one of every kind of setting."""

    jwt: Keys
    mode: str = setting("claims", "claims", choices=("claims", "http"))
    sources: tuple[str, ...] = setting(("a",), '["a"]', choices=("a", "b"))
    strict: bool = setting(True, "true")
    limit: int | None = setting(None, "5", minimum=1, maximum=9)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """All sections of a process."""

    broker: BrokerSettings
    auth: Auth


def load(document: Mapping[str, Any] | None = None, **environment: str) -> Settings:
    """Load with variables given as keywords."""
    return load_settings(Settings, document or {}, environment)


def test_without_anything_every_setting_has_its_default() -> None:
    """A process starts with no file and no variable."""
    settings = load()

    assert settings.broker == BrokerSettings()
    assert settings.broker.partitions is None
    assert settings.auth == Auth(Keys())


def test_the_environment_wins_over_the_document() -> None:
    """Each setting on its own, in nested sections too."""
    document = {
        "broker": {"prefix": "a", "max_topics": 3},
        "auth": {"jwt": {"secret": "x", "leeway_seconds": 2}},
    }

    settings = load(document, FANWIRE_BROKER__PREFIX="b", FANWIRE_AUTH__JWT__SECRET="y", HOME="/root")

    assert (settings.broker.prefix, settings.broker.max_topics) == ("b", 3)
    assert (settings.auth.jwt.secret, settings.auth.jwt.leeway_seconds) == ("y", 2.0)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("FANWIRE_AUTH__MODE", "http", "http"),
        ("FANWIRE_AUTH__SOURCES", '["b", "a"]', ("b", "a")),
        ("FANWIRE_AUTH__SOURCES", "[]", ()),
        ("FANWIRE_AUTH__STRICT", "False", False),
        ("FANWIRE_AUTH__STRICT", "true", True),
        ("FANWIRE_AUTH__LIMIT", "9", 9),
    ],
)
def test_variables_are_read_as_their_type(variable: str, text: str, value: object) -> None:
    """Text is text, lists and numbers are JSON, true and false are words."""
    assert getattr(load(None, **{variable: text}).auth, variable.rpartition("__")[2].lower()) == value


def test_documents_are_read_as_their_type() -> None:
    """TOML's own types are taken, a whole number where a fraction may stand."""
    auth = {"mode": "http", "sources": ["b"], "strict": False, "limit": 2, "jwt": {"leeway_seconds": 3}}

    assert load({"auth": auth, "another_process": {"x": 1}}).auth == Auth(
        Keys(leeway_seconds=3.0), "http", ("b",), False, 2
    )


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("FANWIRE_AUTH__MODE", "of", "FANWIRE_AUTH__MODE: 'of' is none of claims, http; for example claims"),
        (
            "FANWIRE_AUTH__SOURCES",
            '["c"]',
            "FANWIRE_AUTH__SOURCES: ('c',) is none of a, b; for example [\"a\"]",
        ),
        ("FANWIRE_AUTH__SOURCES", "a,b", "FANWIRE_AUTH__SOURCES: 'a,b' is no JSON list; for example [\"a\"]"),
        (
            "FANWIRE_AUTH__SOURCES",
            "[1]",
            'FANWIRE_AUTH__SOURCES: [1] is no list of strings; for example ["a"]',
        ),
        ("FANWIRE_AUTH__SOURCES", "[" * 9999, None),
        (
            "FANWIRE_AUTH__STRICT",
            "1",
            "FANWIRE_AUTH__STRICT: '1' is neither true nor false; for example true",
        ),
        ("FANWIRE_AUTH__LIMIT", "x", "FANWIRE_AUTH__LIMIT: 'x' is not a number; for example 5"),
        ("FANWIRE_AUTH__LIMIT", "1.5", "FANWIRE_AUTH__LIMIT: 1.5 is not a whole number; for example 5"),
        ("FANWIRE_AUTH__LIMIT", "true", "FANWIRE_AUTH__LIMIT: True is not a whole number; for example 5"),
        ("FANWIRE_AUTH__LIMIT", "null", "FANWIRE_AUTH__LIMIT: None is not a whole number; for example 5"),
        ("FANWIRE_AUTH__LIMIT", "0", "FANWIRE_AUTH__LIMIT: 0 is below 1; for example 5"),
        ("FANWIRE_AUTH__LIMIT", "10", "FANWIRE_AUTH__LIMIT: 10 is above 9; for example 5"),
        (
            "FANWIRE_AUTH__JWT__LEEWAY_SECONDS",
            "NaN",
            "FANWIRE_AUTH__JWT__LEEWAY_SECONDS: 'NaN' is not a number; for example 0.5",
        ),
        (
            "FANWIRE_AUTH__JWT",
            "x",
            "FANWIRE_AUTH__JWT: is a section; its settings are FANWIRE_AUTH__JWT__<NAME>",
        ),
        ("FANWIRE_AUTH__jwt__SECRET", "x", None),
        ("FANWIRE_AUTH__MOOD", "x", "FANWIRE_AUTH__MOOD: no such setting; did you mean 'mode'?"),
        (
            "FANWIRE_AUTH__JWT__ZZZ",
            "x",
            "FANWIRE_AUTH__JWT__ZZZ: no such setting; known here: secret, leeway_seconds",
        ),
        (
            "FANWIRE_AUTH__MODE__X",
            "x",
            "FANWIRE_AUTH__MODE__X: no such setting; did you mean FANWIRE_AUTH__MODE?",
        ),
        ("FANWIRE_AUTH__mode", "x", "FANWIRE_AUTH__mode: no such setting; did you mean FANWIRE_AUTH__MODE?"),
        ("FANWIRE_AUTH__", "x", None),
    ],
    ids=lambda given: str(given)[:40],
)
def test_a_wrong_variable_is_named_with_what_works(variable: str, text: str, line: str | None) -> None:
    """One line says which variable, what is wrong with it and a value that works."""
    with pytest.raises(SettingError) as caught:
        load(None, **{variable: text})

    assert str(caught.value).startswith(f"{variable}: ")
    assert "\n" not in str(caught.value)
    assert line is None or str(caught.value) == line


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"auth": 1}, "auth: is a section, [auth]"),
        ({"auth": {"jwt": "x"}}, "auth.jwt: is a section, [auth.jwt]"),
        ({"auth": {"mode": 1}}, "auth.mode: 1 is not a string; for example claims"),
        ({"auth": {"strict": 1}}, "auth.strict: 1 is not true or false; for example true"),
        ({"auth": {"sources": "a"}}, "auth.sources: 'a' is no list of strings; for example [\"a\"]"),
        (
            {"auth": {"sources": ["a", 1]}},
            "auth.sources: ['a', 1] is no list of strings; for example [\"a\"]",
        ),
        ({"auth": {"limit": 10}}, "auth.limit: 10 is above 9; for example 5"),
        (
            {"auth": {"jwt": {"leeway_seconds": float("nan")}}},
            "auth.jwt.leeway_seconds: nan is not finite; for example 0.5",
        ),
        (
            {"auth": {"jwt": {"leeway_seconds": "1"}}},
            "auth.jwt.leeway_seconds: '1' is not a number; for example 0.5",
        ),
        ({"auth": {"sauces": []}}, "auth.sauces: no such setting; did you mean 'sources'?"),
        ({"broker": {"redis": ""}}, None),
    ],
    ids=str,
)
def test_a_wrong_document_is_named_with_what_works(document: dict[str, Any], line: str | None) -> None:
    """Settings of the file are named as the file writes them."""
    with pytest.raises(SettingError) as caught:
        load(document)
    assert line is None or str(caught.value) == line


def test_no_secret_is_shown() -> None:
    """Neither an error nor a representation shows a secret or the broker's URL."""
    url = "redis://:s3cret@localhost"
    settings = load(None, FANWIRE_BROKER__URL=url, FANWIRE_AUTH__JWT__SECRET="s3cret")
    assert settings.broker.url == url
    assert "s3cret" not in repr(settings)

    with pytest.raises(SettingError) as caught:
        load({"auth": {"jwt": {"secret": ["s3cret"]}}})
    assert str(caught.value) == "auth.jwt.secret: the value is not a string; for example 32 random bytes"
