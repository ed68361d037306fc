"""Asks the REST API and the edge in the name of one user."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from fanwire_parity._edge import answers_of
from fanwire_parity._table import Credential, InvalidTable, Table

__all__ = ["Answers", "ask"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one user was answered: statuses by route (None for none), answers by channel."""

    statuses: Mapping[str, int | None]
    answers: Mapping[str, str]


async def ask(table: Table, user: str) -> Answers:
    """Ask both sides for every row of *user*."""
    headers = await _headers(table.users[user], user)
    rows = table.rows_of(user)
    timeout = aiohttp.ClientTimeout(total=table.timeout_seconds)
    # Cookies that one side sets are none of the other's business.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as session:
        routes = dict.fromkeys(row.route for row in rows)
        statuses = {route: await _status(session, table.api, route, headers) for route in routes}
        return Answers(statuses, await answers_of(session, table, headers, [row.channel for row in rows]))


async def _headers(credential: Credential, user: str) -> Mapping[str, str]:
    shown = credential() if callable(credential) else credential
    if inspect.isawaitable(shown):
        shown = await shown
    match shown:
        case None:
            return {}
        case str():
            return {"Authorization": f"Bearer {shown}"}
        case Mapping():
            return shown
    raise InvalidTable(f"user {user}: the credential is neither a token nor headers")


async def _status(
    session: aiohttp.ClientSession, api: str, route: str, headers: Mapping[str, str]
) -> int | None:
    """Return what the API answers, a redirect included: who is sent to a login page is not let in."""
    try:
        async with session.get(api.rstrip("/") + route, headers=headers, allow_redirects=False) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return None
