"""The authorizers that the settings ask for, in the order of `authorization.mode`."""

from __future__ import annotations

import re
import time
from pathlib import Path

from fanwire_edge.adapters.callables import CallableAuthorizer, Function
from fanwire_edge.adapters.http_authorizer import HttpAuthorizer
from fanwire_edge.adapters.owners import OwnerAuthorizer, OwnerQuery
from fanwire_edge.auth_settings import AuthorizationSettings
from fanwire_edge.authorization_check import modes_of
from fanwire_edge.by_claims import ByClaims
from fanwire_edge.core.rules import Rules
from fanwire_edge.edge import Edge
from fanwire_edge.permissions import PermissionLimits, Permissions
from fanwire_edge.ports import Authorizer, Outbound
from fanwire_protocol.settings import SettingError

__all__ = ["build_permissions"]

# What can stand in a header without ending it.
_BEARER = re.compile(r"[\x21-\x7e]+", re.ASCII)


def build_permissions(
    edge: Edge, settings: AuthorizationSettings, outbound: Outbound, max_requests: int
) -> Permissions:
    """Build what decides for *edge* and asks others by at most *max_requests* at once.

    Raises SettingError for a file or a function that cannot be used.
    """
    limits = PermissionLimits(settings.max_age, settings.deadline_seconds)
    # Claims that are asked first are asked without a round, because they answer at once.
    modes = modes_of(settings)
    trusts_claims = modes[0] == "claims"
    asked = modes[1:] if trusts_claims else modes
    chain = [_authorizer(name, edge, settings, outbound, max_requests) for name in asked]
    return Permissions(edge, limits, chain, trusts_claims=trusts_claims)


def _authorizer(
    name: str, edge: Edge, settings: AuthorizationSettings, outbound: Outbound, max_requests: int
) -> Authorizer:
    match name:
        case "http":
            return HttpAuthorizer(outbound, Rules(settings.routes), max_requests)
        case "owner":
            path = tuple(settings.owner_field.split("."))
            query = OwnerQuery(Rules(settings.owners), path, _headers(settings.owner_secret_file))
            return OwnerAuthorizer(outbound, query, time.monotonic, max_requests)
        case "callable":
            function = settings.callable or ""
            deadline_seconds = settings.deadline_seconds
            return CallableAuthorizer(Function.load("authorization.callable", function, deadline_seconds))
    return ByClaims(edge)


def _headers(secret_file: str | None) -> dict[str, str]:
    """Return what shows a service's own bearer, nothing without a file."""
    if secret_file is None:
        return {}
    name = "authorization.owner_secret_file"
    try:
        secret = Path(secret_file).read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise SettingError(
            f"{name}: cannot read {secret_file}: {error.strerror}; give a file that this process may read"
        ) from None
    if not _BEARER.fullmatch(secret):
        raise SettingError(f"{name}: {secret_file} holds no bearer token, one word of printable characters")
    return {"Authorization": f"Bearer {secret}"}
