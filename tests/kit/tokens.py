"""Tokens for tests."""

from __future__ import annotations

import time
from typing import Any

import jwt

from tests.kit.canaries import CANARIES

# Signs nothing outside the tests; HS256 wants at least 32 bytes (RFC 7518 section 3.2).
SECRET = CANARIES.remember("fanwire-tests-secret-of-more-than-32-bytes")


def make_token(secret: str = SECRET, **claims: Any) -> str:
    """Return an HS256 token of user `u-1` of tenant `acme`, valid for an hour.

    *claims* add to these or replace them; a claim given as None is left out.
    """
    values = {"sub": "u-1", "tenant": "acme", "exp": int(time.time()) + 3600, **claims}
    present = {name: value for name, value in values.items() if value is not None}
    return CANARIES.remember_token(jwt.encode(present, secret, algorithm="HS256"))
