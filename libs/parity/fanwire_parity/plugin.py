"""The plugin: pytest collects tables from `*.parity.toml`, one test for each user."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fanwire_parity._comparison import Disagreements
from fanwire_parity._file import load
from fanwire_parity._parity import assert_parity
from fanwire_parity._table import InvalidTable, Table

__all__ = ["ParityFile", "ParityItem", "pytest_collect_file"]

SUFFIX = "parity.toml"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take `parity.toml` and `*.parity.toml`."""
    if file_path.name == SUFFIX or file_path.name.endswith(f".{SUFFIX}"):
        collector: pytest.Collector = ParityFile.from_parent(parent, path=file_path)
        return collector
    return None


class ParityFile(pytest.File):
    """A table in a file."""

    def collect(self) -> Iterable[pytest.Item]:
        """Yield a test for each user; a table that is none fails the collection with one line."""
        try:
            table = load(self.path)
        except InvalidTable as problem:
            raise self.CollectError(str(problem)) from problem
        for user in table.users:
            if table.rows_of(user):
                yield ParityItem.from_parent(self, name=user, table=table.only(user))


class ParityItem(pytest.Item):
    """One user of a table: the edge answers every subscription as the REST API answers."""

    def __init__(self, *, table: Table, **given: Any) -> None:
        super().__init__(**given)
        self._table = table

    def runtest(self) -> None:
        """Ask both, and compare."""
        assert_parity(self._table)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the report, and no stack of ours above it."""
        if isinstance(excinfo.value, Disagreements):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say where the test stands."""
        return self.path, None, f"{self.path.name}: {self.name}"
