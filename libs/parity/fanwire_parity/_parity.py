"""Asks both sides and compares."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fanwire_parity._comparison import Cell, Comparison

if TYPE_CHECKING:
    from fanwire_parity._table import Table

__all__ = ["assert_parity", "compare"]


async def compare(table: Table) -> Comparison:
    """Return what both sides answer each user of *table* for each of its rows.

    Raises InvalidTable for a credential that is none. Whatever a side fails with is an answer.
    """
    # A plugin is loaded with every run of pytest, and aiohttp only where something is compared.
    from fanwire_parity._asking import Answers, ask

    found: dict[str, Answers] = {}

    async def ask_as(user: str) -> None:
        found[user] = await ask(table, user)

    async with asyncio.TaskGroup() as tasks:
        for user in table.users:
            tasks.create_task(ask_as(user))
    cells = [
        Cell(user, row.route, row.channel, answers.statuses[row.route], answers.answers[row.channel])
        for user, answers in ((name, found[name]) for name in table.users)
        for row in table.rows_of(user)
    ]
    return Comparison(table.api, table.edge, cells)


def assert_parity(table: Table) -> None:
    """Compare *table* and raise Disagreements, with a report, unless the edge answers as REST does.

    Where an event loop runs already: `(await compare(table)).check()`.
    """
    asyncio.run(compare(table)).check()
