"""Which pages may open a WebSocket."""

from __future__ import annotations

import pytest

from fanwire_edge.core.origin import is_allowed, is_origin

APP = "https://app.example.com"
ALLOWED = frozenset({APP, "https://other.example.com:8443"})


@pytest.mark.parametrize(
    "line",
    [
        "https://app.example.com.evil.test",
        "https://evil.test/https://app.example.com",
        "https://app.example.com:443",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://APP.example.com",
        "HTTPS://app.example.com",
        "http://app.example.com",
        "https://evil-app.example.com",
        "https://sub.app.example.com",
        "https://other.example.com",
        "https://app.example.com@evil.test",
        f"{APP} {APP}",
        f"{APP}, {APP}",
        "null",
        "",
        "*",
    ],
)
def test_only_the_very_text_is_allowed(line: str) -> None:
    """Neither a suffix, a port, another case nor a list stands in for what is on the list."""
    assert not is_allowed([line], ALLOWED, is_required=False)


def test_what_is_on_the_list_is_allowed_once() -> None:
    """An Origin given twice is refused, also where both are good."""
    assert is_allowed([APP], ALLOWED, is_required=True)
    assert not is_allowed([APP, APP], ALLOWED, is_required=True)
    assert not is_allowed([APP, "https://evil.test"], ALLOWED, is_required=True)
    assert not is_allowed(["https://evil.test", APP], ALLOWED, is_required=False)


@pytest.mark.parametrize("is_required", [True, False])
def test_one_may_be_missing_where_none_is_required(is_required: bool) -> None:
    """Programs that are no browsers send none."""
    assert is_allowed([], ALLOWED, is_required=is_required) is not is_required


def test_without_a_list_none_is_looked_at() -> None:
    """Unless one is required, which nothing fulfils then."""
    assert is_allowed(["null"], (), is_required=False)
    assert is_allowed([], (), is_required=False)
    assert not is_allowed([APP], (), is_required=True)
    assert not is_allowed([], (), is_required=True)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (APP, True),
        ("http://localhost:5173", True),
        ("http://[::1]:8080", True),
        ("capacitor://localhost", True),
        ("chrome-extension://abcdef", True),
        ("http://example.com:443", True),
        ("https://app.example.com/", False),
        ("https://app.example.com:443", False),
        ("http://app.example.com:80", False),
        ("https://App.example.com", False),
        ("https://*.example.com", False),
        ("https://app.example.com:0", False),
        ("app.example.com", False),
        ("null", False),
        ("*", False),
        ("", False),
        (f"{APP}\n", False),
    ],
)
def test_a_list_holds_what_browsers_send(text: str, is_one: bool) -> None:
    """What can never match is a mistake of the one who wrote it."""
    assert is_origin(text) is is_one
