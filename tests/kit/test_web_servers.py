"""The servers that stand in for an application and for an issuer of tokens."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import jwt
import pytest

from tests.kit.jwks_server import JwksServer
from tests.kit.processes import http_status
from tests.kit.rest_api import Answer, RestApi


def _status(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): headers[name] for name in headers})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Authorization": "Bearer anna"}, "/orders/1", 200),
        ({"Authorization": "Bearer anna"}, "/orders/2?x=1", 403),
        ({"Authorization": "Bearer anna"}, "/orders/2", 404),
        ({"Authorization": "Bearer bert"}, "/orders/1", 401),
        ({}, "/orders/1", 401),
        ({}, "/public", 204),
        ({"Authorization": "Bearer bert"}, "/public", 204),
        ({"Cookie": "session=1"}, "/me", 200),
        ({"X_API_Key": "k"}, "/me", 500),
    ],
)
def test_a_rest_api_answers_by_its_table(headers: dict[str, str], path: str, status: int) -> None:
    """Whose credential is in no row is nobody; what is in no row of somebody's is not there."""
    table: dict[tuple[str | None, str], Any] = {
        ("Bearer anna", "/orders/1"): {"id": 1},
        ("Bearer anna", "/orders/2?x=1"): 403,
        (None, "/public"): Answer(204),
        ("session=1", "/me"): [],
        ("k", "/me"): 500,
    }
    with RestApi(table) as api:
        assert _status(api.url(path), **headers) == status
        assert api.count(path) == api.count() == 1
        api.forget()
        assert api.count() == 0


def test_a_server_may_fail_stop_and_come_back() -> None:
    """On the same port."""
    with RestApi({(None, "/"): 200}) as api:
        api.fault = 503
        assert http_status(api.url()) == 503
        api.fault = Answer(reset=True)
        assert http_status(api.url()) is None
        api.fault = None
        api.stop()
        assert http_status(api.url()) is None
        assert http_status(api.start().url()) == 200


def test_an_issuer_publishes_the_keys_that_it_signs_with() -> None:
    """Over TLS with a certificate of its own authority; a key that retired is published no longer."""
    with JwksServer() as issuer:
        context = ssl.create_default_context(cafile=issuer.ca_file)
        old = issuer.keys[0]
        new = issuer.rotate("key-2")
        with urllib.request.urlopen(issuer.jwks_url, timeout=5, context=context) as response:
            [key] = jwt.PyJWKSet.from_dict(json.load(response)).keys
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(old.token(), key, ["ES256"])
        assert jwt.decode(new.token(), key, ["ES256"])["sub"] == "u-1"
        assert issuer.fetches == 1
