"""What is written down of an API key, and how strictly it is read."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import pytest

from fanwire_edge.core.api_key import ApiKey, InvalidApiKey, api_keys, digest_of, read_api_key
from fanwire_edge.core.principal import Principal

KEY = "fw_0123456789abcdef0123456789abcdef"
SHA256 = hashlib.sha256(KEY.encode()).hexdigest()
GOOD: dict[str, Any] = {"id": "ci-1", "sha256": SHA256, "user": "u-1", "tenant": "acme"}


def test_a_record_says_who_comes_with_the_key_and_what_is_permitted() -> None:
    """The id is what a revocation calls it by."""
    record = {
        **GOOD,
        "roles": ["bot", "bot"],
        "permissions": ["orders:read"],
        "channels": ["tenant:acme:resource:jobs:*", "tenant:acme:resource:orders:42"],
        "expires": datetime(2027, 1, 31, tzinfo=UTC),
    }

    key = read_api_key(record, None)

    assert key == ApiKey(
        hashlib.sha256(KEY.encode()).digest(),
        Principal(
            "u-1",
            "acme",
            ("bot",),
            frozenset({"orders:read"}),
            ("tenant:acme:resource:jobs:*", "tenant:acme:resource:orders:42"),
            1_801_353_600.0,
            token_id="ci-1",
        ),
    )
    assert SHA256 not in repr(key)


def test_a_key_may_have_no_end_no_rights_and_the_default_tenant() -> None:
    """A hash in capital letters is the same hash, and a number is a date."""
    record = {"id": "ci-1", "sha256": SHA256.upper(), "user": "u-1"}

    assert read_api_key(record, "main") == read_api_key({**GOOD, "tenant": "main"}, None)
    assert read_api_key(record, "main").principal.expires_at is None
    assert read_api_key({**record, "expires": 1_801_353_600}, "main").principal.expires_at == 1_801_353_600.0


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"id": None}, "id is absent or no text"),
        ({"id": "a b"}, "id is not 1 to 128"),
        ({"user": 7}, "user is absent or no text"),
        ({"user": "a:b"}, "the user is not"),
        ({"tenant": None}, "tenant is absent or no text"),
        ({"tenant": "*"}, "the tenant is not"),
        ({"sha256": None}, "sha256 is absent or no text"),
        ({"sha256": KEY}, "sha256 is no 64 hexadecimal digits"),
        ({"sha256": SHA256[1:]}, "sha256 is no 64 hexadecimal digits"),
        ({"sha256": SHA256 + "\n"}, "sha256 is no 64 hexadecimal digits"),
        ({"roles": "bot"}, "roles is no list of texts"),
        ({"permissions": [1]}, "permissions is no list of texts"),
        ({"channels": ["tenant:acme"]}, "channels: a channel is"),
        ({"channels": ["tenant:other:resource:orders:*"]}, "the key's own tenant"),
        ({"channels": ["tenant:acme:role:admin"]}, "the key's own tenant"),
        ({"channels": ["system:all"]}, "the key's own tenant"),
        ({"expires": "2027-01-31"}, "expires is no time with its zone"),
        ({"expires": datetime(2027, 1, 31)}, "expires is no time with its zone"),
        ({"expires": date(2027, 1, 31)}, "expires is no time with its zone"),
        ({"expires": True}, "expires is no time with its zone"),
        ({"expires": 0}, "expires is no time with its zone"),
        ({"expires": 10**400}, "expires is no time with its zone"),
        ({"expires": float("nan")}, "expires is no time with its zone"),
        ({"expire": 1_801_353_600}, "did you mean 'expires'"),
        ({KEY: ""}, "known here: id, sha256"),
        ({7: ""}, "known here: id, sha256"),
    ],
)
def test_a_record_that_cannot_be_meant_is_refused(changed: dict[Any, Any], problem: str) -> None:
    """What is misspelt is not overlooked, and nothing shows a key that stands in the wrong place."""
    with pytest.raises(InvalidApiKey, match=problem) as caught:
        read_api_key({**GOOD, **changed}, None)

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([GOOD, 7], "key 2: is no map of id, sha256"),
        ([GOOD, {**GOOD, "id": "ci-2"}], "key 2: sha256 is that of another key"),
        ([GOOD, {**GOOD, "sha256": "0" * 64}], "key 2: id 'ci-1' is that of another key"),
    ],
)
def test_the_number_of_a_wrong_record_is_told(records: list[Any], problem: str) -> None:
    """Each key and each id stands once."""
    with pytest.raises(InvalidApiKey, match=problem):
        api_keys(records, None)


def test_keys_are_found_by_what_they_hash_to() -> None:
    """Several may belong to one user."""
    other = {**GOOD, "id": "ci-2", "sha256": "0" * 64}

    found = api_keys([GOOD, other], None)

    assert [key.principal.token_id for key in found.values()] == ["ci-1", "ci-2"]
    digest = digest_of(KEY)
    assert digest is not None
    assert found[digest].principal.user == "u-1"


@pytest.mark.parametrize(
    "key", ["", "x" * 19, "x" * 513, "x" * 20 + " ", "x" * 20 + "\n", "x" * 20 + "ä", "x" * 20 + "\udce4"]
)
def test_what_can_be_no_key_is_not_hashed(key: str) -> None:
    """Too short to be safe, too long, or of characters that no key has."""
    assert digest_of(key) is None
    assert digest_of("x" * 20) is not None
    assert digest_of("x" * 512) is not None
